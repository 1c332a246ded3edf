"""Ctrl-C, SIGTERM, SIGHUP: the step is finished, a checkpoint saved, and the run goes on to the same bytes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from trainer_toys import ToyPolicy, objective, save_toy, toy_checkpoints, toy_plan, toy_source

from llama_factory import storage
from llama_factory.errors import Interrupted
from llama_factory.records import Batch
from llama_factory.trainer import fit
from llama_factory.trainer.observers import JsonLines, Quiet
from llama_factory.trainer.observers.jsonl import read
from llama_factory.trainer.signals import SIGNALS


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Whatever a test does, the handlers are afterwards what they were."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


class Ring(Quiet):
    """Sends this process a signal when it hears of step `step`."""

    def __init__(self, step: int, *numbers: signal.Signals) -> None:
        self.step, self.numbers = step, numbers

    def stepped(self, progress: object) -> None:
        if progress.step == self.step:  # type: ignore[attr-defined]
            for number in self.numbers:
                os.kill(os.getpid(), number)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    kept = toy_checkpoints(folder)
    fit(ToyPolicy(dropout=0.2), toy_source(), objective, toy_plan(max_steps=9, save_steps=100), checkpoints=kept)
    return (folder / "checkpoint-9" / "optimizer.safetensors").read_bytes()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("strategy", ["no", "steps"])
def test_a_signal_saves_after_the_current_step_and_the_run_goes_on_to_the_same_bytes(
    number: signal.Signals, strategy: str, whole: bytes, tmp_path: Path
) -> None:
    plan = toy_plan(max_steps=9, save_steps=100, save_strategy=strategy)
    kept = toy_checkpoints(tmp_path)
    with pytest.raises(Interrupted) as caught:
        fit(ToyPolicy(dropout=0.2), toy_source(), objective, plan, checkpoints=kept, observers=[Ring(4, number)])
    assert (caught.value.id, caught.value.exit_code) == ("trainer.interrupted", 75)
    said = caught.value.letter()
    assert f"{number.name}: stopped after step 4 of 9" in said
    assert str(tmp_path / "checkpoint-4") in said
    again = toy_plan(max_steps=9, save_steps=100)
    result = fit(ToyPolicy(dropout=0.2), toy_source(), objective, again, checkpoints=kept)
    assert result.first_step == 4
    assert (tmp_path / "checkpoint-9" / "optimizer.safetensors").read_bytes() == whole


def test_a_signal_during_the_last_step_lets_the_run_finish(tmp_path: Path) -> None:
    kept = toy_checkpoints(tmp_path)
    ring = Ring(9, signal.SIGINT)
    result = fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=9), checkpoints=kept, observers=[ring])
    assert result.step == 9
    storage.verify(tmp_path)


def test_without_a_checkpoint_the_letter_says_that_nothing_was_saved() -> None:
    with pytest.raises(Interrupted) as caught:
        fit(ToyPolicy(), toy_source(), objective, toy_plan(), observers=[Ring(1, signal.SIGTERM)])
    assert caught.value.id == "trainer.interrupted-unsaved"


def test_a_second_signal_leaves_at_once_and_keeps_what_was_whole(tmp_path: Path) -> None:
    def write_and_be_stopped(folder: Path, masters: Mapping[str, object]) -> None:
        save_toy(folder, masters)  # type: ignore[arg-type]
        if calls["saves"] == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the second signal must leave before this line")
        calls["saves"] += 1

    calls = {"saves": 1}
    kept = toy_checkpoints(tmp_path, save_model=write_and_be_stopped)
    with pytest.raises(Interrupted) as caught:
        fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=9), checkpoints=kept)
    assert (caught.value.id, caught.value.exit_code) == ("trainer.left-at-once", 75)
    assert str(tmp_path / "checkpoint-2") in caught.value.letter()
    assert storage.find_newest(tmp_path) == (tmp_path / "checkpoint-2", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-2"]


def test_an_observer_that_swallows_everything_does_not_swallow_the_second_signal(tmp_path: Path) -> None:
    ring = Ring(2, signal.SIGINT, signal.SIGINT)
    with pytest.raises(Interrupted, match="stopped at once"):
        fit(ToyPolicy(), toy_source(), objective, toy_plan(), checkpoints=toy_checkpoints(tmp_path), observers=[ring])


def test_a_signal_breaks_an_evaluation_off_which_is_done_after_the_resume(tmp_path: Path) -> None:
    def evaluate() -> Mapping[str, float]:
        runs.append(len(runs))
        if len(runs) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the evaluation goes on after a signal")
        return {"eval_loss": 1.0}

    runs: list[int] = []
    plan = toy_plan(max_steps=9, eval_strategy="steps", eval_steps=2, save_steps=100)
    for go in range(2):
        log, kept = JsonLines(tmp_path / "log.jsonl"), toy_checkpoints(tmp_path)
        if go == 0:
            with pytest.raises(Interrupted, match="after step 4 of 9"):
                fit(ToyPolicy(), toy_source(), objective, plan, checkpoints=kept, observers=[log], evaluate=evaluate)
        else:
            fit(ToyPolicy(), toy_source(), objective, plan, checkpoints=kept, observers=[log], evaluate=evaluate)
    steps = [line["current_steps"] for line in read(tmp_path / "log.jsonl") if "eval_loss" in line]
    assert steps == [2, 4, 6, 8, 9]


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """`nohup` starts a program with SIGHUP ignored; a terminal that closes must not stop the run."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        result = fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=3), observers=[Ring(1, signal.SIGHUP)])
        assert result.step == 3
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back_after_success_and_after_an_error() -> None:
    def explode(policy: ToyPolicy, batch: Batch) -> Mapping[str, object]:
        assert signal.getsignal(signal.SIGTERM) not in before.values()
        raise RuntimeError("from the objective")

    before = {number: signal.getsignal(number) for number in SIGNALS}
    with pytest.raises(RuntimeError, match="from the objective"):
        fit(ToyPolicy(), toy_source(), explode, toy_plan())  # type: ignore[arg-type]
    fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=1))
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


def test_a_run_in_a_thread_works_without_handlers() -> None:
    done: list[int] = []
    thread = threading.Thread(
        target=lambda: done.append(fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=2)).step)
    )
    thread.start()
    thread.join()
    assert done == [2]
