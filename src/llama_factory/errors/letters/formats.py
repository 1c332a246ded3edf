"""The letters about rows: forms that cannot be told apart, other stages, comparisons, tools and their calls."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

_SKIP = "Correct the row, or set `on_bad_row: skip` to leave such rows out."
_SKIP_ZH = "请修正该行，或设置 `on_bad_row: skip` 跳过此类行。"

_FORMS: dict[str, Letter] = {
    "data.ambiguous-format": Letter(
        en="the row can be read in more than one way: {readings}. Its keys: {keys}.",
        en_cure="Say which is meant under `columns` in dataset_info.json; a column that is null there is not read.",
        zh="该行有多种读法：{readings}。它的键为：{keys}。",
        zh_cure="请在 dataset_info.json 的 `columns` 中说明采用哪一种；设为 null 的列不会被读取。",
    ),
    "data.other-stage": Letter(
        en="rows of this kind are what the stage {fits} learns from; this run is {stage}.",
        en_cure="Name a data set that fits, or choose a stage that fits; if only some rows are of this kind, "
        "`on_bad_row: skip` leaves them out. A column that is null in dataset_info.json is not read.",
        zh="这种数据属于 {fits} 阶段；当前运行为 {stage}。",
        zh_cure="请改用匹配的数据集，或改用匹配的阶段；若只有个别行如此，可用 `on_bad_row: skip` 跳过。"
        "在 dataset_info.json 中设为 null 的列不会被读取。",
    ),
    "data.bad-json": Letter(
        en="`{key}` should hold JSON, which breaks at column {column} of the text: {reason}.",
        en_cure=_SKIP,
        zh="`{key}` 中应为 JSON，但文本第 {column} 列出错：{reason}。",
        zh_cure=_SKIP_ZH,
    ),
    "data.empty-text": Letter(
        en="`{key}` is empty.",
        en_cure="Nothing would be learned from this row. " + _SKIP,
        zh="`{key}` 为空。",
        zh_cure="该行没有可学习的内容。" + _SKIP_ZH,
    ),
    "data.thinking-missing": Letter(
        en="message {number} has `requires_reasoning: true` and no `thinking`.",
        en_cure="It would teach the model to answer without thoughts where it should think. " + _SKIP,
        zh="第 {number} 条消息的 `requires_reasoning` 为 true，却没有 `thinking`。",
        zh_cure="这会让模型在应当思考时不思考。" + _SKIP_ZH,
    ),
}

_TURNS: dict[str, Letter] = {
    "data.only-assistant": Letter(
        en="message {number} ({role}) has `{key}`, which only the assistant's messages may have.",
        en_cure=_SKIP,
        zh="第 {number} 条消息（{role}）带有 `{key}`，只有 assistant 的消息可以有。",
        zh_cure=_SKIP_ZH,
    ),
    "data.two-reasonings": Letter(
        en="message {number} gives two different thoughts, in {keys}.",
        en_cure="Keep one. " + _SKIP,
        zh="第 {number} 条消息在 {keys} 中给出了不同的思考内容。",
        zh_cure="请只保留其一。" + _SKIP_ZH,
    ),
    "data.train-and-weight": Letter(
        en="message {number} has `weight: {weight}` and `train: {train}`, which say the opposite of each other.",
        en_cure="Keep one. " + _SKIP,
        zh="第 {number} 条消息的 `weight: {weight}` 与 `train: {train}` 相互矛盾。",
        zh_cure="请只保留其一。" + _SKIP_ZH,
    ),
    "data.part-unknown": Letter(
        en="message {number} has a part of the type `{kind}`. Known types: text, reasoning, thinking, tool_call.",
        en_cure=_SKIP,
        zh="第 {number} 条消息含有类型为 `{kind}` 的分段。可用类型：text、reasoning、thinking、tool_call。",
        zh_cure=_SKIP_ZH,
    ),
    "data.part-order": Letter(
        en="message {number} has a part `{kind}` after what it should stand before: thoughts, then text, then calls.",
        en_cure="Templates write them in this order and no other. " + _SKIP,
        zh="第 {number} 条消息的 `{kind}` 分段位置不对：应先是思考，再是文本，最后是工具调用。",
        zh_cure="模板只按此顺序书写。" + _SKIP_ZH,
    ),
    "data.thought-marks": Letter(
        en="the marks of thoughts and answers are not one pair each, from the beginning of the text: {marks} "
        "({count} records have such).",
        en_cure="The model will learn to write them so. Correct them if that is not meant.",
        zh="思考与回答的标记没有从文本开头起各自成对：{marks}（共 {count} 条记录）。",
        zh_cure="模型会照样学会这种写法；若非本意，请修正。",
    ),
}

_PAIRS: dict[str, Letter] = {
    "data.answer-and-pair": Letter(
        en="the row has an answer in `{answer}` and two to choose from in {pair}.",
        en_cure="Say which is meant: give null to the other columns in dataset_info.json. " + _SKIP,
        zh="该行在 `{answer}` 中有一个回答，又在 {pair} 中有两个供比较的回答。",
        zh_cure="请在 dataset_info.json 中将不用的列设为 null。" + _SKIP_ZH,
    ),
    "data.pair-shape": Letter(
        en="expected `{key}` to be a text, or a list of the better and the worse answer, found a list of {count}.",
        en_cure="Write the two as `chosen` and `rejected`. " + _SKIP,
        zh="`{key}` 应为文本，或由较好与较差两个回答组成的列表，实际为含 {count} 项的列表。",
        zh_cure="请将两者分别写入 `chosen` 与 `rejected`。" + _SKIP_ZH,
    ),
    "data.prompt-ends": Letter(
        en="expected the dialogue before `{key}` to end with the user, found the assistant.",
        en_cure="The answers to compare are the next turn. " + _SKIP,
        zh="`{key}` 之前的对话应以 user 结束，实际为 assistant。",
        zh_cure="供比较的回答应是下一轮。" + _SKIP_ZH,
    ),
    "data.answer-several": Letter(
        en="expected `{key}` to be one answer, found {count} messages after the prompt.",
        en_cure="Put the turns before the last answer into the prompt. " + _SKIP,
        zh="`{key}` 应为一个回答，实际在提示之后有 {count} 条消息。",
        zh_cure="请将最后一个回答之前的轮次移入提示。" + _SKIP_ZH,
    ),
    "data.answer-role": Letter(
        en="expected `{key}` to be said by the assistant, found the role {found}.",
        en_cure=_SKIP,
        zh="`{key}` 应由 assistant 说出，实际角色为 {found}。",
        zh_cure=_SKIP_ZH,
    ),
    "data.prompt-differs": Letter(
        en="`{key}` is a whole dialogue that does not begin as the prompt does.",
        en_cure="Keep only the answer in it. " + _SKIP,
        zh="`{key}` 是完整对话，但其开头与提示不同。",
        zh_cure="请只保留其中的回答。" + _SKIP_ZH,
    ),
    "data.no-prompt": Letter(
        en="`{key}` is {found}, and the row has no prompt: where the answer begins cannot be known.",
        en_cure="Add `prompt`, or write both sides as lists of messages. " + _SKIP,
        zh="`{key}` 为 {found}，而该行没有提示：无法得知回答从哪里开始。",
        zh_cure="请添加 `prompt`，或将两侧都写成消息列表。" + _SKIP_ZH,
    ),
}

_TOOLS: dict[str, Letter] = {
    "data.tool-shape": Letter(
        en="tool {number} of `{key}` is no function with a name: {found}.",
        en_cure='A tool is `{{"name": ..., "description": ..., "parameters": {{...}}}}`, or that inside '
        '`{{"type": "function", "function": ...}}`. ' + _SKIP,
        zh="`{key}` 的第 {number} 个工具不是带名称的函数：{found}。",
        zh_cure='工具应写成 `{{"name": ..., "description": ..., "parameters": {{...}}}}`，或放在 '
        '`{{"type": "function", "function": ...}}` 中。' + _SKIP_ZH,
    ),
    "data.tool-twice": Letter(
        en="`{key}` has two tools that are called `{name}`.",
        en_cure=_SKIP,
        zh="`{key}` 中有两个名为 `{name}` 的工具。",
        zh_cure=_SKIP_ZH,
    ),
    "data.tool-schema": Letter(
        en="the parameters of the tool `{tool}` are no JSON schema: {reason}.",
        en_cure="Calls of it cannot be checked. " + _SKIP,
        zh="工具 `{tool}` 的参数不是合法的 JSON schema：{reason}。",
        zh_cure="无法检查对它的调用。" + _SKIP_ZH,
    ),
    "data.call-shape": Letter(
        en="call {number} in `{key}` is no name with arguments: {found}.",
        en_cure='A call is `{{"name": ..., "arguments": {{...}}}}`. ' + _SKIP,
        zh="`{key}` 中的第 {number} 个调用不是名称加参数：{found}。",
        zh_cure='调用应写成 `{{"name": ..., "arguments": {{...}}}}`。' + _SKIP_ZH,
    ),
    "data.unknown-tool": Letter(
        en="`{tool}`{hint} is called, and no tool of the row has this name. Its tools: {known}.",
        en_cure="The model would learn to call what it was not given. " + _SKIP,
        zh="调用了 `{tool}`{hint}，但该行没有这个名称的工具。已有工具：{known}。",
        zh_cure="这会让模型学会调用未提供的工具。" + _SKIP_ZH,
    ),
    "data.argument-missing": Letter(
        en="a call of `{tool}` lacks the argument `{argument}`, which its schema requires. Given: {found}.",
        en_cure=_SKIP,
        zh="对 `{tool}` 的调用缺少其 schema 要求的参数 `{argument}`。已给出：{found}。",
        zh_cure=_SKIP_ZH,
    ),
    "data.argument-unknown": Letter(
        en="a call of `{tool}` has the argument `{argument}`{hint}, which its schema does not allow. Known: {known}.",
        en_cure=_SKIP,
        zh="对 `{tool}` 的调用带有其 schema 不允许的参数 `{argument}`{hint}。可用：{known}。",
        zh_cure=_SKIP_ZH,
    ),
    "data.argument-wrong": Letter(
        en="a call of `{tool}` has a wrong argument `{argument}`: expected {expected}, found {found}.",
        en_cure=_SKIP,
        zh="对 `{tool}` 的调用参数 `{argument}` 有误：应满足 {expected}，实际为 {found}。",
        zh_cure=_SKIP_ZH,
    ),
    "data.result-without-call": Letter(
        en="message {number} is the result of a tool, and no call stands before it.",
        en_cure="Write the call as `tool_calls` of the assistant, or as a `function_call` turn. " + _SKIP,
        zh="第 {number} 条消息是工具的结果，但其前没有调用。",
        zh_cure="请将调用写成 assistant 的 `tool_calls`，或 `function_call` 轮次。" + _SKIP_ZH,
    ),
    "data.call-unanswered": Letter(
        en="expected the result of a call before message {number}, found {found}.",
        en_cure="Each call is answered by a message of the role `tool`, before anybody else speaks. " + _SKIP,
        zh="第 {number} 条消息之前应有调用的结果，实际为 {found}。",
        zh_cure="每个调用都应由角色为 `tool` 的消息回应，然后才轮到他人。" + _SKIP_ZH,
    ),
    "data.unknown-call-id": Letter(
        en="message {number} answers the call `{found}`; open are: {known}.",
        en_cure=_SKIP,
        zh="第 {number} 条消息回应调用 `{found}`；尚未回应的有：{known}。",
        zh_cure=_SKIP_ZH,
    ),
}

_OUTWARD: dict[str, Letter] = {
    "data.cannot-hold": Letter(
        en="the format `{format}` has no place for what this row says in: {what}.",
        en_cure="Choose a format that has: `openai` holds whole dialogues with tools, thoughts and weights.",
        zh="`{format}` 格式无法容纳该行中的：{what}。",
        zh_cure="请改用能容纳的格式：`openai` 可容纳带工具、思考与权重的完整对话。",
    ),
}

LETTERS: dict[str, Letter] = {**_FORMS, **_TURNS, **_PAIRS, **_TOOLS, **_OUTWARD}
