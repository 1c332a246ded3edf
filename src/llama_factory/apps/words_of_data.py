"""What `show`, `convert` and `clean` say when all is well, in both languages. `words` joins them to its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Said(NamedTuple):
    en: str
    zh: str


WORDS: Mapping[str, Said] = {
    "about.show": Said(
        "Shows rows of the data exactly as `train` would see them: the text, what is trained of it and with which "
        "weight, every token (--tokens), the letter of a row that is refused. The first row, or row=812, "
        "row=train.jsonl:812,train.jsonl:900, --random [N] (drawn by seed), --longest [N], --first [N]. --html PATH "
        "writes one page instead that opens without a network, --json prints one object. No weights are loaded. Exit "
        "code 3 when every row that was asked for is refused.",
        "按 `train` 实际看到的样子展示数据行：文本、参与训练的部分及其权重、逐个词元（--tokens）、被拒绝的行的原因。"
        "默认第一行；也可用 row=812、row=train.jsonl:812,train.jsonl:900、--random [N]（由 seed 抽取）、--longest [N]、"
        "--first [N]。--html PATH 改为写出一个无需联网的网页，--json 输出一个 JSON 对象。不加载权重。"
        "所选各行全部被拒绝时退出码为 3。",
    ),
    "rows.trained": Said("trained", "参与训练"),
    "rows.weight": Said("weight {weight}", "权重 {weight}"),
    "show.title": Said("Rows as the model reads them ({rows})", "模型看到的数据行（{rows}）"),
    "show.by": Said("Template: {template}. Tokenizer: {tokenizer}.", "模板：{template}。分词器：{tokenizer}。"),
    "show.trained": Said("{length} tokens, {trained} of them trained", "{length} 个词元，其中 {trained} 个参与训练"),
    "show.shortened": Said(
        "{length} tokens, more than cutoff_len {cutoff}: {parts} rows are trained, {trained} tokens of them",
        "{length} 个词元，超过 cutoff_len {cutoff}：训练其中 {parts} 行，共 {trained} 个词元参与训练",
    ),
    "show.too-long": Said(
        "{length} tokens, more than cutoff_len {cutoff}: left out",
        "{length} 个词元，超过 cutoff_len {cutoff}：不参与训练",
    ),
    "show.bad": Said("refused", "被拒绝"),
    "show.short.trained": Said("", ""),
    "show.short.shortened": Said("(made to fit)", "（已截短或拆分）"),
    "show.short.too-long": Said("(left out)", "（不参与训练）"),
    "show.short.bad": Said("(refused)", "（被拒绝）"),
    "show.part": Said("part {number} of {count}", "第 {number} 部分，共 {count} 部分"),
    "show.turn": Said(
        "{tokens} tokens, {trained} trained (weight {weights})",
        "{tokens} 个词元，{trained} 个参与训练（权重 {weights}）",
    ),
    "show.template": Said("template", "模板"),
    "show.control": Said("control", "控制符"),
    "show.cut": Said("cutoff_len {cutoff}", "cutoff_len {cutoff}"),
    "show.hover": Said("Point at a token to read its number.", "把鼠标移到词元上可查看编号。"),
    "show.every": Said("Every token", "全部词元"),
    "show.head.source": Said("from", "来源"),
    "show.head.tokens": Said("tokens", "词元"),
    "show.head.trained": Said("trained", "参与训练"),
    "show.head.weights": Said("weights", "权重"),
    "show.head.weight": Said("weight", "权重"),
    "show.head.number": Said("place", "位置"),
    "show.head.id": Said("id", "id"),
    "show.head.text": Said("text", "文本"),
    "show.wrote": Said("Wrote {rows} rows to {path}", "已把 {rows} 行写入 {path}"),
    "clean.progress": Said("{rows:,} rows read ...", "已读取 {rows:,} 行 ……"),
    "about.clean": Said(
        "Cleans a data file into another one by the rules that are named; nothing is dropped or changed unasked. "
        "Without any rule and without OUT it tells what each rule would find. --drop REGEX leaves rows out, --replace "
        "REGEX TEXT changes them; --whitespace and --unicode [nfc|nfkc] tidy; --duplicates and --near-duplicates [0.8] "
        "keep the first of equal rows; --min- and --max-characters, -words, -tokens (with --model_name_or_path); "
        "--language en,zh; --against FILE leaves out what a validation file has. --fields KEY,KEY looks at these "
        "columns alone. --report PATH.json lists every row that went or was changed, and why. --dry-run writes no "
        "rows. IN is never written to, and OUT only once it is whole.",
        "按指定的规则把数据文件清洗成另一个文件；没有要求的内容不会被删除或改动。不给规则也不给 OUT 时，"
        "只说明各规则会发现什么。--drop REGEX 删除匹配的行，--replace REGEX TEXT 替换文本；"
        "--whitespace 与 --unicode [nfc|nfkc] 整理文本；--duplicates 与 --near-duplicates [0.8] 只保留第一行；"
        "--min- 与 --max-characters、-words、-tokens（需 --model_name_or_path）限制长度；--language en,zh 按语言过滤；"
        "--against FILE 删除验证集中已有的行。--fields KEY,KEY 只看这些列。--report PATH.json 逐行列出原因。"
        "--dry-run 不写出数据。IN 从不被改写，OUT 完整之后才会出现。",
    ),
    "clean.counts": Said(
        "{read:,} rows read, {kept:,} kept ({changed:,} of them changed), {dropped:,} left out",
        "读取 {read:,} 行，保留 {kept:,} 行（其中改动 {changed:,} 行），删除 {dropped:,} 行",
    ),
    "clean.dropped": Said("{count:,} rows left out, the first at {first}", "删除 {count:,} 行，第一处在 {first}"),
    "clean.changed": Said("{count:,} rows changed, the first at {first}", "改动 {count:,} 行，第一处在 {first}"),
    "clean.emptied": Said(
        "{count:,} rows have lost a whole text, the first at {first}: training will refuse an answer without words.",
        "{count:,} 行有文本被清空，第一处在 {first}：训练会拒绝空的回答。",
    ),
    "clean.report": Said("Every row that went or was changed: {path}", "逐行记录：{path}"),
    "clean.wrote": Said("Wrote {path}", "已写入 {path}"),
    "clean.dry": Said("No rows were written.", "没有写出数据。"),
    "clean.survey": Said(
        "{read:,} rows; characters of a row p50 {p50:,}, p95 {p95:,}, longest {longest:,}. What rules would find:",
        "共 {read:,} 行；每行字符数 p50 {p50:,}，p95 {p95:,}，最长 {longest:,}。各规则会发现：",
    ),
    "clean.would": Said("{count:,} rows", "{count:,} 行"),
    "clean.of-some": Said(" (of {looked:,} rows that tell it)", "（看了能辨认的 {looked:,} 行）"),
    "clean.place": Said(", the first at {first}", "，第一处在 {first}"),
    "clean.needs": Said("not looked for: `{install}`", "未检查：`{install}`"),
    "clean.nothing-written": Said(
        "Nothing was written. Name OUT and the rules that you want.", "没有写出任何内容。请指定 OUT 和需要的规则。"
    ),
    "about.convert": Said(
        "Writes a data set in another form: IN is a file of any form that `train` recognises, or a name in "
        "dataset_info.json; OUT ends in .jsonl, .json or, where rows are flat, .csv. --to openai holds everything; "
        "sharegpt, alpaca, prompt_response, text and classification what they can: a row that says more is refused "
        "with its place, or left out with --on-bad-row skip. --system TEXT goes before dialogues that have none. It "
        "prints an entry for dataset_info.json; --register NAME adds it to the one in --dataset_dir (data). IN is "
        "never written to, and OUT only once it is whole.",
        "把数据集写成另一种格式：IN 为 `train` 能识别的任意格式的文件，或 dataset_info.json 中的名称；"
        "OUT 以 .jsonl、.json 结尾，各列不含嵌套时也可用 .csv。--to openai 可容纳全部内容；"
        "sharegpt、alpaca、prompt_response、text、classification 各有限度：容纳不下的行会指明位置并拒绝，"
        "或用 --on-bad-row skip 跳过。--system TEXT 加在没有系统提示的对话之前。命令会输出 dataset_info.json 的条目，"
        "--register NAME 把它加入 --dataset_dir（默认 data）中的文件。IN 从不被改写，OUT 完整之后才会出现。",
    ),
    "convert.read": Said("{source}: {said} -> {to}", "{source}：{said} -> {to}"),
    "convert.counts": Said(
        "{read:,} rows read, {written:,} written to {path}, {bad:,} left out",
        "读取 {read:,} 行，写入 {path} {written:,} 行，跳过 {bad:,} 行",
    ),
    "convert.more": Said("    ... and {count:,} more", "    …… 另有 {count:,} 行"),
    "convert.entry": Said(
        "To train on it, give its path as `dataset`, or add this entry to {file}:",
        "训练时可把它的路径写在 `dataset`，或把以下条目加入 {file}：",
    ),
    "convert.registered": Said(
        "Added to {file}, so that `dataset: {name}` finds it:", "已加入 {file}，可用 `dataset: {name}`："
    ),
}
