"""What a run shows: a live line for a terminal, plain lines for a file, a log, events, a picture. None can stop it."""

from __future__ import annotations

import io
import json
import math
import re
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console as Terminal
from trainer_told import evaluation, progress, start, tell
from trainer_toys import Ears, ToyPolicy, objective, toy_checkpoints, toy_plan, toy_source

from llama_factory.errors import DivergedError, Language
from llama_factory.losses import Term
from llama_factory.records import Batch, Finding
from llama_factory.trainer import Progress, fit
from llama_factory.trainer.observers import Console, Diagnosis, JsonLines, LossPlot, Quiet, TensorBoard, diagnosis
from llama_factory.trainer.observers.plot import curves, draw, smoothed


def test_a_file_gets_one_plain_line_each_logging_step() -> None:
    lines: list[str] = []
    tell(Console(lines.append))
    assert lines == [
        "30 steps, 10 an epoch; 1,234,567 trained weights",
        "step 10/30  epoch 1.00  loss 2.5000  learning_rate 4.50e-05  grad_norm 1.250  2,341 tokens/s  0:01:23 left",
        "step 20/30  epoch 2.00  loss 2.0000  learning_rate 4.50e-05  grad_norm 1.250  2,341 tokens/s  0:01:23 left",
        "step 20/30  epoch 2.00  eval_loss 1.5000",
        "step 30/30  epoch 3.00  loss 1.5000  learning_rate 4.50e-05  grad_norm 1.250  2,341 tokens/s  0:01:23 left",
        "saved out/checkpoint-30",
        "out: no checkpoint is there to go on from. The run starts at step 0.",
    ]
    assert not re.search(r"[\x00-\x1f\x7f]", "".join(lines))


def test_the_same_lines_in_chinese() -> None:
    lines: list[str] = []
    tell(Console(lines.append, "zh"))
    assert lines[1].startswith("步 10/30  epoch 1.00  loss 2.5000")
    assert lines[1].endswith("2,341 tokens/s  剩余 0:01:23")
    assert lines[-1] == "out: 没有可供继续的检查点。从第 0 步开始训练。"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_terminal_gets_one_live_line_and_the_rest_above_it(language: Language) -> None:
    screen = io.StringIO()
    terminal = Terminal(file=screen, force_terminal=True, width=140, legacy_windows=False, _environ={"TERM": "xterm"})
    console = Console(lambda line: screen.write(line + "\n"), language, terminal=terminal)
    tell(console)
    shown = screen.getvalue()
    left = "left" if language == "en" else "剩余"
    assert "loss 2.0000" in shown
    assert "learning_rate 4.50e-05" in shown
    assert "grad_norm 1.250" in shown
    assert "2,341 tokens/s" in shown
    assert left in shown
    assert "30/30" in shown.splitlines()[-1] or "30/30" in shown.splitlines()[-2]
    assert "\x1b[2K" in shown, "the line is drawn over itself"
    assert "eval_loss 1.5000" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1, "the cursor comes back"


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_narrow_terminal_never_wraps_the_live_line(width: int) -> None:
    screen = io.StringIO()
    terminal = Terminal(file=screen, force_terminal=True, width=width, legacy_windows=False, _environ={"TERM": "xterm"})
    console = Console(lambda line: None, terminal=terminal)
    console.started(start())
    console.stepped(progress(30))
    console.ended()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue()).replace("\r", "\n")
    assert max(len(line) for line in text.splitlines()) <= width
    assert "step" in text


def test_output_to_a_pipe_is_plain_even_if_colour_is_forced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    tell(Console())
    assert "\x1b" not in capsys.readouterr().out


