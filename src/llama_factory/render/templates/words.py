"""Families that name the roles in words: nothing but the end of text is a control token.

Their base models know these words, or none at all; every tokenizer fits that has an end of text.
"""

from __future__ import annotations

from llama_factory.render.templates.written import Written, turns

PLAIN = turns(("", "\n"), ("", "{eos}\n"), system=("", "\n"))
"""Prompt, a line break, response, end of text: for a base model with no template and no name given."""

EMPTY = turns(("", ""), ("", "{eos}"), system=("", ""))

DEFAULT = turns(("Human: ", "\nAssistant:"), ("", "{eos}\n"), system=("", "\n"))

ALPACA = turns(
    ("### Instruction:\n", "\n\n### Response:\n"),
    ("", "{eos}\n\n"),
    system=("", "\n\n"),
    default_system="Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.",
)

VICUNA = turns(
    ("USER: ", " "),
    ("ASSISTANT: ", "{eos}"),
    system=("", " "),
    prompt="ASSISTANT:",
    default_system="A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
)

AQUILA = turns(
    ("Human: ", "###"),
    ("Assistant: ", "{eos}"),
    system=("", "###"),
    prompt="Assistant:",
    default_system="A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions.",
)

DEEPSEEK = turns(("User: ", "\n\n"), ("Assistant: ", "{eos}"), system=("", "\n\n"), begin="{bos}", prompt="Assistant:")

DEEPSEEK_CODER = turns(
    ("### Instruction:\n", "\n"),
    ("### Response:\n", "\n<|EOT|>\n"),
    system=("", ""),
    begin="{bos}",
    prompt="### Response:\n",
    markers=("<|EOT|>",),
)

BREEZE = turns((" [INST] ", " [/INST] "), ("", "{eos}"), system=("", " "), begin="{bos}")

ERNIE = turns(
    ("User: ", "\n"),
    ("Assistant: ", "<|end_of_sentence|>"),
    system=("", "\n"),
    begin="<|begin_of_sentence|>",
    prompt="Assistant: ",
    markers=("<|begin_of_sentence|>", "<|end_of_sentence|>"),
)

FALCON = turns(
    ("User: ", "\n"), ("Falcon: ", "{eos}\n"), system=("System: ", "\n"), prompt="Falcon:"
)  # Falcon's own writes no end of text between turns: a model must see one to learn to stop

FEWSHOT = turns(("", "\n"), ("", "{eos}\n\n"), system=("", "\n\n"))

ORION = turns(("Human: ", "\n\n"), ("Assistant: {eos}", "{eos}"), system=("", "\n\n"), begin="{bos}")

SOLAR = turns(("### User:\n", "\n\n"), ("### Assistant:\n", "{eos}\n\n"), system=("### System:\n", "\n\n"))

XUANYUAN = turns(
    (" Human: ", ""),
    (" Assistant: ", "{eos}"),
    system=("", "\n"),
    prompt=" Assistant:",
    default_system="以下是用户和人工智能助手之间的对话。用户以Human开头，人工智能助手以Assistant开头，"
    "会对人类提出的问题给出有帮助、高质量、详细和礼貌的回答，并且总是拒绝参与与不道德、不安全、有争议、"
    "政治敏感等相关的话题、问题和指示。\n",
)

XVERSE = turns(("Human: ", "\n\n"), ("Assistant: ", "{eos}"), system=("", "\n\n"))

YUAN = turns(("", "<sep>"), ("", "<eod>\n"), system=("", "\n"), markers=("<sep>", "<eod>"))

ZEPHYR = turns(("<|user|>\n", "{eos}\n"), ("<|assistant|>\n", "{eos}\n"), system=("<|system|>\n", "{eos}\n"))

WORDS: dict[str, tuple[Written, ...]] = {
    "alpaca": (ALPACA,),
    "aquila": (AQUILA,),
    "breeze": (BREEZE,),
    "deepseek": (DEEPSEEK,),
    "deepseekcoder": (DEEPSEEK_CODER,),
    "default": (DEFAULT,),
    "empty": (EMPTY,),
    "ernie_nothink": (ERNIE,),
    "falcon": (FALCON,),
    "fewshot": (FEWSHOT,),
    "orion": (ORION,),
    "solar": (SOLAR,),
    "vicuna": (VICUNA,),
    "xuanyuan": (XUANYUAN,),
    "xverse": (XVERSE,),
    "yuan": (YUAN,),
    "zephyr": (ZEPHYR,),
}
