"""Families that name the roles with control tokens of their own, and write words between them and nothing else.

Those that also have a form for thoughts or for tools stand in their own files.
"""

from __future__ import annotations

from llama_factory.render.templates.written import Written, turns

BAICHUAN = turns(
    ("<reserved_102>", ""), ("<reserved_103>", "{eos}"), system=("", ""), markers=("<reserved_102>", "<reserved_103>")
)
BAICHUAN2 = turns(
    ("<reserved_106>", ""), ("<reserved_107>", "{eos}"), system=("", ""), markers=("<reserved_106>", "<reserved_107>")
)

BLUELM = turns(("[|Human|]:", ""), ("[|AI|]:", "{eos}"), system=("", ""))

CHATGLM3 = turns(
    ("<|user|>\n ", ""),
    ("<|assistant|>\n ", ""),
    system=("<|system|>\n ", ""),
    begin="[gMASK]sop",
    prompt="<|assistant|>",
    stop="<|user|>",
    markers=("[gMASK]", "sop", "<|user|>", "<|assistant|>", "<|system|>"),
)
"""No token ends a turn: the one that begins the next stops it."""

COHERE = turns(
    ("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    ("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    system=("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    begin="{bos}",
    trim=True,
    markers=(
        "<|START_OF_TURN_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        "<|USER_TOKEN|>",
        "<|CHATBOT_TOKEN|>",
        "<|SYSTEM_TOKEN|>",
    ),
)

EXAONE = turns(
    ("[|user|]", "\n"),
    ("[|assistant|]", "[|endofturn|]\n"),
    system=("[|system|]", "[|endofturn|]\n"),
    markers=("[|user|]", "[|assistant|]", "[|system|]", "[|endofturn|]"),
)

GEMMA = turns(
    ("<start_of_turn>user\n", "<end_of_turn>\n"),
    ("<start_of_turn>model\n", "<end_of_turn>\n"),
    system="first user",
    begin="{bos}",
    trim=True,
    markers=("<start_of_turn>", "<end_of_turn>"),
)

GRANITE3 = turns(
    ("<|start_of_role|>user<|end_of_role|>", "<|end_of_text|>\n"),
    ("<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>\n"),
    system=("<|start_of_role|>system<|end_of_role|>", "<|end_of_text|>\n"),
    markers=("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"),
)
GRANITE4 = GRANITE3.with_system(
    "You are a helpful assistant. Please ensure responses are professional, accurate, and safe."
)

INTERNLM = turns(
    ("<|User|>:", "<eoh>\n"),
    ("<|Bot|>:", "<eoa>\n"),
    system=("<|System|>:", "\n"),
    begin="{bos}",
    markers=("<eoh>", "<eoa>"),
)

KIMI = turns(
    ("<|im_user|>user<|im_middle|>", "<|im_end|>"),
    ("<|im_assistant|>assistant<|im_middle|>", "<|im_end|>"),
    system=("<|im_system|>system<|im_middle|>", "<|im_end|>"),
    markers=("<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>", "<|im_end|>"),
    default_system="You are a helpful assistant",
)
MOONLIGHT = KIMI.with_system("You are a helpful assistant provided by Moonshot-AI.")

MINICPM = turns(("<用户>", ""), ("<AI>", "{eos}"), system=("", ""), begin="{bos}", trim=True)

OLMO = turns(("<|user|>\n", ""), ("<|assistant|>\n", "{eos}"), system=("<|system|>\n", ""), begin="{eos}", joint="\n")
OLMO2 = turns(("<|user|>\n", ""), ("<|assistant|>\n", "{eos}"), system=("<|system|>\n", ""), begin="{bos}", joint="\n")

OPENCHAT = turns(
    ("GPT4 Correct User: ", "<|end_of_turn|>"),
    ("GPT4 Correct Assistant: ", "<|end_of_turn|>"),
    system=("", "<|end_of_turn|>"),
    begin="{bos}",
    prompt="GPT4 Correct Assistant:",
    markers=("<|end_of_turn|>",),
)
OPENCHAT_36 = turns(
    ("<|start_header_id|>GPT4 Correct User<|end_header_id|>\n\n", "<|eot_id|>"),
    ("<|start_header_id|>GPT4 Correct Assistant<|end_header_id|>\n\n", "<|eot_id|>"),
    system=("<|start_header_id|>System<|end_header_id|>\n\n", "<|eot_id|>"),
    begin="{bos}",
    trim=True,
    markers=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)

PHI = turns(
    ("<|user|>\n", "<|end|>\n"),
    ("<|assistant|>\n", "<|end|>\n"),
    system=("<|system|>\n", "<|end|>\n"),
    end="{eos}",
    markers=("<|user|>", "<|assistant|>", "<|end|>"),
)
PHI4 = turns(
    ("<|im_start|>user<|im_sep|>", "<|im_end|>"),
    ("<|im_start|>assistant<|im_sep|>", "<|im_end|>"),
    system=("<|im_start|>system<|im_sep|>", "<|im_end|>"),
    markers=("<|im_start|>", "<|im_sep|>", "<|im_end|>"),
)
PHI4_MINI = turns(
    ("<|user|>", "<|end|>"),
    ("<|assistant|>", "<|end|>"),
    system=("<|system|>", "<|end|>"),
    markers=("<|user|>", "<|assistant|>", "<|end|>"),
)

STARCHAT = turns(
    ("<|user|>\n", "<|end|>\n"),
    ("<|assistant|>\n", "<|end|>\n"),
    system=("<|system|>\n", "<|end|>\n"),
    markers=("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
)

TELECHAT = turns(
    ("<_user>", ""), ("<_bot>", "<_end>"), system=("<_system>", "<_end>"), markers=("<_user>", "<_bot>", "<_end>")
)
TELECHAT2 = turns(
    ("<_user>", ""),
    ("<_bot>", "<_end>\n"),
    system=("<_system>", "\n"),
    markers=("<_user>", "<_bot>", "<_end>", "<_system>"),
)


def _hunyuan(begin: str, after_system: str, user: str, assistant: str, end: str) -> Written:
    """Both generations of the family write system, then turns; only the names of the markers differ."""
    return turns(
        (user, assistant),
        ("", end),
        system=("", after_system),
        begin=begin,
        markers=tuple(marker for marker in (begin, after_system, user, assistant, end) if marker),
    )


HUNYUAN_DENSE = _hunyuan(
    "<｜hy_begin▁of▁sentence｜>",
    "<｜hy_place▁holder▁no▁3｜>",
    "<｜hy_User｜>",
    "<｜hy_Assistant｜>",
    "<｜hy_place▁holder▁no▁2｜>",
)
HUNYUAN_LARGE = _hunyuan("<|startoftext|>", "<|extra_4|>", "", "<|extra_0|>", "<|eos|>")

MARKS: dict[str, tuple[Written, ...]] = {
    "baichuan": (BAICHUAN,),
    "baichuan2": (BAICHUAN2,),
    "bluelm": (BLUELM,),
    "chatglm3": (CHATGLM3,),
    "cohere": (COHERE,),
    "command_r": (COHERE,),
    "exaone": (EXAONE,),
    "gemma": (GEMMA,),
    "gemma2": (GEMMA,),
    "gemma3": (GEMMA,),
    "granite3": (GRANITE3,),
    "granite4": (GRANITE4,),
    "hunyuan": (HUNYUAN_DENSE, HUNYUAN_LARGE),
    "intern": (INTERNLM,),
    "internlm": (INTERNLM,),
    "kimi": (KIMI,),
    "minicpm": (MINICPM,),
    "moonlight": (MOONLIGHT,),
    "olmo": (OLMO,),
    "olmo2": (OLMO2,),
    "openchat": (OPENCHAT,),
    "openchat-3.6": (OPENCHAT_36,),
    "phi": (PHI,),
    "phi3": (PHI,),
    "phi4": (PHI4,),
    "phi4_mini": (PHI4_MINI,),
    "starchat": (STARCHAT,),
    "telechat": (TELECHAT,),
    "telechat2": (TELECHAT2,),
}
