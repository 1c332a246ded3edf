"""`report.html` of real runs: however they end, with answers before and after, and without a trace in the result."""

from __future__ import annotations

import html
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from recipe_settings import digests, settings

from llama_factory import config, recipes
from llama_factory.config import from_mapping
from llama_factory.errors import DivergedError, Interrupted, MachineError
from llama_factory.recipes import reporting, samples
from llama_factory.trainer import Progress
from llama_factory.trainer.observers import Quiet


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(model: Path, file: Path, output: Path, language: Any = "en", **changes: Any) -> recipes.Outcome:
    given = settings(model, file, output, **{"report_samples": 2, "max_steps": 6, "plot_loss": False, **changes})
    if given["finetuning_type"] != "lora":
        given = {key: value for key, value in given.items() if not key.startswith("lora_")}
    return recipes.train(from_mapping(given, "test"), say=said.append, language=language)


said: list[str] = []


def page(output: Path) -> str:
    """The text of the page as a person reads it."""
    return html.unescape((output / "report.html").read_text(encoding="utf-8"))


def test_a_finished_run_has_a_page_and_its_last_lines_name_it(tiny_model: Path, rows: Path, tmp_path: Path) -> None:
    outcome = train(tiny_model, rows, tmp_path / "run")
    assert f"Look at it:  {tmp_path / 'run' / 'report.html'}" in outcome.lines
    text = page(tmp_path / "run")
    for expected in (
        "Finished", "6 / 6", "Answers before and after", "Question ", "Answer ", "adapter_model.safetensors",
        "llamafactory-cli chat", "llamafactory-cli export", "learning_rate: 0.005", "torch", "aria-label=\"Loss\"",
        "aria-label=\"Memory\"", "optimiser steps", "“after” has the weights of step 6",
    ):  # fmt: skip
        assert expected in text, expected