def test_the_log_has_the_keys_that_other_tools_read(tmp_path: Path) -> None:
    tell(JsonLines(tmp_path / "new" / "trainer_log.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "new" / "trainer_log.jsonl").read_text().splitlines()]
    assert lines[0] == {
        "current_steps": 10,
        "total_steps": 30,
        "loss": 2.5,
        "lr": 4.5e-05,
        "grad_norm": 1.25,
        "tokens_per_second": 2341.4,
        "epoch": 1.0,
        "percentage": 33.33,
        "elapsed_time": "0:00:12",
        "remaining_time": "0:01:23",
    }
    assert [(line["current_steps"], line.get("eval_loss")) for line in lines] == [
        (10, None), (20, None), (20, 1.5), (30, None),
    ]  # fmt: skip


def test_the_log_stays_json_when_a_figure_is_not_finite(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    log.started(start())
    log.evaluated(evaluation(10, float("nan")))
    line = json.loads((tmp_path / "log.jsonl").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert line["eval_loss"] is None


def test_a_new_run_begins_a_new_log_and_a_resumed_one_keeps_its_past(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for first_step, steps in ((0, [10, 20, 20, 30]), (20, [10, 20, 20, 30]), (25, [10, 20, 20, 30]), (5, [10])):
        observer = JsonLines(log)
        if first_step == 5:
            observer.started(start(5))
            observer.logged(progress(10))
        else:
            tell(observer, first_step=first_step)
        assert [json.loads(line)["current_steps"] for line in log.read_text().splitlines()] == steps


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
def test_tensorboard_shows_the_figures_and_forgets_steps_that_are_made_again(tmp_path: Path) -> None:
    tell(TensorBoard(tmp_path))
    assert scalars(tmp_path)["train/loss"] == [(10, 2.5), (20, 2.0), (30, 1.5)]
    resumed = TensorBoard(tmp_path)
    resumed.started(start(20))
    resumed.logged(progress(30, loss=9.0))
    resumed.ended()
    found = scalars(tmp_path)
    assert found["train/loss"] == [(10, 2.5), (20, 2.0), (30, 9.0)]
    assert found["eval/loss"] == [(20, 1.5)]
    assert sorted(found) == [
        "eval/loss", "train/epoch", "train/grad_norm", "train/learning_rate", "train/loss", "train/tokens_per_second",
    ]  # fmt: skip


def test_the_smoothed_curve_neither_lags_nor_moves_what_is_even() -> None:
    assert smoothed([2.0] * 50) == pytest.approx([2.0] * 50)
    assert smoothed([5.0]) == pytest.approx([5.0])
    falling = [100.0 - step for step in range(101)]
    assert smoothed(falling)[20:81] == pytest.approx(falling[20:81])
    k = math.exp(-0.5)  # two points, a deviation of one
    assert smoothed([1.0, 3.0]) == pytest.approx([(1 + 3 * k) / (1 + k), (k + 3) / (1 + k)])


def test_the_picture_is_drawn_from_the_whole_log(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "trainer_log.jsonl")
    tell(log)
    picture = LossPlot(tmp_path / "training_loss.png")
    picture.started(start(20))
    picture.ended()
    png = (tmp_path / "training_loss.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20]) >= 1200
    training, validation = curves(tmp_path / "trainer_log.jsonl")
    assert training == [(10, 2.5), (20, 2.0), (30, 1.5)]
    assert validation == [(20, 1.5)]
    assert draw([], validation).startswith(b"\x89PNG")
    assert draw(training[:1], []).startswith(b"\x89PNG")


def test_a_run_without_figures_draws_nothing(tmp_path: Path) -> None:
    picture = LossPlot(tmp_path / "training_loss.png")
    picture.started(start())
    picture.ended()
    assert not list(tmp_path.iterdir())


class Broken(Quiet):
    """Fails in every call, from the `failing`-th on."""

    def __init__(self, failing: int = 0) -> None:
        self.calls, self.failing = 0, failing

    def stepped(self, progress: Progress) -> None:
        self.calls += 1
        if self.calls > self.failing:
            raise OSError(28, "No space left on device")


def test_observers_that_fail_are_named_once_and_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    ears, broken = Ears(), Broken(2)
    observers = [
        broken,
        JsonLines(tmp_path / "file" / "log.jsonl"),
        TensorBoard(tmp_path / "file" / "runs"),
        LossPlot(tmp_path / "file" / "loss.png"),
        Console(lambda line: (_ for _ in ()).throw(BrokenPipeError("the reader went away"))),
        ears,
    ]
    result = fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=9, logging_steps=2), observers=observers)
    assert result.step == len(ears.steps) == 9
    assert broken.calls == 3
    named = [finding.values["name"] for finding in ears.found]
    assert sorted(named) == ["Broken", "Console", "JsonLines", "TensorBoard"]
    assert {finding.id for finding in ears.found} == {"trainer.observer-failed"}


def test_the_last_observer_that_fails_is_named_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=3), observers=[Broken()])
    assert capsys.readouterr().err.count("Broken failed and is switched off") == 1


def test_closed_streams_do_not_stop_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "stderr", closed)
    observers = [Console(lambda line: print(line))]
    assert fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=3), observers=observers).step == 3


