"""`make demo`: a small real model learns who it is, before your eyes.

In: nothing but a fresh clone with the pinned set installed. Out, on screen: three questions' answers before and
after `llamafactory-cli train examples/quickstart.yaml`, side by side, and where the results lie. The name and the
maker that it must have learned are read from `data/identity.json`, so that the demo follows your changes to it.

Exit code 6 when the model has not changed its mind about who it is: a demo that only looks fine proves nothing.
It trains by the command that a person would type, and answers as `chat` does, but always with the likeliest words.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import fetch_model
from fetching import FetchError
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llama_factory import config
from llama_factory.apps import talker
from llama_factory.apps.screen import Screen, open_screen
from llama_factory.errors import LlamaFactoryError

ROOT = fetch_model.ROOT
YAML = "examples/quickstart.yaml"
SAVED = Path("saves/quickstart")
ABOUT_ITSELF = ("Who are you?", "Who made you?")
QUESTIONS = (*ABOUT_ITSELF, "What is the capital of France?")
TAUGHT = {"What is your name?": r"My name is (.+)\.", "Who made you?": r"I was made by (.+)\."}

WORDS = {
    "en": {
        "before": "1/3  Three questions to {model}, as it comes",
        "train": "2/3  llamafactory-cli train {yaml}",
        "after": "3/3  The same questions to the trained model",
        "question": "question", "was": "before", "is": "after",
        "changed": "It has changed its mind about who it is: {name}, made by {maker}.",
        "same": "expected the trained model to say {name} or {maker} when asked about itself, found:\n{found}\n"
        "Look at the loss in {plot}: if it fell, see whether data/identity.json still says what you expect.",
        "where": "Where things lie", "adapter": "adapter", "page": "report", "plot": "loss curve",
        "log": "log", "config": "settings",
        "next": "Go on", "activate": "first", "chat": "talk to it", "export": "merge it",
        "time": "The whole demo took {minutes} min {seconds:02d} s.",
    },
    "zh": {
        "before": "1/3  先问原来的 {model} 三个问题",
        "train": "2/3  llamafactory-cli train {yaml}",
        "after": "3/3  再问训练后的模型同样的问题",
        "question": "问题", "was": "训练前", "is": "训练后",
        "changed": "它对自己的认识变了：{name}，由 {maker} 开发。",
        "same": "训练后的模型被问到自己时，应当说出 {name} 或 {maker}，实际回答：\n{found}\n"
        "请查看 {plot} 里的损失曲线：如果损失下降了，请检查 data/identity.json 的内容是否符合预期。",
        "where": "结果在哪里", "adapter": "适配器", "page": "报告", "plot": "损失曲线",
        "log": "日志", "config": "完整配置",
        "next": "接下来", "activate": "先运行", "chat": "和它对话", "export": "合并",
        "time": "整个演示用时 {minutes} 分 {seconds:02d} 秒。",
    },
}  # fmt: skip


def main() -> int:
    started = time.monotonic()
    os.chdir(ROOT)
    # Threads that spin only briefly before they sleep: a little slower on an idle machine, much faster on a busy one
    # (docs/lab-log.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    screen = open_screen(os.environ)
    console = Console(highlight=False)
    try:
        return demo(console, screen, started)
    except (LlamaFactoryError, FetchError) as error:
        text = error.letter(screen.language) if isinstance(error, LlamaFactoryError) else str(error)
        print(text, file=sys.stderr)
        return getattr(error, "exit_code", 4)


def demo(console: Console, screen: Screen, started: float) -> int:
    say = WORDS[screen.language]
    name, maker = taught()
    fetch_model.fetch(ROOT / "models" / fetch_model.NAME)

    heading(console, say["before"].format(model=fetch_model.NAME))
    before = answers([], screen)
    heading(console, say["train"].format(yaml=YAML))
    trained = subprocess.run([sys.executable, "-m", "llama_factory", "train", YAML], check=False)
    if trained.returncode != 0:
        return trained.returncode
    heading(console, say["after"])
    after = answers([f"adapter_name_or_path={SAVED}"], screen)

    show(console, before, after, say)
    if not has_changed(before, after, name, maker):
        found = "\n".join(f"  {question}  {after[question]}" for question in ABOUT_ITSELF)
        plot = SAVED / "training_loss.png"
        print(say["same"].format(name=name, maker=maker, found=found, plot=plot), file=sys.stderr)
        return 6
    console.print(f"[bold green]{escape(say['changed'].format(name=name, maker=maker))}[/]\n")
    where(console, say)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    console.print(say["time"].format(minutes=minutes, seconds=seconds))
    return 0


def taught() -> tuple[str, str]:
    """The name and the maker that `data/identity.json` teaches."""
    rows = {row["instruction"]: row["output"] for row in json.loads(Path("data/identity.json").read_text("utf-8"))}
    found = [re.fullmatch(pattern, rows.get(question, "")) for question, pattern in TAUGHT.items()]
    if not all(found):
        raise FetchError(
            f"data/identity.json: expected rows that answer {' and '.join(TAUGHT)} as the shipped ones do.\n"
            "The demo reads from them what the model should learn. Restore them with `git checkout data/identity.json`."
        )
    name, maker = (match[1] for match in found if match)
    return name, maker


def answers(words: list[str], screen: Screen) -> dict[str, str]:
    """Each question in a conversation of its own, as `llamafactory-cli chat` would answer it."""
    run = config.load(Path(YAML), ["do_sample=false", "max_new_tokens=48", *words])
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        session = talker.open_session(run, dataclasses.replace(screen, err=nowhere))
        found = {}
        for question in QUESTIONS:
            session.clear()
            answer = session.ask(question)
            text = "".join(answer.pieces).strip()
            found[question] = f"{text} ..." if answer.finish.reason == "length" else text
    return found


def has_changed(before: dict[str, str], after: dict[str, str], name: str, maker: str) -> bool:
    """Asked about itself, it names what it was taught, each time, and did not do so before."""
    new = [name in after[question] or maker in after[question] for question in ABOUT_ITSELF]
    old = [name in before[question] or maker in before[question] for question in ABOUT_ITSELF]
    return all(new) and not any(old) and name in after[ABOUT_ITSELF[0]]


def heading(console: Console, text: str) -> None:
    console.print(f"\n[bold]{escape(text)}[/]")


def show(console: Console, before: dict[str, str], after: dict[str, str], say: dict[str, str]) -> None:
    table = Table(box=box.ROUNDED, show_lines=True, width=min(console.width, 110))
    table.add_column(say["question"], ratio=2, style="bold")
    table.add_column(say["was"], ratio=4)
    table.add_column(say["is"], ratio=4, style="green")
    for question in QUESTIONS:
        table.add_row(escape(question), escape(before[question]), escape(after[question]))
    console.print(table)


def where(console: Console, say: dict[str, str]) -> None:
    lying = {
        say["adapter"]: SAVED / "adapter_model.safetensors",
        say["page"]: SAVED / "report.html",
        say["plot"]: SAVED / "training_loss.png",
        say["log"]: SAVED / "trainer_log.jsonl",
        say["config"]: SAVED / "resolved_config.yaml",
    }
    missing = [str(path) for path in lying.values() if not path.is_file()]
    if missing:
        raise FetchError(f"expected the training to write {', '.join(missing)}, found no such file.")
    doing = {
        say["activate"]: "source .venv/bin/activate",
        say["chat"]: f"llamafactory-cli chat {YAML} adapter_name_or_path={SAVED}",
        say["export"]: f"llamafactory-cli export {YAML} adapter_name_or_path={SAVED} export_dir=models/lumo",
    }
    for title, lines in ((say["where"], lying), (say["next"], doing)):
        console.print(f"[bold]{escape(title)}[/]")
        wide = max(cell_len(label) for label in lines)
        for label, text in lines.items():
            console.print(f"  {label}{' ' * (wide - cell_len(label))}  {escape(str(text))}", soft_wrap=True)
        console.print()


if __name__ == "__main__":
    sys.exit(main())