def test_the_page_speaks_the_language_of_the_run(tiny_model: Path, rows: Path, tmp_path: Path) -> None:
    outcome = train(tiny_model, rows, tmp_path / "run", language="zh")
    assert any(line.startswith("查看报告") for line in outcome.lines)
    assert "训练完成" in page(tmp_path / "run")
    assert 'lang="zh-CN"' in page(tmp_path / "run")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bf16": True, "gradient_checkpointing": True},
        {"finetuning_type": "full"},
        {"finetuning_type": "freeze", "freeze_trainable_layers": 1},
        {"load_best_model_at_end": True, "eval_steps": 2},
    ],
    ids=["lora", "lora-bf16-checkpointing", "full", "freeze", "lora-best"],
)
def test_the_result_has_the_same_bytes_with_and_without_samples(
    tiny_model: Path, rows: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    for name, count in (("with", 2), ("without", 0)):
        train(tiny_model, rows, tmp_path / name, report_samples=count, **changes)
    trained = "model.safetensors" if "finetuning_type" in changes else "adapter_model.safetensors"
    files = (trained, "checkpoint-6/optimizer.safetensors", "checkpoint-6/rng.safetensors")
    assert digests(tmp_path / "with", *files) == digests(tmp_path / "without", *files)
    assert "Answers before and after" in page(tmp_path / "with")
    assert "Answers before and after" not in page(tmp_path / "without")


def answers(run: Any, texts: list[samples.Asked]) -> list[str]:
    """What a fresh process would answer with the same files."""
    from llama_factory.generation import Sampling
    from llama_factory.recipes.answering import answerer_of

    answerer = answerer_of(run, said.append, "en")
    greedy = Sampling(max_new_tokens=samples.SAMPLE_TOKENS)
    return [answerer.answer(list(one.ids), greedy) for one in texts]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_answers_are_those_of_the_base_and_of_the_result(
    tiny_model: Path, rows: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    whole = reporting.Page._facts
    monkeypatch.setattr(
        reporting.Page, "_facts", lambda self, *more: seen.append((self._asked, more[1])) or whole(self, *more)
    )
    train(tiny_model, rows, tmp_path / "run", finetuning_type=method, bf16=False, max_steps=60, eval_strategy="no")
    asked, answered = seen[-1]
    assert len(answered) == 2
    base = {"model_name_or_path": str(tiny_model)}
    trained = {"adapter_name_or_path": str(tmp_path / "run")} if method == "lora" else {}
    result = base | trained if trained else {"model_name_or_path": str(tmp_path / "run")}
    before = answers(from_mapping(base, "test"), asked)
    after = answers(from_mapping(result, "test"), asked)
    assert [one.before.removesuffix(samples.CUT) for one in answered] == before
    assert [one.after.removesuffix(samples.CUT) for one in answered] == after
    assert before != after
    assert all(one.prompt.startswith("Question") and one.reference.startswith("Answer") for one in answered)


def test_the_answers_of_the_best_weights_are_shown_where_these_are_the_result(
    tiny_model: Path, rows: Path, tmp_path: Path
) -> None:
    """A rate so high that the validation loss only gets worse after the first evaluation."""
    train(tiny_model, rows, tmp_path / "run", early_stopping=True, early_stopping_patience=1, eval_steps=2,
          max_steps=30, learning_rate=0.3, warmup_ratio=0.0)  # fmt: skip
    text = page(tmp_path / "run")
    best = json.loads((tmp_path / "run" / "best" / "best.json").read_text())["step"]
    assert "Stopped early" in text
    assert f"“after” has the weights of step {best}." in text


class Stopper(Quiet):
    """Does something at a step."""

    def __init__(self, at: int, act: Any) -> None:
        self.at, self.act = at, act

    def stepped(self, progress: Progress) -> None:
        if progress.step == self.at:
            self.act()


def with_stopper(monkeypatch: pytest.MonkeyPatch, at: int, act: Any) -> None:
    from llama_factory.recipes import sft

    own = sft.observers_of
    monkeypatch.setattr(sft, "observers_of", lambda *given: [*own(*given), Stopper(at, act)])


def test_an_interrupted_run_has_a_page_with_the_command_that_goes_on(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_stopper(monkeypatch, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        train(tiny_model, rows, tmp_path / "run", logging_steps=1, max_steps=9)
    text = page(tmp_path / "run")
    assert "Interrupted" in text
    assert "SIGTERM: stopped after step 5 of 9" in text
    assert said[-1] == f"Look at it:  {tmp_path / 'run' / 'report.html'}"
    command = f"llamafactory-cli train {tmp_path / 'run' / 'resolved_config.yaml'} resume_from_checkpoint=true"
    assert command in text
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    recipes.train(config.load(tmp_path / "run" / "resolved_config.yaml", command.split()[3:]), say=said.append)
    text = page(tmp_path / "run")
    assert "Finished" in text
    assert all(f"(step {step})" in text for step in (1, 5, 9)), "curves over all steps"
    assert "resumed at step 5 of 9" in text


def test_a_run_that_diverges_has_a_page_with_the_letter(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llama_factory.losses import Term
    from llama_factory.recipes import sft

    own, calls = sft.token_nll, [0]

    def broken(*given: Any) -> Term:
        calls[0] += 1
        term = own(*given)
        return Term(term.sum * (float("nan") if calls[0] > 3 else 1.0), term.count)

    monkeypatch.setattr(sft, "token_nll", broken)
    with pytest.raises(DivergedError):
        train(tiny_model, rows, tmp_path / "run", logging_steps=1, eval_strategy="no")
    text = page(tmp_path / "run")
    assert "Diverged" in text
    assert "the loss of step 4 is nan" in text
    assert "rows.jsonl:" in text


@pytest.mark.parametrize(
    ("error", "told"),
    [(RuntimeError("a fault nobody foresaw"), RuntimeError), (MemoryError("no more"), MachineError)],
    ids=["a fault", "memory, with one row alone too"],
)
def test_a_run_that_fails_midway_has_a_page_and_its_own_error(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: Any
) -> None:
    from llama_factory.recipes import sft

    def fail(*given: Any) -> Any:
        raise error

    monkeypatch.setattr(sft, "token_nll", fail)
    with pytest.raises(told):
        train(tiny_model, rows, tmp_path / "run")
    assert "Failed" in page(tmp_path / "run")
    assert str(error) in page(tmp_path / "run")


def test_a_page_that_cannot_be_made_is_a_line_and_nothing_more(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reporting.runs, "page", fail)
    said.clear()
    outcome = train(tiny_model, rows, tmp_path / "run")
    assert outcome.steps == 6
    assert not [line for line in outcome.lines if "Look at it" in line]
    assert len([line for line in said if "report.html" in line and "No space left" in line]) == 1
    with_stopper(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        train(tiny_model, rows, tmp_path / "other")


def test_samples_that_cannot_be_made_cost_only_themselves(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> Any:
        raise ValueError("this model answers nobody")

    monkeypatch.setattr(samples, "answer", fail)
    said.clear()
    assert train(tiny_model, rows, tmp_path / "run").steps == 6
    assert "Finished" in page(tmp_path / "run")
    assert [line for line in said if "this model answers nobody" in line]


def test_ctrl_c_while_the_samples_are_answered_ends_the_wait_and_keeps_the_result(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(samples, "answer", stop)
    assert train(tiny_model, rows, tmp_path / "run").steps == 6
    assert "Finished" in page(tmp_path / "run")


def test_a_run_with_nothing_left_to_do_keeps_its_page(tiny_model: Path, rows: Path, tmp_path: Path) -> None:
    train(tiny_model, rows, tmp_path / "run")
    before = digests(tmp_path / "run", "report.html")
    train(tiny_model, rows, tmp_path / "run")
    assert digests(tmp_path / "run", "report.html") == before


def test_a_hostile_row_is_only_text(tiny_model: Path, tmp_path: Path) -> None:
    evil = "<script>alert('x')</script></pre>"
    file = tmp_path / "<b>rows.jsonl"
    pairs = [{"prompt": f"{evil} {n}", "response": f"{evil} & more {n}"} for n in range(12)]
    file.write_text("".join(json.dumps(one) + "\n" for one in pairs), encoding="utf-8")
    train(tiny_model, file, tmp_path / "run")
    raw = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in raw
    assert "<b>rows" not in raw
    assert evil in html.unescape(raw)


def test_short_but_typical_rows_are_asked_and_none_twice(tiny_model: Path, tmp_path: Path) -> None:
    from llama_factory import data, storage
    from llama_factory.render import load_renderer

    file = tmp_path / "rows.jsonl"
    lengths = [1, *[2] * 30, *[12] * 40, *[60] * 30]
    pairs = [{"prompt": f"Number {n % 50} {'word ' * size}", "response": "Yes."} for n, size in enumerate(lengths)]
    file.write_text("".join(json.dumps(one) + "\n" for one in pairs), encoding="utf-8")
    run = from_mapping(settings(tiny_model, file, tmp_path / "run", val_size=0, eval_strategy="no"), "test")
    renderer = load_renderer(tiny_model)
    rows = data.prepare(run, renderer, cache=storage.cache_folder(os.environ), say=said.append)
    asked = samples.choose(rows, renderer, 8)
    assert len(asked) == len({one.prompt for one in asked}) == 8
    assert {one.prompt.count("word") for one in asked} == {2, 12}
    assert all(one.reference == "Yes." for one in asked)
    assert renderer.decode(list(asked[0].ids), skip_control=False).endswith("<|im_start|>assistant\n")


def test_a_row_that_only_fills_up_the_vocabulary_is_in_no_answer(tiny_model: Path) -> None:
    import torch

    from llama_factory.model import load, vocabulary
    from llama_factory.render import load_renderer

    renderer: Any = load_renderer(tiny_model)
    known = vocabulary.needed_by(renderer)
    module: Any = load.load(tiny_model, dtype="float32", grown=vocabulary.Growth(known, known + 64, known, {}))
    letters = [renderer.tokenizer.rust.token_to_id(letter) for letter in "ab"]
    with torch.no_grad():
        head = module.get_output_embeddings().weight
        direction = torch.randn(head.shape[1], generator=torch.Generator().manual_seed(1))
        head.zero_()  # one of two opposite rows always has the largest logit: one that is no token, were it allowed to
        for id, size in ((letters[0], 1), (letters[1], -1), (known, 2), (known + 1, -2)):
            head[id] = size * direction
    (answer,) = samples.answer(module, renderer, [samples.Asked("", "", "", (5, 9, 77))])
    assert len(answer) > 10
    assert set(answer.removesuffix(samples.CUT)) <= set("ab")