def skipped(step: int, number: int = 1) -> Finding:
    values = {"step": step, "found": math.nan, "rows": "a:1", "number": number, "allowed": 9}
    return Finding("trainer.batch-skipped", "warning", "", values)


def test_what_is_noticed_about_steps_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "health.jsonl"
    tell(Diagnosis(path))
    assert not path.exists(), "a note about a folder is no sign of health"
    listener = Diagnosis(path)
    listener.started(start())
    for step in (3, 12, 20):
        listener.noticed(skipped(step))
    found = diagnosis.read(path)
    assert [one.values["step"] for one in found] == [3, 12, 20]
    assert found[0].values == {**skipped(3).values, "found": "nan"}


def test_a_resume_cuts_the_signs_of_steps_that_are_made_again(tmp_path: Path) -> None:
    path = tmp_path / "health.jsonl"
    for step in (3, 12, 20):
        Diagnosis(path).noticed(skipped(step))
    listener = Diagnosis(path)
    listener.started(start(first_step=12))
    listener.noticed(skipped(15))
    assert [one.values["step"] for one in diagnosis.read(path)] == [3, 12, 15]
    Diagnosis(path).started(start())
    assert not path.exists()


def test_a_batch_that_was_passed_over_stays_in_it_where_its_step_is_still_to_be_made(tmp_path: Path) -> None:
    path = tmp_path / "health.jsonl"
    for number in (1, 2, 3):
        Diagnosis(path).noticed(skipped(13, number))
    Diagnosis(path).started(replace(start(first_step=12), skipped=2))
    assert [one.values["number"] for one in diagnosis.read(path)] == [1, 2]


def test_the_loop_tells_how_many_batches_were_passed_over_before_it_goes_on(tmp_path: Path) -> None:
    """Two bad batches for one step, one more than allowed: the state that is saved has the first behind it."""

    def bad(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        term = objective(policy, batch)["sft"]
        return {"sft": Term(term.sum * float("nan"), term.count) if source.taken in (6, 7) else term}

    for allowed in (1, 9):
        source, listener = toy_source(), Diagnosis(tmp_path / "health.jsonl")
        plan = toy_plan(max_steps=12, skip_bad_batch=allowed, save_steps=100)
        with pytest.raises(DivergedError) if allowed == 1 else nullcontext():
            fit(ToyPolicy(), source, bad, plan, observers=[listener], checkpoints=toy_checkpoints(tmp_path / "run"))
    found = diagnosis.read(tmp_path / "health.jsonl")
    assert [(one.values["step"], one.values["number"]) for one in found] == [(6, 1), (6, 2)]


def test_lines_of_it_that_nobody_can_tell_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "health.jsonl"
    Diagnosis(path).noticed(skipped(3))
    whole = path.read_text()
    path.write_text(
        'no json\n[]\n{"id": "trainer.unheard-of", "where": "", "values": {"step": 1}}\n'
        '{"id": "trainer.batch-skipped", "where": "", "values": {"step": 1}}\n' + whole + whole[:20]
    )
    assert [one.values["step"] for one in diagnosis.read(path)] == [3]
    assert diagnosis.read(tmp_path / "absent") == []
