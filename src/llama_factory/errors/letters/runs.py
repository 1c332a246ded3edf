"""The letters of `runs`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "runs.report-failed": Letter(
        en="the page about this run could not be made: {reason}",
        en_cure="Nothing else depends on it; the figures are in `trainer_log.jsonl`.",
        zh="无法生成本次训练的报告页面：{reason}",
        zh_cure="不影响其他结果；数据见 `trainer_log.jsonl`。",
    ),
}
