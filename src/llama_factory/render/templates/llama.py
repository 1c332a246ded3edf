"""Llama and Mistral: `[INST]`, then headers.

Llama 3 writes a call as one JSON object (several as a list) and reads results in the turn `ipython`; the functions
stand in the system turn, introduced in our own words. Mistral has control tokens for all of it.
"""

from __future__ import annotations

from llama_factory.render.templates.written import NO_ROLE, Written, quoted, turns

LLAMA2 = turns(
    ("{bos}[INST] ", " [/INST]"),
    (" ", " {eos}"),
    system="first user",
    prompt="",
)
_IN_USER = "message['content'] + '\\n\\n'"
LLAMA2 = Written(LLAMA2.text.replace(_IN_USER, "'<<SYS>>\\n' + message['content'] + '\\n<</SYS>>\\n\\n'"), LLAMA2.stops)
LLAMA2_ZH = LLAMA2.with_system("You are a helpful assistant. 你是一个乐于助人的助手。")

_CALLS_ARE = (
    "You may call the functions below. To call one, answer with nothing but a JSON object of the form "
    '{"name": name of the function, "parameters": object with its arguments}; to call several, with a list of them.'
)

_HEADERS = """\
{{- bos_token -}}
{%- set alone = not messages or messages[0]['role'] != 'system' -%}
{%- if tools and alone -%}
    {{- BEGINsystemENDED -}}
    TOOLS
    {{- 'STOP' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- if message['role'] == 'system' and loop.first -%}
        {{- BEGINsystemENDED + message['content'] | trim -}}
        {%- if tools -%}
            {{- '\\n\\n' -}}
            TOOLS
        {%- endif -%}
        {{- 'STOP' -}}
    {%- elif message['role'] == 'system' or message['role'] == 'user' -%}
        {{- 'BEGIN' + message['role'] + 'ENDED' + message['content'] | trim + 'STOP' -}}
    {%- elif message['role'] == 'assistant' -%}
        {{- BEGINassistantENDED + (message['content'] or '') | trim -}}
        {%- set calls = message['tool_calls'] or [] -%}
        {{- '[' if calls | length > 1 else '' -}}
        {%- for call in calls -%}
            {%- set call = call['function'] or call -%}
            {{- ('' if loop.first else ', ') + '{"name": "' + call['name'] + '", "parameters": ' -}}
            {{- call['arguments'] if call['arguments'] is string else (call['arguments'] | tojson) -}}
            {{- '}' -}}
        {%- endfor -%}
        {{- ']' if calls | length > 1 else '' -}}
        {{- 'STOP' -}}
    {%- elif message['role'] == 'tool' -%}
        {{- BEGINipythonENDED + message['content'] + 'STOP' -}}
    NO_ROLE
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- BEGINassistantENDED -}}{%- endif -%}
"""
_TOOLS = (
    f"{{{{- {quoted(_CALLS_ARE)} -}}}}{{%- for tool in tools -%}}{{{{- '\\n\\n' + (tool | tojson) -}}}}{{%- endfor -%}}"
)


def _headers(begin: str, ended: str, stop: str) -> Written:
    text = _HEADERS
    for role in ("system", "assistant", "ipython"):
        text = text.replace(f"BEGIN{role}ENDED", quoted(f"{begin}{role}{ended}\n\n"))
    text = text.replace("'BEGIN'", quoted(begin)).replace("'ENDED'", quoted(ended + "\n\n")).replace("STOP", stop)
    text = text.replace("TOOLS", _TOOLS).replace("NO_ROLE", NO_ROLE)
    return Written(text, (stop,), (begin, ended, stop), tools=True)


