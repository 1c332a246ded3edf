"""Families with a form of their own for thoughts or for tools: DeepSeek, GLM, gpt-oss.

DeepSeek and GLM put the functions into the beginning, introduced in our own words; calls and results have tokens.
"""

from __future__ import annotations

from llama_factory.render.templates.written import NO_ROLE, Written, quoted

_FUNCTIONS = "## Tools\n\nYou may call these functions, each described by a JSON schema:"

_DEEPSEEK = """\
{%- set first = namespace(system='') -%}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {%- set first.system = first.system + ('\\n\\n' if first.system else '') + message['content'] -%}
    {%- endif -%}
{%- endfor -%}
{{- bos_token + first.system -}}
{%- if tools -%}
    {{- ('\\n\\n' if first.system else '') + FUNCTIONS -}}
    {%- for tool in tools -%}{{- '\\n' + (tool | tojson) -}}{%- endfor -%}
{%- endif -%}
{%- for message in messages -%}
    {%- if message['role'] == 'user' -%}
        {{- '<｜User｜>' + message['content'] -}}
    {%- elif message['role'] == 'assistant' -%}
        {%- if loop.first or loop.previtem['role'] != 'tool' -%}{{- '<｜Assistant｜>' -}}{%- endif -%}
        {%- set content = message['content'] or '' -%}
THOUGHTS\
        {{- content -}}
        {%- for call in message['tool_calls'] or [] -%}
            {{- '<｜tool▁calls▁begin｜>' if loop.first else '\\n' -}}
            {%- set call = call['function'] or call -%}
            {{- '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + call['name'] + '\\n```json\\n' -}}
            {{- call['arguments'] if call['arguments'] is string else (call['arguments'] | tojson) -}}
            {{- '\\n```<｜tool▁call▁end｜>' + ('<｜tool▁calls▁end｜>' if loop.last else '') -}}
        {%- endfor -%}
        {{- '<｜end▁of▁sentence｜>' -}}
    {%- elif message['role'] == 'tool' -%}
        {{- '<｜tool▁outputs▁begin｜>' if loop.first or loop.previtem['role'] != 'tool' else '\\n' -}}
        {{- '<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>' -}}
        {{- '<｜tool▁outputs▁end｜>' if loop.last or loop.nextitem['role'] != 'tool' else '' -}}
    {%- elif message['role'] != 'system' -%}NO_ROLE
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt and (not messages or messages[-1]['role'] != 'tool') -%}
    {{- '<｜Assistant｜>'THINK -}}
{%- endif -%}
""".replace("FUNCTIONS", quoted(_FUNCTIONS)).replace("NO_ROLE", NO_ROLE.removeprefix("{%- else -%}"))

_DEEPSEEK_THOUGHTS = """\
        {%- set thoughts = message['reasoning_content'] or '' -%}
        {%- if '</think>' in content -%}
            {%- set thoughts = thoughts or content.split('</think>')[0].split('<think>')[-1].strip('\\n') -%}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') -%}
        {%- endif -%}
        {%- if thoughts and loop.last and (loop.first or loop.previtem['role'] != 'tool') -%}
            {{- '<think>\\n' + thoughts + '\\n</think>\\n\\n' -}}
        {%- endif -%}
"""
_DEEPSEEK_PROMPT = (
    " + ('<think>\\n\\n</think>\\n\\n' if enable_thinking is defined and enable_thinking is false else '<think>\\n')"
)
_DEEPSEEK_MARKERS = ("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>")

DEEPSEEK3 = Written(
    _DEEPSEEK.replace("THOUGHTS", "").replace("THINK", ""),
    ("<｜end▁of▁sentence｜>",),
    _DEEPSEEK_MARKERS,
    tools=True,
)
DEEPSEEKR1 = Written(
    _DEEPSEEK.replace("THOUGHTS", _DEEPSEEK_THOUGHTS).replace("THINK", _DEEPSEEK_PROMPT),
    ("<｜end▁of▁sentence｜>",),
    _DEEPSEEK_MARKERS,
    thinking="optional",
    tools=True,
)

