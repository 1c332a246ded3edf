"""The letters of `show`, `convert` and `clean`, the commands that work on data without training."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "apps.option-unknown": Letter(
        en="`{found}` is not an option of this command{near}.",
        en_cure="Its options are: {known}.",
        zh="这个命令没有 `{found}` 选项{near}。",
        zh_cure="可用的选项：{known}。",
    ),
    "apps.option-twice": Letter(
        en="`--{option}` was given twice.",
        en_cure="Give it once.",
        zh="`--{option}` 给了两次。",
        zh_cure="请只写一次。",
    ),
    "apps.option-value": Letter(
        en="expected `--{option}` to be followed by {expected}, found `{found}`.",
        en_cure="`llamafactory-cli help {command}` shows how it is called.",
        zh="`--{option}` 之后应为 {expected}，却是 `{found}`。",
        zh_cure="用法见 `llamafactory-cli help {command}`。",
    ),
    "apps.file-there": Letter(
        en="there is a file already; it was left as it is.",
        en_cure="Name another one, or add `--overwrite`.",
        zh="文件已存在，未作改动。",
        zh_cure="请换一个名字，或加上 `--overwrite`。",
    ),
    "apps.show-no-row": Letter(
        en="there is no row `{row}`; the last one that was read is `{last}`.",
        en_cure="Rows are named as letters name them: `812`, `train.jsonl:812` or `my_set:812`.",
        zh="没有 `{row}` 这一行；读到的最后一行是 `{last}`。",
        zh_cure="行的写法与提示中的相同：`812`、`train.jsonl:812` 或 `my_set:812`。",
    ),
    "apps.show-too-many": Letter(
        en="at most {most} rows are shown at once.",
        en_cure="Ask for fewer; `check` looks at all of them.",
        zh="一次最多展示 {most} 行。",
        zh_cure="请减少行数；`check` 会检查全部数据。",
    ),
    "apps.show-one-way": Letter(
        en="`{first}` and `{second}` both say which rows to show.",
        en_cure="Give one of them.",
        zh="`{first}` 与 `{second}` 都在指定要展示的行。",
        zh_cure="请只保留其中一个。",
    ),
    "apps.no-input": Letter(
        en="`{command}` needs a file to read.",
        en_cure="`llamafactory-cli help {command}` shows how it is called.",
        zh="`{command}` 需要一个输入文件。",
        zh_cure="用法见 `llamafactory-cli help {command}`。",
    ),
    "apps.in-place": Letter(
        en="this file is read, and would be written over.",
        en_cure="Name another one: what is read is never changed.",
        zh="这个文件正在被读取，不能覆盖。",
        zh_cure="请换一个名字：输入文件从不被改动。",
    ),
    "apps.out-suffix": Letter(
        en="the name does not say how the rows are to be written.",
        en_cure="Let it end in one of: {known}.",
        zh="从文件名看不出应写成什么格式。",
        zh_cure="请使用以下后缀之一：{known}。",
    ),
    "apps.clean-nothing-asked": Letter(
        en="no rule was named, so this would be a copy.",
        en_cure="Name rules such as `--duplicates`, or leave the second file out to see what they would find.",
        zh="没有指定任何规则，写出的只会是一份副本。",
        zh_cure="请指定规则，例如 `--duplicates`；去掉第二个文件名可查看各规则会发现什么。",
    ),
    "apps.clean-no-target": Letter(
        en="rules were named, but not the file to write.",
        en_cure="Name it after the first one, or add `--dry-run` to see what would go.",
        zh="指定了规则，但没有指定要写出的文件。",
        zh_cure="请在输入文件之后写上输出文件，或加上 `--dry-run` 查看会删除什么。",
    ),
    "apps.clean-expression": Letter(
        en="the expression `{pattern}` cannot be read: {reason}.",
        en_cure="Python's regular expressions are meant; a sign such as `(`, `[` or `?` needs a backslash before it.",
        zh="无法解析表达式 `{pattern}`：{reason}。",
        zh_cure="请使用 Python 正则表达式；`(`、`[`、`?` 等字符前需加反斜杠。",
    ),
    "apps.clean-slow": Letter(
        en="the expression `{pattern}` was not done with one text of this row within {limit:g} s.",
        en_cure="Nested repetitions such as `(a+)+` take forever on some texts. Write it without them.",
        zh="表达式 `{pattern}` 处理这一行的一段文本超过 {limit:g} 秒。",
        zh_cure="`(a+)+` 之类的嵌套重复在某些文本上永远算不完，请改写。",
    ),
    "apps.clean-lengths": Letter(
        en="--min-{name} {least} is more than --max-{name} {most}: no row could stay.",
        en_cure="Exchange the two.",
        zh="--min-{name} {least} 大于 --max-{name} {most}：没有一行能留下。",
        zh_cure="请对调两者。",
    ),
    "apps.clean-no-model": Letter(
        en="tokens cannot be counted without a tokenizer.",
        en_cure="Add `--model_name_or_path`, with the model that is to be trained.",
        zh="没有分词器就无法计算词元数。",
        zh_cure="请加上 `--model_name_or_path`，填写要训练的模型。",
    ),
    "apps.clean-field": Letter(
        en="no row has the key `{field}`{near}.",
        en_cure="The keys are: {keys}.",
        zh="没有一行含有键 `{field}`{near}。",
        zh_cure="现有的键：{keys}。",
    ),
    "apps.clean-folder": Letter(
        en="this is a folder, and `clean` reads one file.",
        en_cure="Name a file in it, or make one of all: `llamafactory-cli convert FOLDER rows.jsonl --to openai`.",
        zh="这是一个文件夹，而 `clean` 读取单个文件。",
        zh_cure="请指定其中的文件，或先合并：`llamafactory-cli convert FOLDER rows.jsonl --to openai`。",
    ),
    "apps.clean-library": Letter(
        en="`{needed_for}` needs the library `{library}`, which is not installed.",
        en_cure='Install it: `pip install {library}`, or all that `clean` can use: `pip install -e ".[clean]"`.',
        zh="`{needed_for}` 需要 `{library}` 库，尚未安装。",
        zh_cure='安装命令：`pip install {library}`；或安装 `clean` 可用的全部库：`pip install -e ".[clean]"`。',
    ),
    "apps.clean-nothing-left": Letter(
        en="all of the {read} rows would go, so nothing was written.",
        en_cure="`--dry-run --report PATH.json` lists which rule takes which row.",
        zh="全部 {read} 行都会被删除，因此没有写出任何内容。",
        zh_cure="`--dry-run --report PATH.json` 可列出每一行被哪条规则删除。",
    ),
    "data.csv-nested": Letter(
        en="`{key}` holds a list or an object, which a cell of CSV cannot.",
        en_cure="Write JSON lines: a name that ends in `.jsonl`.",
        zh="`{key}` 的值是数组或对象，CSV 单元格无法表示。",
        zh_cure="请写成 JSON 行：文件名以 `.jsonl` 结尾。",
    ),
    "data.csv-key": Letter(
        en="`{key}` is not among the columns of the first row: {keys}.",
        en_cure="Write JSON lines, where every row may have its own keys: a name that ends in `.jsonl`.",
        zh="`{key}` 不在第一行的列中：{keys}。",
        zh_cure="请写成 JSON 行（文件名以 `.jsonl` 结尾），各行可有不同的键。",
    ),
    "apps.convert-format": Letter(
        en="expected `--to` with the name of a format, found `{found}`{near}.",
        en_cure="The formats are: {known}.",
        zh="`--to` 之后应为格式名称，却是 `{found}`{near}。",
        zh_cure="可用的格式：{known}。",
    ),
    "apps.convert-nothing": Letter(
        en="none of the {read} rows could be written; the first is {first}.",
        en_cure="Without `--on-bad-row skip` the command says what is wrong with it.",
        zh="{read} 行中没有一行能写出；第一行在 {first}。",
        zh_cure="去掉 `--on-bad-row skip`，命令会说明它的问题。",
    ),
    "apps.convert-mixed": Letter(
        en="this row is a {found}, and the rows before it are of the kind {first}: one data set is of one kind.",
        en_cure="Put them into files of their own, or leave these out with `--on-bad-row skip`.",
        zh="这一行是 {found}，而之前的行是 {first}：一个数据集只能有一种。",
        zh_cure="请分成不同的文件，或用 `--on-bad-row skip` 跳过。",
    ),
    "apps.convert-keys": Letter(
        en="keys of the rows that were not read, and so are not in the result: {keys}.",
        en_cure="If one of them is wanted, name it under `columns` in dataset_info.json and convert that name.",
        zh="未读取、因而不在结果中的键：{keys}。",
        zh_cure="若需要其中的内容，请在 dataset_info.json 的 `columns` 中指定，再转换该名称。",
    ),
    "apps.convert-name-taken": Letter(
        en="there is a data set `{name}` already.",
        en_cure="Choose another name for `--register`, or add `--overwrite`.",
        zh="已有名为 `{name}` 的数据集。",
        zh_cure="请为 `--register` 换一个名字，或加上 `--overwrite`。",
    ),
    "render.tokenizer-differs": Letter(
        en="transformers reads this tokenizer as {kind} and cuts {count} of {probes} texts into other tokens than "
        "tokenizer.json does; of {text}: {theirs}, instead of {ours}.",
        en_cure="Training uses tokenizer.json as it stands. A program that loads the result with AutoTokenizer would "
        'feed it other tokens: there, set "tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json.',
        zh="transformers 以 {kind} 读取该分词器，{probes} 段文本中有 {count} 段的切分与 tokenizer.json 不同；"
        "例如 {text}：{theirs}，而应为 {ours}。",
        zh_cure="训练按 tokenizer.json 原样分词。用 AutoTokenizer 加载结果的程序会送入不同的词元："
        '请在其 tokenizer_config.json 中设 "tokenizer_class": "PreTrainedTokenizerFast"。',
    ),
    "render.tokenizer-not-compared": Letter(
        en="transformers could not load this tokenizer, so the two were not compared: {reason}",
        en_cure="Nothing to do here, where tokenizer.json is read; programs that use AutoTokenizer will not load it.",
        zh="transformers 无法加载该分词器，因此没有比较：{reason}",
        zh_cure="此处直接读取 tokenizer.json，无需处理；使用 AutoTokenizer 的程序将无法加载它。",
    ),
}
