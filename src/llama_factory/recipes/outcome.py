"""What a recipe returns, and how it speaks while it works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_factory.errors import Language, one_line
from llama_factory.records import Finding, Foreseen

Say = Callable[[str], None]

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "done": "Done: {steps} steps in {time}{loss}{eval_loss}.",
        "nothing": "Nothing was left to do; the result is in place.",
        "loss": ", mean loss {value:.4f}",
        "eval_loss": ", validation loss {value:.4f}",
        "result": "The result is in {folder}, beside {files}.",
        "answering": "The result is whole. For the report the model now answers {count} rows "
        "(at most a minute; Ctrl-C leaves it out).",
        "page": "Look at it:  {path}",
        "chat": "Talk to it:  {command}",
        "export": "Merge it:    {command}",
    },
    "zh": {
        "done": "完成：{steps} 步，用时 {time}{loss}{eval_loss}。",
        "nothing": "没有剩余的步骤，结果已经就绪。",
        "loss": "，平均损失 {value:.4f}",
        "eval_loss": "，验证损失 {value:.4f}",
        "result": "结果在 {folder}，同一目录下还有 {files}。",
        "answering": "结果已完整保存。为生成报告，模型正在回答 {count} 行（最多一分钟；按 Ctrl-C 跳过）。",
        "page": "查看报告：{path}",
        "chat": "与它对话：{command}",
        "export": "合并权重：{command}",
    },
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """folder: where the result lies. lines: the last words on screen, which say what to do next.

    foreseen: what was planned, and what it took; None where no plan was possible.
    """

    folder: Path
    steps: int
    train_loss: float | None
    eval_loss: float | None
    lines: tuple[str, ...]
    foreseen: Foreseen | None = None


def tell(say: Say, findings: Iterable[Finding], language: Language) -> None:
    """One line a finding: what was found, then what can be done about it."""
    for finding in findings:
        say(one_line(finding.id, finding.where, finding.values, language))


def closing_lines(
    language: Language,
    *,
    steps: int,
    seconds: float,
    loss: float | None,
    eval_loss: float | None,
    folder: str,
    files: Sequence[str],
    page: str,
    chat: str,
    export: str,
) -> tuple[str, ...]:
    """What was done, where it lies, and the commands that come next. What is empty is left out."""
    words = WORDS[language]
    means = {
        name: "" if value is None else words[name].format(value=value)
        for name, value in (("loss", loss), ("eval_loss", eval_loss))
    }
    minutes, rest = divmod(round(seconds), 60)
    lines = [
        words["done"].format(steps=steps, time=f"{minutes}:{rest:02d} min", **means) if steps else words["nothing"]
    ]
    lines.append(words["result"].format(folder=folder, files=", ".join(files)))
    if page:
        lines.append(words["page"].format(path=page))
    lines += [words[name].format(command=command) for name, command in (("chat", chat), ("export", export)) if command]
    return tuple(lines)
