"""ChatML and what grew out of it: `<|im_start|>role`, a line break, the words, `<|im_end|>`.

Tools are written in the form of Qwen and Hermes: schemas and how to call in the system turn, each call as JSON inside
`<tool_call>`, results in a user's turn inside `<tool_response>`. Thoughts, where a family has them, stand inside
`<think>` before the last answer and are left out of earlier ones.
"""

from __future__ import annotations

from dataclasses import replace

from llama_factory.render.templates.written import NO_ROLE, Thinking, Written, quoted, turns

_TOOLS_ARE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_CALL_SO = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)
"""What these models were trained to read before a list of functions, to the letter: the written form of the family."""

_SYSTEM = f"""\
{{%- set alone = not messages or messages[0]['role'] != 'system' -%}}
{{%- if tools or not alone -%}}
    {{{{- '<|im_start|>system\\n' -}}}}
    {{%- if not alone -%}}{{{{- messages[0]['content'] + ('\\n\\n' if tools else '') -}}}}{{%- endif -%}}
    {{%- if tools -%}}
        {{{{- {quoted(_TOOLS_ARE)} -}}}}
        {{%- for tool in tools -%}}{{{{- '\\n' + (tool | tojson) -}}}}{{%- endfor -%}}
        {{{{- {quoted(_CALL_SO)} -}}}}
    {{%- endif -%}}
    {{{{- '<|im_end|>\\n' -}}}}
{{%- endif -%}}
"""

_LAST_QUESTION = """\
{%- set last = namespace(question=-1) -%}
{%- for message in messages -%}
    {%- if message['role'] == 'user' -%}{%- set last.question = loop.index0 -%}{%- endif -%}
{%- endfor -%}
"""

_THOUGHTS = """\
        {%- set thoughts = message['reasoning_content'] or '' -%}
        {%- if not thoughts and '</think>' in content -%}
            {%- set thoughts = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') -%}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') -%}
        {%- endif -%}
        {%- if loop.index0 > last.question and (loop.last or thoughts) -%}
            {{- '<think>\\n' + thoughts.strip('\\n') + '\\n</think>\\n\\n' -}}
            {%- set content = content.lstrip('\\n') -%}
        {%- endif -%}
"""

_TURNS = (
    """\
{%- for message in messages -%}
    {%- if message['role'] == 'user' or (message['role'] == 'system' and not loop.first) -%}
        {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
    {%- elif message['role'] == 'assistant' -%}
        {{- '<|im_start|>assistant\\n' -}}
        {%- set content = message['content'] or '' -%}
THOUGHTS\
        {{- content -}}
        {%- for call in message['tool_calls'] or [] -%}
            {%- set call = call['function'] or call -%}
            {{- '\\n' if content or not loop.first else '' -}}
            {{- '<tool_call>\\n{"name": "' + call['name'] + '", "arguments": ' -}}
            {{- call['arguments'] if call['arguments'] is string else (call['arguments'] | tojson) -}}
            {{- '}\\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>\\n' -}}
    {%- elif message['role'] == 'tool' -%}
        {%- if loop.first or loop.previtem['role'] != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
        {{- '\\n<tool_response>\\n' + message['content'] + '\\n</tool_response>' -}}
        {%- if loop.last or loop.nextitem['role'] != 'tool' -%}{{- '<|im_end|>\\n' -}}{%- endif -%}
    {%- elif message['role'] != 'system' -%}"""
    + NO_ROLE.removeprefix("{%- else -%}")
    + """
    {%- endif -%}
{%- endfor -%}
"""
)

_PROMPT = "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n'NO_THOUGHTS -}}{%- endif -%}\n"
_NO_THOUGHTS = " + ('<think>\\n\\n</think>\\n\\n' if enable_thinking is defined and enable_thinking is false else '')"

MARKERS = ("<|im_start|>", "<|im_end|>")


def _with_tools(begin: str = "", default_system: str = "", thinking: Thinking = "never") -> Written:
    thinks = thinking != "never"
    body = _TURNS.replace("THOUGHTS", _THOUGHTS if thinks else "")
    prompt = _PROMPT.replace("NO_THOUGHTS", _NO_THOUGHTS if thinks else "")
    text = begin + _SYSTEM + (_LAST_QUESTION if thinks else "") + body + prompt
    return Written(text, ("<|im_end|>",), MARKERS, default_system, thinking, tools=True)


CHATML = _with_tools()
BOS_CHATML = _with_tools(begin="{{- bos_token -}}\n")
QWEN = CHATML.with_system("You are a helpful assistant.")
QWEN25 = CHATML.with_system("You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")
QWEN3 = _with_tools(thinking="optional")
SMOLLM = CHATML.with_system("You are a helpful AI assistant named SmolLM, trained by Hugging Face")

LFM2 = replace(
    turns(
        ("<|im_start|>user\n", "<|im_end|>\n"),
        ("<|im_start|>assistant\n", "<|im_end|>\n"),
        system=("<|im_start|>system\n", "<|im_end|>\n"),
        begin="{bos}",
    ),
    markers=MARKERS,
)

SEED_OSS = turns(
    ("<seed:bos>user\n", "<seed:eos>"),
    ("<seed:bos>assistant\n", "<seed:eos>"),
    system=("<seed:bos>system\n", "<seed:eos>"),
    markers=("<seed:bos>", "<seed:eos>"),
)

CHATML_FAMILY: dict[str, tuple[Written, ...]] = {
    "chatml": (CHATML,),
    "chatml_de": (CHATML.with_system("Du bist ein freundlicher und hilfsbereiter KI-Assistent."),),
    "cpm4": (CHATML,),
    "dbrx": (CHATML,),
    "hermes": (CHATML,),
    "intern2": (BOS_CHATML,),
    "internlm2": (BOS_CHATML,),
    "lfm2": (LFM2,),
    "mimo": (CHATML.with_system("You are MiMo, an AI assistant developed by Xiaomi."),),
    "minicpm3": (CHATML,),
    "nanbeige": (BOS_CHATML.with_system("你是南北阁，一款由BOSS直聘自主研发并训练的专业大语言模型。"),),
    "opencoder": (CHATML.with_system("You are OpenCoder, created by OpenCoder Team."),),
    "qwen": (QWEN,),
    "qwen2_5": (QWEN25,),
    "qwen3": (QWEN3,),
    "qwen3_nothink": (CHATML,),
    "seed_oss": (SEED_OSS,),
    "smollm": (SMOLLM,),
    "smollm2": (CHATML.with_system("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),),
    "yi": (CHATML,),
}