_GLM4 = """\
{{- '[gMASK]<sop>' -}}
{%- if tools -%}
    {{- '<|system|>\\n' + FUNCTIONS -}}
    {%- for tool in tools -%}{{- '\\n\\n### ' + tool['function']['name'] + '\\n\\n' + (tool | tojson) -}}{%- endfor -%}
{%- endif -%}
{%- for message in messages -%}
    {%- if message['role'] == 'system' or message['role'] == 'user' -%}
        {{- '<|' + message['role'] + '|>\\n' + message['content'] -}}
    {%- elif message['role'] == 'assistant' -%}
        {%- if message['content'] or not message['tool_calls'] -%}
            {{- '<|assistant|>\\n' + message['content'] -}}
        {%- endif -%}
        {%- for call in message['tool_calls'] or [] -%}
            {%- set call = call['function'] or call -%}
            {{- '<|assistant|>' + call['name'] + '\\n' -}}
            {{- call['arguments'] if call['arguments'] is string else (call['arguments'] | tojson) -}}
        {%- endfor -%}
    {%- elif message['role'] == 'tool' -%}
        {{- '<|observation|>\\n' + message['content'] -}}
    NO_ROLE
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
""".replace("FUNCTIONS", quoted(_FUNCTIONS)).replace("NO_ROLE", NO_ROLE)
_GLM_MARKERS = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")

GLM4 = Written(_GLM4, ("<|user|>", "<|observation|>"), _GLM_MARKERS, tools=True)
"""No token ends a turn: the one that begins the next stops it, `<|observation|>` after a call."""

_GLM4_MOE = """\
{{- '[gMASK]<sop>' -}}
{%- set last = namespace(question=-1) -%}
{%- for message in messages -%}
    {%- if message['role'] == 'user' -%}{%- set last.question = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- set silent = enable_thinking is defined and enable_thinking is false -%}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {{- '<|system|>\\n' + message['content'] -}}
    {%- elif message['role'] == 'user' -%}
        {{- '<|user|>\\n' + message['content'] -}}
        {{- '/nothink' if silent and not message['content'].endswith('/nothink') else '' -}}
    {%- elif message['role'] == 'assistant' -%}
        {%- set thoughts = message['reasoning_content'] or '' -%}
        {%- set content = message['content'] -%}
        {%- if not thoughts and '</think>' in content -%}
            {%- set thoughts = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') -%}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') -%}
        {%- endif -%}
        {{- '<|assistant|>\\n<think>' + (thoughts.strip() if loop.index0 > last.question else '') + '</think>' -}}
        {{- ('\\n' if content.strip() else '') + content.strip() -}}
    NO_ROLE
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' + ('\\n<think></think>' if silent else '') -}}{%- endif -%}
""".replace("NO_ROLE", NO_ROLE)
GLM4_MOE = Written(_GLM4_MOE, ("<|user|>",), _GLM_MARKERS, thinking="optional")

_GPT_OSS = """\
{{- '<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\\n' -}}
{{- 'Knowledge cutoff: 2024-06\\nCurrent date: ' + strftime_now('%Y-%m-%d') + '\\n\\nReasoning: ' -}}
{{- (reasoning_effort if reasoning_effort is defined else 'medium') + '\\n\\n' -}}
{{- '# Valid channels: analysis, commentary, final. Channel must be included for every message.<|end|>' -}}
{%- for message in messages -%}
    {%- if message['role'] == 'system' and loop.first -%}
        {%- if message['content'] -%}
            {{- '<|start|>developer<|message|># Instructions\\n\\n' + message['content'] + '\\n\\n<|end|>' -}}
        {%- endif -%}
    {%- elif message['role'] == 'user' -%}
        {{- '<|start|>user<|message|>' + message['content'] + '<|end|>' -}}
    {%- elif message['role'] == 'assistant' -%}
        {%- set finished = loop.last and not add_generation_prompt -%}
        {%- if finished and message['thinking'] -%}
            {{- '<|start|>assistant<|channel|>analysis<|message|>' + message['thinking'] + '<|end|>' -}}
        {%- endif -%}
        {{- '<|start|>assistant<|channel|>final<|message|>' + message['content'] -}}
        {{- '<|return|>' if finished else '<|end|>' -}}
    NO_ROLE
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start|>assistant' -}}{%- endif -%}
""".replace("NO_ROLE", NO_ROLE)
GPT_OSS = Written(
    _GPT_OSS,
    ("<|return|>",),
    ("<|start|>", "<|message|>", "<|end|>", "<|channel|>", "<|return|>"),
    thinking="always",
)

REASONING: dict[str, tuple[Written, ...]] = {
    "deepseek3": (DEEPSEEK3,),
    "deepseekr1": (DEEPSEEKR1,),
    "glm4": (GLM4,),
    "glm4_moe": (GLM4_MOE,),
    "gpt_oss": (GPT_OSS,),
}
