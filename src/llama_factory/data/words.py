"""The lines that are said while data is prepared, in both languages, and hints that need no language.

In: what happened, as numbers and names. Out: text. It deliberately holds no errors: those are letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from llama_factory.errors import Language, nearest

SHORT = 60
KEYS_SHOWN = 12
CONSIDERED = 200
"""How many known words are compared with a wrong one."""


class Line(NamedTuple):
    """Both languages use the same placeholders."""

    en: str
    zh: str


LINES: Mapping[str, Line] = {
    "read": Line(
        "{place}: {format}; {read:,} records read, {kept:,} rows kept",
        "{place}：{format}；读取 {read:,} 条，保留 {kept:,} 行",
    ),
    "lengths": Line(
        "  {tokens:,} tokens, {share:.0%} of them trained; length of a row p50 {p50}, p95 {p95}, longest {longest}",
        "  共 {tokens:,} 个 token，其中 {share:.0%} 参与训练；行长 p50 {p50}，p95 {p95}，最长 {longest}",
    ),
    "hit": Line(
        "  token store: hit, nothing had to be tokenised",
        "  token 缓存：命中，无需重新分词",
    ),
    "new": Line(
        "  token store: new, written for the next run",
        "  token 缓存：新建，供下次运行使用",
    ),
    "damaged": Line(
        "  token store: damaged ({changed}), written anew",
        "  token 缓存：已损坏（{changed}），已重新生成",
    ),
    "miss": Line(
        "  token store: miss, because of: {changed}",
        "  token 缓存：未命中，原因：{changed}",
    ),
    "bad": Line(
        "  {count:,} of {read:,} records cannot be used and are skipped:",
        "  {read:,} 条中有 {count:,} 条无法使用，已跳过：",
    ),
    "long": Line(
        "  {count:,} of {read:,} records are above cutoff_len (longest {longest}): {lost:,} left out, "
        "{shortened:,} shortened:",
        "  {read:,} 条中有 {count:,} 条超过 cutoff_len（最长 {longest}）：丢弃 {lost:,} 条，缩短 {shortened:,} 条：",
    ),
    "more": Line("    ... and {count:,} more", "    …… 另有 {count:,} 条"),
    "totals": Line(
        "rows: {train:,} for training, {validation:,} for validation",
        "行数：训练 {train:,}，验证 {validation:,}",
    ),
    "put": Line(
        "tokenised rows are now in {path}: the next run takes them from there",
        "分词结果已写入 {path}，下次运行将直接使用",
    ),
    "taken": Line("tokenised rows are taken from {path}", "使用 {path} 中的分词结果"),
    "stream": Line(
        "rows are read as they are needed, {buffer:,} records at a time; of the first: {rows:,} for training, "
        "{validation:,} for validation",
        "按需读取数据，每次 {buffer:,} 条；其中第一批：训练 {rows:,} 行，验证 {validation:,} 行",
    ),
    "lost": Line(
        "{name}: of the next {read:,} records {bad:,} cannot be used, {lost:,} are too long, {cut:,} shortened",
        "{name}：接下来的 {read:,} 条中，{bad:,} 条无法使用，{lost:,} 条过长，{cut:,} 条被缩短",
    ),
    "share": Line(
        "an epoch takes {rows:,} rows of {name}: {different:,} of its {of:,}",
        "每轮从 {name} 取 {rows:,} 行：其 {of:,} 行中的 {different:,} 行",
    ),
    "packs": Line(
        "packs: {packs:,}, {each:.1f} rows in each; a step counts packs",
        "包：{packs:,} 个，平均每包 {each:.1f} 行；每步按包计数",
    ),
    "progress": Line("{file}: {read:,} records so far", "{file}：已处理 {read:,} 条"),
}


def line(what: str, language: Language, **values: object) -> str:
    """One line, filled in."""
    words = LINES[what]
    return (words.en if language == "en" else words.zh).format(**values)


def hint(word: str, known: Iterable[str]) -> str:
    """`` (`nearest`?)`` behind a wrong word, or nothing: the same in every language."""
    return nearest(word[:SHORT], (short(name) for name in islice(known, CONSIDERED)))


def short(text: str, limit: int = SHORT) -> str:
    """Text out of a file, fit to be shown: one line, no control characters, not longer than `limit`."""
    cut = text[:limit]
    shown = cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
    return shown if len(text) <= limit else shown + "..."


def listed(keys: Iterable[str]) -> str:
    """The first keys of a row, fit to be shown."""
    shown = [short(key) for key in islice(keys, KEYS_SHOWN + 1)]
    return ", ".join([*shown[:KEYS_SHOWN], "..."] if len(shown) > KEYS_SHOWN else shown) or "-"
