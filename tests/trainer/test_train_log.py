"""`train.log`: the tutorial's line, a link that leads to it, and a resumed run that goes on in it."""

from __future__ import annotations

import os
from pathlib import Path

from trainer_told import evaluation, progress, start, tell

from llama_factory.machine import Usage
from llama_factory.records import Finding
from llama_factory.trainer.observers import TrainLog
from llama_factory.trainer.observers.trainlog import LOSS_LINE, point


def lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").splitlines()


def test_each_log_point_is_a_line_as_the_tutorial_prints_it(tmp_path: Path) -> None:
    log = TrainLog(tmp_path / "train.log")
    log.started(start())
    for step, loss in ((4, 2.154), (7, 1.871), (10, 1.6), (14, 1.5), (20, 1.2), (24, 0.01234), (30, 0.5)):
        log.stepped(progress(step))
        log.logged(progress(step, loss=loss))
    log.evaluated(evaluation(30))
    log.saved(30, Path("out/checkpoint-30"))
    log.noticed(Finding("trainer.no-checkpoint-yet", "note", "out"))
    log.ended()
    assert lines(tmp_path / "train.log") == [
        "30 steps, 10 an epoch; 1,234,567 trained weights",
        "[epoch 1/3] loss: 2.15 2.15 (step 4)",
        "[epoch 1/3] loss: 2.15 1.87 (step 7)",
        "[epoch 1/3] loss: 2.15 1.60 (step 10)",
        "[epoch 2/3] loss: 1.60 1.50 (step 14)",
        "[epoch 2/3] loss: 1.50 1.20 (step 20)",
        "[epoch 3/3] loss: 1.20 0.012 (step 24)",
        "[epoch 3/3] loss: 0.012 0.50 (step 30)",
        "[epoch 3/3] eval_loss: 1.5000 (step 30)",
        "saved out/checkpoint-30 (step 30)",
        "out: no checkpoint is there to go on from. The run starts at step 0.",
        "finished: 30 of 30 steps",
    ]


def test_the_loss_line_is_the_same_in_chinese_and_the_rest_is_not(tmp_path: Path) -> None:
    tell(TrainLog(tmp_path / "train.log", "zh"))
    said = lines(tmp_path / "train.log")
    assert len([line for line in said if LOSS_LINE.fullmatch(line)]) == 3
    assert said[0] == "共 30 步，每轮 10 步；训练权重 1,234,567 个"
    assert said[-1] == "训练完成：共 30 步"


def test_a_resumed_run_goes_on_in_the_same_file_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    whole, again = tmp_path / "whole.log", tmp_path / "again.log"
    tell(TrainLog(whole))
    again.write_text(whole.read_text() + "torn")
    tell(TrainLog(again), first_step=20)
    without = [line for line in lines(again) if "steps, 10 an epoch" not in line]
    assert without == [line for line in lines(whole) if "steps, 10 an epoch" not in line]
    assert len(lines(again)) == len(lines(whole)) + 1, "where it went on is said"


def test_a_run_that_begins_anew_begins_a_new_file(tmp_path: Path) -> None:
    for _ in range(2):
        tell(TrainLog(tmp_path / "train.log"))
    assert sum("loss:" in line for line in lines(tmp_path / "train.log")) == 4


def test_a_run_that_is_stopped_says_where(tmp_path: Path) -> None:
    log = TrainLog(tmp_path / "train.log")
    log.started(start())
    log.stepped(progress(7))
    log.ended()
    assert lines(tmp_path / "train.log")[-1] == "ended at step 7 of 30"


def test_the_link_leads_to_the_newest_run_and_is_relative(tmp_path: Path) -> None:
    link = tmp_path / "logs" / "train.log"
    for name in ("one", "two"):
        tell(TrainLog(tmp_path / "saves" / name / "train.log", link=link))
        assert os.readlink(link) == os.path.join("..", "saves", name, "train.log")
        assert link.read_text() == (tmp_path / "saves" / name / "train.log").read_text()
    assert [path.name for path in link.parent.iterdir()] == ["train.log"]


def test_a_link_that_leads_nowhere_is_replaced(tmp_path: Path) -> None:
    link, log = tmp_path / "logs" / "train.log", tmp_path / "out" / "train.log"
    link.parent.mkdir()
    link.symlink_to("gone")
    log.parent.mkdir()
    log.write_text("x")
    assert point(link, log) is None
    assert link.read_text() == "x"


def test_what_is_no_link_is_left_alone_and_named(tmp_path: Path) -> None:
    link = tmp_path / "logs" / "train.log"
    link.parent.mkdir()
    link.write_text("mine")
    heard: list[Finding] = []
    tell(TrainLog(tmp_path / "out" / "train.log", link=link, notice=heard.append))
    assert link.read_text() == "mine"
    assert [(one.id, one.where) for one in heard] == [("trainer.log-name-taken", str(link))]


def test_where_no_link_can_be_made_the_log_is_written_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    heard: list[Finding] = []
    tell(TrainLog(tmp_path / "out" / "train.log", link=tmp_path / "logs" / "train.log", notice=heard.append))
    assert lines(tmp_path / "out" / "train.log")[-1] == "finished: 30 of 30 steps"
    assert heard == []


def test_the_use_of_the_machine_stands_in_the_console_and_in_the_log(tmp_path: Path) -> None:
    import io
    import json
    import re
    from dataclasses import replace

    from rich.console import Console as Terminal

    from llama_factory.trainer.observers import Console, JsonLines

    told = replace(progress(10), usage=Usage(93.4, None, 1_500_000_000, 12.25, 1.0))
    said: list[str] = []
    Console(said.append).logged(told)
    assert said[0].endswith("2,341 tokens/s  cpu 93%  1.5 GB  0:01:23 left")
    log = JsonLines(tmp_path / "log.jsonl")
    log.started(start())
    log.logged(told)
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert (line["cpu_percent"], line["memory_gb"], line["memory_percent"]) == (93.4, 1.5, 12.2)
    for width, shown in ((100, False), (180, True)):
        screen = io.StringIO()
        terminal = Terminal(
            file=screen, force_terminal=True, width=width, legacy_windows=False, _environ={"TERM": "xterm"}
        )
        console = Console(said.append, terminal=terminal)
        console.started(start())
        console.logged(told)
        console.stepped(progress(11))
        console.ended()
        assert ("cpu 93%" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())) is shown, "where there is room"
