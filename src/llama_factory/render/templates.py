"""The templates that a name in `template:` stands for, for models that bring none of their own.

One literal table: name -> the variants of that family, newest first. A variant fits a tokenizer that
knows all its markers. The texts are written in the language of chat templates (Jinja), so that one
renderer serves the model's own template and these alike, and so that they can be saved beside the
weights for others to use. A model's own template is compared with the named one in `choose.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Written:
    """A template's text, the system text it falls back to, and the control tokens it writes."""

    text: str
    default_system: str = ""
    markers: tuple[str, ...] = ()


def _chatml(default_system: str = "") -> Written:
    return Written(
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        default_system,
        ("<|im_start|>", "<|im_end|>"),
    )


PLAIN = Written(
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ message['content'] + eos_token + '\\n' }}"
    "{% else %}{{ message['content'] + '\\n' }}{% endif %}"
    "{% endfor %}"
)
"""Prompt, a line break, response, end of text: for a base model with no template and no name given."""

_ALPACA = Written(
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ '### Instruction:\\n' + message['content'] + '\\n\\n### Response:\\n' }}"
    "{% else %}{{ message['content'] + eos_token + '\\n\\n' }}{% endif %}"
    "{% endfor %}",
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
)

_DEFAULT = Written(
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'Human: ' + message['content'] + '\\nAssistant:' }}"
    "{% else %}{{ message['content'] + eos_token + '\\n' }}{% endif %}"
    "{% endfor %}"
)

_LLAMA3 = Written(
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    "",
    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)

_GEMMA = Written(
    "{{ bos_token }}"
    "{% set ns = namespace(system='') %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{% set ns.system = message['content'] + '\\n\\n' %}"
    "{% elif message['role'] == 'user' %}"
    "{{ '<start_of_turn>user\\n' + ns.system + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% set ns.system = '' %}"
    "{% else %}{{ '<start_of_turn>model\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
    "",
    ("<start_of_turn>", "<end_of_turn>"),
)


def _hunyuan(begin: str, after_system: str, user: str, assistant: str, end: str) -> Written:
    """Both generations of the family write system, then turns; only the names of the markers differ."""
    return Written(
        f"{{{{ '{begin}' }}}}"
        "{% for message in messages %}"
        f"{{% if message['role'] == 'system' %}}{{{{ message['content'] + '{after_system}' }}}}"
        f"{{% elif message['role'] == 'user' %}}{{{{ '{user}' + message['content'] + '{assistant}' }}}}"
        f"{{% else %}}{{{{ message['content'] + '{end}' }}}}{{% endif %}}"
        "{% endfor %}",
        "",
        tuple(marker for marker in (begin, after_system, user, assistant, end) if marker),
    )


_HUNYUAN_DENSE = _hunyuan(
    "<｜hy_begin▁of▁sentence｜>",
    "<｜hy_place▁holder▁no▁3｜>",
    "<｜hy_User｜>",
    "<｜hy_Assistant｜>",
    "<｜hy_place▁holder▁no▁2｜>",
)
_HUNYUAN_LARGE = _hunyuan("<|startoftext|>", "<|extra_4|>", "", "<|extra_0|>", "<|eos|>")

TEMPLATES: Mapping[str, tuple[Written, ...]] = {
    "alpaca": (_ALPACA,),
    "chatml": (_chatml(),),
    "default": (_DEFAULT,),
    "gemma": (_GEMMA,),
    "hunyuan": (_HUNYUAN_DENSE, _HUNYUAN_LARGE),
    "llama3": (_LLAMA3,),
    "qwen": (_chatml("You are a helpful assistant."),),
    "smollm": (_chatml("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),),
}


def template_names() -> tuple[str, ...]:
    return tuple(TEMPLATES)


def with_default_system(text: str, default_system: str) -> str:
    """`text`, led by a line that puts `default_system` before conversations that have no system turn.

    The line is part of the saved template, so that whoever serves the model sends the same tokens.
    """
    if not default_system:
        return text
    quoted = default_system.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return (
        "{% if not messages or messages[0]['role'] != 'system' %}"
        f"{{% set messages = [{{'role': 'system', 'content': '{quoted}'}}] + messages %}}"
        "{% endif %}{{ '' }}" + text
    )
