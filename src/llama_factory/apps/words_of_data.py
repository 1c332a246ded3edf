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
    "show.short.shortened": Said("(shortened)", "（已截短）"),
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
}