LLAMA3 = _headers("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
LLAMA4 = _headers("<|header_start|>", "<|header_end|>", "<|eot|>")

_DATED = """\
{{- bos_token -}}
{%- if messages and messages[0]['role'] == 'system' -%}
    {%- set said = messages[0]['content'] | trim -%}
    {%- set messages = messages[1:] -%}
{%- else -%}
    {%- set said = '' -%}
{%- endif -%}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\nToday Date: ' -}}
{{- (date_string if date_string is defined else '26 Jul 2024') + '\\n\\n' + said + '<|eot_id|>' -}}
{%- for message in messages -%}
    {%- if message['role'] == 'user' or message['role'] == 'assistant' -%}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim -}}
        {{- '<|eot_id|>' -}}
    NO_ROLE
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}
""".replace("NO_ROLE", NO_ROLE)
LLAMA31 = Written(_DATED, LLAMA3.stops, LLAMA3.markers)
LLAMA32 = Written(_DATED.replace("'26 Jul 2024'", "strftime_now('%d %b %Y')"), LLAMA3.stops, LLAMA3.markers)
"""What Llama 3.1 to 3.3 bring themselves: a system turn with two dates, always; 3.2 writes today's."""

_MISTRAL = """\
{{- bos_token -}}
{%- set first = namespace(system='') -%}
{%- set last = namespace(question=-1) -%}
{%- for message in messages -%}
    {%- if message['role'] == 'user' -%}{%- set last.question = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {%- set first.system = message['content'] + '\\n\\n' -%}
    {%- elif message['role'] == 'user' -%}
        {%- if tools and loop.index0 == last.question -%}
            {{- '[AVAILABLE_TOOLS]GAP' + (tools | tojson) + '[/AVAILABLE_TOOLS]' -}}
        {%- endif -%}
        {{- '[INST]GAP' + first.system + message['content'] + '[/INST]' -}}
        {%- set first.system = '' -%}
    {%- elif message['role'] == 'assistant' -%}
        {%- if message['content'] -%}{{- 'GAP' + message['content'] -}}{%- endif -%}
        {%- for call in message['tool_calls'] or [] -%}
            {{- '[TOOL_CALLS]GAP[' if loop.first else ', ' -}}
            {%- set known = call['id'] -%}
            {%- set call = call['function'] or call -%}
            {{- '{"name": "' + call['name'] + '", "arguments": ' -}}
            {{- call['arguments'] if call['arguments'] is string else (call['arguments'] | tojson) -}}
            {{- (', "id": "' + known + '"' if known else '') + '}' + (']' if loop.last else '') -}}
        {%- endfor -%}
        {{- eos_token -}}
    {%- elif message['role'] == 'tool' -%}
        {{- '[TOOL_RESULTS]GAP{"content": ' + message['content'] -}}
        {{- (', "call_id": "' + message['tool_call_id'] + '"' if message['tool_call_id'] else '') -}}
        {{- '}[/TOOL_RESULTS]' -}}
    NO_ROLE
    {%- endif -%}
{%- endfor -%}
""".replace("NO_ROLE", NO_ROLE)
_INST = ("[INST]", "[/INST]")
_MISTRAL_TOOLS = ("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")

MISTRAL_V3 = Written(_MISTRAL.replace("GAP", " "), ("{eos}",), (*_INST, *_MISTRAL_TOOLS), tools=True)
MISTRAL_NEMO = Written(_MISTRAL.replace("GAP", ""), ("{eos}",), (*_INST, *_MISTRAL_TOOLS), tools=True)
MISTRAL_V1 = turns(("[INST] ", " [/INST]"), (" ", "{eos}"), system="first user", begin="{bos}", prompt="")
"""Before the marks were control tokens."""

MISTRAL_SMALL = turns(
    ("[INST]", "[/INST]"),
    ("", "{eos}"),
    system=("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    begin="{bos}",
    markers=("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
)

LLAMA_FAMILY: dict[str, tuple[Written, ...]] = {
    "llama2": (LLAMA2,),
    "llama2_zh": (LLAMA2_ZH,),
    "llama3": (LLAMA3, LLAMA31, LLAMA32),
    "llama4": (LLAMA4,),
    "ministral": (MISTRAL_NEMO,),
    "mistral": (MISTRAL_V3, MISTRAL_V1, MISTRAL_NEMO),
    "mistral_nemo": (MISTRAL_NEMO,),
    "mistral_small": (MISTRAL_SMALL,),
}
