"""The letters of `data`: data sets that cannot be found, files that cannot be read, rows that cannot be used."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

_SKIP = "Correct the row, or set `on_bad_row: skip` to leave such rows out."
_SKIP_ZH = "请修正该行，或设置 `on_bad_row: skip` 跳过此类行。"
_OTHER_ROWS = (
    "Name a data set of questions and answers in plain text; if only some rows are of this kind, set "
    "`on_bad_row: skip` to leave them out."
)
_OTHER_ROWS_ZH = "请使用纯文本问答数据集；若只有个别行如此，可设置 `on_bad_row: skip` 跳过。"
_FILE = "Write the file again from its source."
_FILE_ZH = "请从数据来源重新生成该文件。"

_RUN: dict[str, Letter] = {
    "data.no-dataset": Letter(
        en="no data set is named.",
        en_cure="Give `dataset:` a name of dataset_info.json, the path of a file or folder, or a hub's `owner/name`.",
        zh="未指定数据集。",
        zh_cure="请在 `dataset:` 中填写 dataset_info.json 里的名称、文件或文件夹的路径，或 Hub 上的 `所有者/名称`。",
    ),
    "data.named-twice": Letter(
        en="the data set `{name}` is named twice.",
        en_cure="Name it once; to learn its rows more often, raise num_train_epochs.",
        zh="数据集 `{name}` 被重复指定。",
        zh_cure="请只写一次；如需多次学习，请增大 num_train_epochs。",
    ),
    "data.two-validations": Letter(
        en="`eval_dataset` and `val_size` are both given.",
        en_cure="Keep one: a data set of its own, or a part of the training rows.",
        zh="同时指定了 `eval_dataset` 和 `val_size`。",
        zh_cure="请只保留其一：使用单独的验证集，或从训练数据中划分。",
    ),
    "data.val-size": Letter(
        en="`val_size: {val_size}` takes {wanted} of {records} records for validation; at least one must be left to "
        "train on.",
        en_cure="Give a share below 1, or a whole number smaller than the number of records.",
        zh="`val_size: {val_size}` 会从 {records} 条中取 {wanted} 条作验证，但训练至少要留一条。",
        zh_cure="请填写小于 1 的比例，或小于总条数的整数。",
    ),
    "data.state-differs": Letter(
        en="the saved run cannot go on with this data: `{what}` was {saved}, now it is {now}.",
        en_cure="Put the data and the settings back as they were, or start anew in another output_dir.",
        zh="无法用当前数据继续已保存的运行：`{what}` 原为 {saved}，现为 {now}。",
        zh_cure="请恢复原来的数据与设置，或换一个 output_dir 重新开始。",
    ),
    "data.store-damaged": Letter(
        en="the token store is damaged: {found}.",
        en_cure="Remove this folder; the next run writes it anew.",
        zh="token 缓存已损坏：{found}。",
        zh_cure="请删除该文件夹，下次运行会重新生成。",
    ),
    "data.renderer-count": Letter(
        en="expected {expected} rendered rows, found {found}.",
        en_cure="This is a fault of the program. Please report it.",
        zh="应得到 {expected} 行渲染结果，实际为 {found} 行。",
        zh_cure="这是程序自身的错误，请反馈。",
    ),
    "data.unknown-name": Letter(
        en="no data set is named `{name}`{hint}, neither in {registry} nor among the ones that come with the program.",
        en_cure="Known names: {known}. The path of a file or folder and a hub's `owner/name` need no name.",
        zh="找不到名为 `{name}` 的数据集{hint}：{registry} 与程序自带的数据集中都没有。",
        zh_cure="已知名称：{known}。文件或文件夹的路径、Hub 上的 `所有者/名称` 无需注册。",
    ),
    "data.no-such-file": Letter(
        en="there is no file `{name}`{hint}, neither here nor in `{folder}`.",
        en_cure="Check the path; it is relative to the folder in which the command runs, or to dataset_dir.",
        zh="找不到文件 `{name}`{hint}：当前目录与 `{folder}` 中都没有。",
        zh_cure="请检查路径；相对路径以运行命令的目录或 dataset_dir 为准。",
    ),
}

_REGISTRY: dict[str, Letter] = {
    "data.registry-broken": Letter(
        en="this is not JSON: line {line}, column {column}: {reason}.",
        en_cure="Look at this line and the one before: a comma between two entries, none after the last.",
        zh="JSON 语法错误：第 {line} 行第 {column} 列：{reason}。",
        zh_cure="请检查该行及上一行：两项之间需有逗号，最后一项之后不能有。",
    ),
    "data.registry-shape": Letter(
        en="expected an object of names, found {found}.",
        en_cure='Write `{{"my_data": {{"file_name": "my_data.json"}}}}`.',
        zh="应为以名称为键的对象，实际为 {found}。",
        zh_cure='请写成 `{{"my_data": {{"file_name": "my_data.json"}}}}`。',
    ),
    "data.entry-shape": Letter(
        en="expected an object, found {found}.",
        en_cure='Write `{{"file_name": "my_data.json"}}` after the name.',
        zh="应为对象，实际为 {found}。",
        zh_cure='请在名称后写 `{{"file_name": "my_data.json"}}`。',
    ),
    "data.key-unknown": Letter(
        en="`{key}`{hint} is not a key here.",
        en_cure="Known keys: {known}.",
        zh="此处没有 `{key}`{hint} 这个键。",
        zh_cure="可用的键：{known}。",
    ),
    "data.key-type": Letter(
        en="expected `{key}` to be {expected}, found {found}.",
        en_cure="Correct its value in dataset_info.json.",
        zh="`{key}` 应为 {expected}，实际为 {found}。",
        zh_cure="请在 dataset_info.json 中修正该值。",
    ),
    "data.no-file-name": Letter(
        en="the entry does not say where its rows lie.",
        en_cure="Give it a `file_name`, relative to the folder of dataset_info.json, or another of: {known}.",
        zh="该条目没有指明数据的位置。",
        zh_cure="请填写 `file_name`（相对于 dataset_info.json 所在的文件夹），或其他键：{known}。",
    ),
    "data.formatting-unknown": Letter(
        en="`formatting: {found}`{hint} is not known.",
        en_cure="Known: {known}. Without `formatting` the format is recognised from the rows.",
        zh="未知的 `formatting: {found}`{hint}。",
        zh_cure="可用值：{known}。不写 `formatting` 时会根据数据行自动识别。",
    ),
    "data.used-twice": Letter(
        en="`{first}` and `{second}` are both `{found}`.",
        en_cure="Give each its own.",
        zh="`{first}` 与 `{second}` 都写成了 `{found}`。",
        zh_cure="请为它们分别指定不同的值。",
    ),
    "data.columns-differ": Letter(
        en="`{key}` does not belong to the format {formatting}.",
        en_cure="`alpaca` has columns prompt, query, response, history and system; `sharegpt` and `openai` have "
        "messages, system and tags.",
        zh="`{key}` 不属于 {formatting} 格式。",
        zh_cure="`alpaca` 使用 prompt、query、response、history、system 列；`sharegpt` 与 `openai` 使用 messages、"
        "system 列和 tags。",
    ),
    "data.column-needed": Letter(
        en="`{role}` has no column: it is null, or its usual one, `{usual}`, was given to another role.",
        en_cure="Name its column under `columns` in dataset_info.json.",
        zh="`{role}` 没有对应的列：被设为 null，或其默认列 `{usual}` 已分配给其他角色。",
        zh_cure="请在 dataset_info.json 的 `columns` 中为它指定列名。",
    ),
    "data.column-nowhere": Letter(
        en="dataset_info.json names the column `{column}`{hint} for `{role}`, and no row has it. Keys of the rows: "
        "{keys}.",
        en_cure="Correct the column in dataset_info.json, or remove it there.",
        zh="dataset_info.json 为 `{role}` 指定了列 `{column}`{hint}，但没有任何一行包含它。数据行的键为：{keys}。",
        zh_cure="请在 dataset_info.json 中修正或删除该列。",
    ),
}

_FILES: dict[str, Letter] = {
    "data.no-file": Letter(
        en="the file is not there{hint}.",
        en_cure="Check `file_name` in dataset_info.json, or put the file in its place.",
        zh="文件不存在{hint}。",
        zh_cure="请检查 dataset_info.json 中的 `file_name`，或将文件放到该位置。",
    ),
    "data.unreadable": Letter(
        en="the file cannot be read: {reason}.",
        en_cure="Check its permissions, then give the same command again.",
        zh="无法读取该文件：{reason}。",
        zh_cure="请检查文件权限，然后重新执行同一命令。",
    ),
    "data.empty-file": Letter(
        en="the file is empty.",
        en_cure=_FILE,
        zh="文件为空。",
        zh_cure=_FILE_ZH,
    ),
    "data.utf16": Letter(
        en="expected text in UTF-8, found UTF-16.",
        en_cure="Save the file as UTF-8 in your editor.",
        zh="应为 UTF-8 文本，实际为 UTF-16。",
        zh_cure="请在编辑器中将文件另存为 UTF-8。",
    ),
    "data.not-utf8": Letter(
        en="expected text in UTF-8, found the byte {byte} at byte {offset} of the file.",
        en_cure="Save the file as UTF-8; Chinese text from Windows is often in GBK.",
        zh="应为 UTF-8 文本，但文件第 {offset} 字节处为 {byte}。",
        zh_cure="请将文件另存为 UTF-8；来自 Windows 的中文文本常为 GBK 编码。",
    ),
    "data.nul": Letter(
        en="found a NUL byte at byte {offset} of the file.",
        en_cure="Text has no NUL bytes: the file is damaged or is not text. " + _FILE,
        zh="文件第 {offset} 字节处为 NUL。",
        zh_cure="文本中不应有 NUL 字节：文件已损坏或不是文本。" + _FILE_ZH,
    ),
    "data.not-json": Letter(
        en="expected JSON that starts with `[` or `{{`, found `{found}`.",
        en_cure="Write the rows as .jsonl (one object a line) or .json (an array of objects).",
        zh="应为以 `[` 或 `{{` 开头的 JSON，实际为 `{found}`。",
        zh_cure="请将数据写成 .jsonl（每行一个对象）或 .json（对象数组）。",
    ),
    "data.one-object": Letter(
        en="expected an array of rows, found one object around it (its key is `{key}`).",
        en_cure="Keep only the array `[...]`, or write one object a line.",
        zh="应为数据行的数组，实际外面多了一层对象（键为 `{key}`）。",
        zh_cure="请只保留数组 `[...]`，或改为每行一个对象。",
    ),
    "data.broken-array": Letter(
        en="the JSON breaks at line {line}, column {column}: {reason}.",
        en_cure="Nothing after this place can be trusted, so `on_bad_row: skip` does not help. Correct the file.",
        zh="JSON 在第 {line} 行第 {column} 列出错：{reason}。",
        zh_cure="此处之后的内容都不可信，`on_bad_row: skip` 也无济于事。请修正文件。",
    ),
    "data.too-deep-array": Letter(
        en="the record that starts at line {line} is nested too deeply.",
        en_cure="A row is an object of texts or of messages. Correct the file.",
        zh="从第 {line} 行开始的记录嵌套过深。",
        zh_cure="一行应为由文本或消息组成的对象。请修正文件。",
    ),
    "data.row-too-large": Letter(
        en="a row is larger than {limit_mb} MB.",
        en_cure="Is a line break or a quote missing? A row of this size cannot be learned from: split it.",
        zh="某一行超过 {limit_mb} MB。",
        zh_cure="是否缺少换行或引号？如此大的一行无法用于训练，请拆分。",
    ),
    "data.changed-while-reading": Letter(
        en="the file was changed while it was read.",
        en_cure="Let the program that writes it finish, then give the same command again.",
        zh="读取过程中文件被修改。",
        zh_cure="请等待写入程序完成，然后重新执行同一命令。",
    ),
    "data.no-rows": Letter(
        en="the file holds no rows.",
        en_cure=_FILE,
        zh="文件中没有数据行。",
        zh_cure=_FILE_ZH,
    ),
    "data.unknown-format": Letter(
        en="the format cannot be recognised. The row has: {keys}{hint}.",
        en_cure="Known without a registry: {forms}. For other names, give `columns` in dataset_info.json.",
        zh="无法识别数据格式。该行的键为：{keys}{hint}。",
        zh_cure="无需注册即可识别：{forms}。若使用其他名称，请在 dataset_info.json 中填写 `columns`。",
    ),
    "data.no-rows-left": Letter(
        en="no row is left of {read}: {bad} cannot be used, {long} are longer than cutoff_len ({limit} tokens; the "
        "longest has {longest}).",
        en_cure="Raise cutoff_len, choose another `on_too_long`, or correct the rows: without `on_bad_row: skip` the "
        "first bad one is named.",
        zh="{read} 条中没有剩下任何一行：{bad} 条无法使用，{long} 条超过 cutoff_len（{limit} 个 token，"
        "最长 {longest}）。",
        zh_cure="请增大 cutoff_len、更换 `on_too_long`，或修正数据：去掉 `on_bad_row: skip` 可看到第一条错误行。",
    ),
    "data.too-many-long": Letter(
        en="{count} of {read} records ({share}) are longer than cutoff_len: {limit} tokens. The longest has {longest}.",
        en_cure="Above 5 % nothing is left out unless you say so: raise cutoff_len, or set `on_too_long` to drop, "
        "truncate or split.",
        zh="{read} 条中有 {count} 条（{share}）超过 cutoff_len（{limit} 个 token），最长为 {longest}。",
        zh_cure="超过 5 % 时不会擅自丢弃：请增大 cutoff_len，或将 `on_too_long` 设为 drop、truncate 或 split。",
    ),
    "data.too-long": Letter(
        en="{count} of {read} records ({share}) are longer than cutoff_len: {limit} tokens. The longest has {longest}.",
        en_cure="Raise cutoff_len, or set `on_too_long` to drop, truncate or split.",
        zh="{read} 条中有 {count} 条（{share}）超过 cutoff_len（{limit} 个 token），最长为 {longest}。",
        zh_cure="请增大 cutoff_len，或将 `on_too_long` 设为 drop、truncate 或 split。",
    ),
    "data.more-bad-rows": Letter(
        en="and at least {count} more rows like these.",
        en_cure="Correct them, or set `on_bad_row: skip` to leave such rows out and see them listed.",
        zh="此外至少还有 {count} 行有类似问题。",
        zh_cure="请修正，或设置 `on_bad_row: skip` 跳过并列出此类行。",
    ),
}

_ROWS: dict[str, Letter] = {
    "data.broken-line": Letter(
        en="the JSON breaks at column {column}: {reason}.",
        en_cure="A .jsonl file has one whole object a line. " + _SKIP,
        zh="JSON 在第 {column} 列出错：{reason}。",
        zh_cure=".jsonl 文件每行应为一个完整的对象。" + _SKIP_ZH,
    ),
    "data.too-deep": Letter(
        en="the row is nested too deeply.",
        en_cure="A row is an object of texts or of messages. " + _SKIP,
        zh="该行嵌套过深。",
        zh_cure="一行应为由文本或消息组成的对象。" + _SKIP_ZH,
    ),
    "data.not-an-object": Letter(
        en="expected an object, found {found}.",
        en_cure=_SKIP,
        zh="应为对象，实际为 {found}。",
        zh_cure=_SKIP_ZH,
    ),
    "data.duplicate-key": Letter(
        en="the key `{key}` is given twice.",
        en_cure="Only one of the two could be read. " + _SKIP,
        zh="键 `{key}` 重复出现。",
        zh_cure="两者只能读取其一。" + _SKIP_ZH,
    ),
    "data.not-a-number": Letter(
        en="found `{found}`, which is not a number in JSON.",
        en_cure=_SKIP,
        zh="`{found}` 不是 JSON 允许的数字。",
        zh_cure=_SKIP_ZH,
    ),
    "data.half-surrogate": Letter(
        en="found `{found}`, one half of a character.",
        en_cure="The text was cut inside a character, often an emoji. " + _SKIP,
        zh="`{found}` 只是半个字符。",
        zh_cure="文本在字符中间被截断，常见于表情符号。" + _SKIP_ZH,
    ),
    "data.nul-escape": Letter(
        en="found the character U+0000 in a text.",
        en_cure=_SKIP,
        zh="文本中含有字符 U+0000。",
        zh_cure=_SKIP_ZH,
    ),
    "data.missing-key": Letter(
        en="expected the key `{wanted}`{hint}, found: {keys}.",
        en_cure="Name the columns in dataset_info.json if they are called otherwise. " + _SKIP,
        zh="应有键 `{wanted}`{hint}，实际的键为：{keys}。",
        zh_cure="若列名不同，请在 dataset_info.json 中填写。" + _SKIP_ZH,
    ),
    "data.wrong-type": Letter(
        en="expected `{key}` to be {expected}, found {found}.",
        en_cure=_SKIP,
        zh="`{key}` 应为 {expected}，实际为 {found}。",
        zh_cure=_SKIP_ZH,
    ),
    "data.history-shape": Letter(
        en="expected entry {number} of `{key}` to be a pair of texts: question and answer.",
        en_cure=_SKIP,
        zh="`{key}` 的第 {number} 项应为一对文本：问题与回答。",
        zh_cure=_SKIP_ZH,
    ),
    "data.no-messages": Letter(
        en="`{key}` is empty.",
        en_cure="Nothing would be learned from this row. " + _SKIP,
        zh="`{key}` 为空。",
        zh_cure="该行没有可学习的内容。" + _SKIP_ZH,
    ),
    "data.no-turns": Letter(
        en="expected a question and an answer, found only a system message.",
        en_cure="Nothing would be learned from this row. " + _SKIP,
        zh="应有问题与回答，实际只有系统消息。",
        zh_cure="该行没有可学习的内容。" + _SKIP_ZH,
    ),
    "data.too-many-messages": Letter(
        en="the row has {count} messages.",
        en_cure="A dialogue of that length cannot be learned from: split it. " + _SKIP,
        zh="该行有 {count} 条消息。",
        zh_cure="如此长的对话无法用于训练，请拆分。" + _SKIP_ZH,
    ),
    "data.empty-answer": Letter(
        en="an answer of the {role} is empty.",
        en_cure="It would teach the model to say nothing. " + _SKIP,
        zh="{role} 的回答为空。",
        zh_cure="这会让模型学会不作回答。" + _SKIP_ZH,
    ),
    "data.empty-turn": Letter(
        en="a message of the {role} is empty.",
        en_cure="The answer after it answers nothing. " + _SKIP,
        zh="{role} 的消息为空。",
        zh_cure="其后的回答没有对应的问题。" + _SKIP_ZH,
    ),
    "data.unknown-role": Letter(
        en="found the role `{found}`{hint}. Known roles: {known}.",
        en_cure="Other names are given by `tags` in dataset_info.json. " + _SKIP,
        zh="未知角色 `{found}`{hint}。可用角色：{known}。",
        zh_cure="其他名称可在 dataset_info.json 的 `tags` 中指定。" + _SKIP_ZH,
    ),
    "data.system-not-first": Letter(
        en="expected the system message first, found it as message {number}.",
        en_cure=_SKIP,
        zh="系统消息应位于首位，实际为第 {number} 条。",
        zh_cure=_SKIP_ZH,
    ),
    "data.two-systems": Letter(
        en="the column `{key}` and the first message give two different system texts.",
        en_cure="Keep one. " + _SKIP,
        zh="列 `{key}` 与第一条消息给出了不同的系统提示。",
        zh_cure="请只保留其一。" + _SKIP_ZH,
    ),
    "data.starts-with-assistant": Letter(
        en="expected the dialogue to start with the user, found the assistant.",
        en_cure=_SKIP,
        zh="对话应由 user 开始，实际为 assistant。",
        zh_cure=_SKIP_ZH,
    ),
    "data.two-in-a-row": Letter(
        en="expected user and assistant in turn, found two messages of the {role} in a row.",
        en_cure="Join them into one. " + _SKIP,
        zh="user 与 assistant 应交替出现，实际有两条连续的 {role} 消息。",
        zh_cure="请合并为一条。" + _SKIP_ZH,
    ),
    "data.ends-with-user": Letter(
        en="expected the dialogue to end with the assistant, found `{found}`.",
        en_cure="Nothing would be learned from its last turn. " + _SKIP,
        zh="对话应以 assistant 结束，实际为 `{found}`。",
        zh_cure="最后一轮没有可学习的内容。" + _SKIP_ZH,
    ),
    "data.bad-weight": Letter(
        en="message {number} ({role}) has the weight {found}.",
        en_cure="`weight` is a number from 0 to 1 on the assistant's messages, and 0 on others. " + _SKIP,
        zh="第 {number} 条消息（{role}）的权重为 {found}。",
        zh_cure="assistant 消息的 `weight` 应为 0 到 1 之间的数，其他消息只能为 0。" + _SKIP_ZH,
    ),
    "data.nothing-to-learn": Letter(
        en="no token of this row is trained: all its answers have the weight 0.",
        en_cure=_SKIP,
        zh="该行没有参与训练的 token：所有回答的权重均为 0。",
        zh_cure=_SKIP_ZH,
    ),
    "data.media-not-built": Letter(
        en="found `{key}`: rows with images, sound or film are not built yet.",
        en_cure=_OTHER_ROWS,
        zh="发现 `{key}`：含图像、音频或视频的数据尚未实现。",
        zh_cure=_OTHER_ROWS_ZH,
    ),
}

_FINDINGS: dict[str, Letter] = {
    "data.too-long-row": Letter(
        en="{length} tokens, cutoff_len is {limit}.",
        en_cure="Raise cutoff_len, or choose `on_too_long`.",
        zh="共 {length} 个 token，cutoff_len 为 {limit}。",
        zh_cure="请增大 cutoff_len，或设置 `on_too_long`。",
    ),
    "data.several-from-one": Letter(
        en="{count} dialogues become several rows, the first {rows}: the template shows earlier answers otherwise than "
        "it asks for them, so each is learned as it is asked for.",
        en_cure="Nothing to do here, but long dialogues take longer. `mask_history: true` trains the last answer only.",
        zh="有 {count} 段对话各变成多行，第一段为 {rows} 行：模板会在历史中改写先前的回答，"
        "因此每个回答都按提问时的形式单独学习。",
        zh_cure="无需处理；长对话会更耗时。设置 `mask_history: true` 则只学习最后一个回答。",
    ),
    "data.placeholder": Letter(
        en="found `{text}`, which looks like a name still to be filled in ({count} records have such).",
        en_cure="The model will say it word for word. Replace it if that is not meant.",
        zh="发现 `{text}`，似为尚未填写的占位符（共 {count} 条记录）。",
        zh_cure="模型会原样说出它；若非本意，请先替换。",
    ),
    "data.keys-not-read": Letter(
        en="keys that are not read: {keys}.",
        en_cure="If one of them should be learned, name it under `columns` in dataset_info.json.",
        zh="未读取的键：{keys}。",
        zh_cure="若其中有需要学习的内容，请在 dataset_info.json 的 `columns` 中指定。",
    ),
}

_AUDIT: dict[str, Letter] = {
    # Found by `audit`.
    "data.little-trained": Letter(
        en="only {share} of the tokens are trained; all others are only read.",
        en_cure="Check that question and answer are not swapped; `llamafactory-cli check` shows three rows.",
        zh="只有 {share} 的 token 参与训练，其余仅供读取。",
        zh_cure="请确认问题与回答没有颠倒；`llamafactory-cli check` 会展示三行样例。",
    ),
    "data.mostly-trained": Letter(
        en="{share} of the tokens are trained: the questions are almost empty.",
        en_cure="Check that the columns of the questions are named rightly.",
        zh="{share} 的 token 参与训练：问题几乎为空。",
        zh_cure="请确认问题所在的列名正确。",
    ),
    "data.rows-skipped": Letter(
        en="{count} of {read} records cannot be used and are skipped; this is the first.",
        en_cure="`on_bad_row: error` names the reasons.",
        zh="{read} 条记录中有 {count} 条无法使用，已跳过；此处为第一条。",
        zh_cure="设置 `on_bad_row: error` 可查看原因。",
    ),
    "data.rows-too-long": Letter(
        en="{count} of {read} records are longer than `cutoff_len` (the longest {longest} tokens): {lost} are left "
        "out, {shortened} shortened. This is the first.",
        en_cure="Raise `cutoff_len`, or choose with `on_too_long`.",
        zh="{read} 条记录中有 {count} 条超过 `cutoff_len`（最长 {longest} 个 token）：丢弃 {lost} 条，"
        "截短 {shortened} 条。此处为第一条。",
        zh_cure="请增大 `cutoff_len`，或用 `on_too_long` 选择处理方式。",
    ),
    "data.duplicates": Letter(
        en="{count} of {rows} rows say exactly what an earlier one says; this one is the same as {first}.",
        en_cure="Each is learned as many times as it stands there. Remove the copies unless that is meant.",
        zh="{rows} 行中有 {count} 行与前面的某一行完全相同；此行与 {first} 相同。",
        zh_cure="重复的行会被多次学习。若非本意，请删除重复项。",
    ),
    "data.leak": Letter(
        en="{count} of {rows} validation rows are trained on too; this one is the same as {first}.",
        en_cure="The validation loss would look better than it is. Remove these rows from one of the two.",
        zh="{rows} 行验证数据中有 {count} 行也在训练数据里；此行与 {first} 相同。",
        zh_cure="验证损失会显得偏好。请从其中一侧删除这些行。",
    ),
}

LETTERS: dict[str, Letter] = {**_RUN, **_REGISTRY, **_FILES, **_ROWS, **_FINDINGS, **_AUDIT}
