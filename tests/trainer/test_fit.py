"""The loop itself: what it refuses to make an update of, what it leaves behind, what it tells and returns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor
from trainer_toys import ToyPolicy, objective, toy_checkpoints, toy_plan, toy_source

from llama_factory import storage
from llama_factory.errors import DataError, DivergedError
from llama_factory.losses import Term, token_nll
from llama_factory.records import Batch, Finding
from llama_factory.trainer import Evaluation, Progress, Start, fit, mean_loss
from llama_factory.trainer.observers import Quiet


class Everything(Quiet):
    """What was told, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def started(self, start: Start) -> None:
        self.calls.append(("started", start))

    def stepped(self, progress: Progress) -> None:
        self.calls.append(("stepped", progress))

    def logged(self, progress: Progress) -> None:
        self.calls.append(("logged", progress))

    def evaluated(self, evaluation: Evaluation) -> None:
        self.calls.append(("evaluated", evaluation))

    def saved(self, step: int, folder: Path) -> None:
        self.calls.append(("saved", folder.name))

    def noticed(self, finding: Finding) -> None:
        self.calls.append(("noticed", finding))

    def ended(self) -> None:
        self.calls.append(("ended", None))

    def of(self, name: str) -> list[object]:
        return [told for kind, told in self.calls if kind == name]


class Spoiled:
    """An objective that goes wrong from step `step` on, with micro-batches of 2 rows and 2 of them a step."""

    def __init__(self, step: int, spoil: str) -> None:
        self.calls, self.first_bad, self.spoil = 0, 2 * step - 1, spoil

    def __call__(self, policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        self.calls += 1
        logprob_S, weight_S = policy.logprobs(batch)
        term = token_nll(logprob_S, weight_S)
        if self.calls < self.first_bad:
            return {"sft": term}
        if self.spoil == "loss":
            return {"sft": Term(term.sum * float("nan"), term.count)}
        if self.spoil == "gradient":
            logprob_S.register_hook(lambda gradient: gradient * float("inf"))
            return {"sft": term}
        return {"sft": Term(term.sum * 0.0, term.count)}


@pytest.mark.parametrize("bad", [1, 2, 6, 10])
@pytest.mark.parametrize(
    ("spoil", "id"),
    [
        ("loss", "trainer.loss-not-finite"),
        ("gradient", "trainer.gradient-not-finite"),
        ("zero", "trainer.gradient-zero"),
    ],
)
def test_a_bad_step_is_never_made_and_the_state_before_it_is_kept(
    bad: int, spoil: str, id: str, tmp_path: Path
) -> None:
    policy = ToyPolicy(dropout=0.2)
    spoiled, kept = Spoiled(bad, spoil), toy_checkpoints(tmp_path)
    plan = toy_plan(save_steps=100, lr_scheduler_type="constant")
    with pytest.raises(DivergedError) as caught:
        fit(policy, toy_source(), spoiled, plan, checkpoints=kept, origin=lambda row: f"rows.jsonl:{row}")
    assert (caught.value.id, caught.value.exit_code, caught.value.values["step"]) == (id, 5, bad)
    assert "rows.jsonl:" in caught.value.letter()
    good = ToyPolicy(dropout=0.2)
    if bad > 1:
        fit(good, toy_source(), objective, toy_plan(max_steps=bad - 1, lr_scheduler_type="constant"))
    assert all(torch.equal(p, good.trainable()[name]) for name, p in policy.trainable().items())
    assert [path.name for path in storage.newest_whole(tmp_path)] == ([f"checkpoint-{bad - 1}"] if bad > 1 else [])
    assert str(caught.value.values["kept"]) == (str(tmp_path / f"checkpoint-{bad - 1}") if bad > 1 else "-")


def test_the_state_that_a_bad_step_leaves_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        policy, kept = ToyPolicy(dropout=0.2), toy_checkpoints(tmp_path / folder)
        if folder == "a":
            with pytest.raises(DivergedError):
                fit(policy, toy_source(), Spoiled(8, "loss"), toy_plan(save_steps=100), checkpoints=kept)
        result = fit(ToyPolicy(dropout=0.2), toy_source(), objective, toy_plan(save_steps=100), checkpoints=kept)
        assert result.first_step == (7 if folder == "a" else 0)
    a, b = ((tmp_path / folder / "checkpoint-40" / "optimizer.safetensors").read_bytes() for folder in "ab")
    assert a == b


def test_weights_that_overflow_in_an_update_are_never_saved(tmp_path: Path) -> None:
    plan = toy_plan(learning_rate=1e39, lr_scheduler_type="constant", warmup_steps=0)
    with pytest.raises(DivergedError) as caught:
        fit(ToyPolicy(), toy_source(), objective, plan, checkpoints=toy_checkpoints(tmp_path))
    assert caught.value.id == "trainer.weights-not-finite"
    assert not list(tmp_path.iterdir())


def test_a_step_without_supervised_tokens_stops_the_run() -> None:
    source = toy_source()
    for _, weight_T in source.rows[20:]:
        weight_T[:] = 0.0
    source.rows_per_step, source.rows_per_batch = 1, 1
    with pytest.raises(DataError, match="nothing to learn from in step"):
        fit(ToyPolicy(), source, objective, toy_plan())


def test_observers_hear_everything_in_order() -> None:
    heard = Everything()
    policy, source = ToyPolicy(), toy_source()
    plan = toy_plan(max_steps=10, logging_steps=4, eval_strategy="steps", eval_steps=5)
    evaluate = mean_loss(policy, objective, source.all_batches)
    result = fit(policy, source, objective, plan, observers=[heard], evaluate=evaluate)
    assert [name for name, _ in heard.calls] == (
        ["started"] + ["stepped"] * 4 + ["logged", "stepped", "evaluated"] + ["stepped"] * 3 + ["logged"]
        + ["stepped"] * 2 + ["logged", "evaluated", "ended"]
    )  # fmt: skip
    steps = [told for told in heard.of("stepped") if isinstance(told, Progress)]
    logs = [told for told in heard.of("logged") if isinstance(told, Progress)]
    assert [told.step for told in logs] == [4, 8, 10]
    assert logs[1].loss == pytest.approx(sum(told.loss for told in steps[4:8]) / 4)
    assert logs[2].loss == pytest.approx(sum(told.loss for told in steps[8:]) / 2)
    assert steps[0].learning_rate == 0.0
    assert steps[4].learning_rate == 3e-3
    assert all(told.tokens_per_second > 0 and told.grad_norm > 0 for told in steps)
    assert steps[-1].remaining_s == 0.0
    assert result.metrics["eval_loss"] == heard.of("evaluated")[-1].metrics["eval_loss"]  # type: ignore[attr-defined]
    assert source.updates == 10


def test_the_validation_loss_is_the_mean_over_all_tokens_without_dropout() -> None:
    policy, source = ToyPolicy(dropout=0.5), toy_source()
    found: list[float] = []

    def evaluate() -> Mapping[str, float]:
        assert not policy.module.training
        assert not torch.is_grad_enabled()
        metrics = mean_loss(policy, objective, source.all_batches)()
        found.append(metrics["eval_loss"])
        return metrics

    fit(policy, source, objective, toy_plan(max_steps=3, eval_strategy="epoch"), evaluate=evaluate)
    assert policy.module.training
    policy.module.eval()
    whole = token_nll(*policy.logprobs(source.batch(list(range(37)))))
    assert found == [pytest.approx(whole.sum.item() / whole.count, rel=1e-6)]


def test_a_validation_loss_that_is_not_finite_is_said_and_training_goes_on() -> None:
    heard = Everything()
    plan = toy_plan(max_steps=2, eval_strategy="steps", eval_steps=1)
    fit(ToyPolicy(), toy_source(), objective, plan, observers=[heard], evaluate=lambda: {"eval_loss": float("nan")})
    assert [told.id for told in heard.of("noticed")] == ["trainer.evaluation-not-finite"] * 2  # type: ignore[attr-defined]
    assert len(heard.of("stepped")) == 2


def test_validation_rows_without_a_trained_token_are_refused() -> None:
    policy = ToyPolicy()
    with pytest.raises(DataError, match="nothing to be judged on"):
        mean_loss(policy, objective, lambda: [])()


def test_without_checkpoints_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=2))
    assert result.folder is None
    assert not list(tmp_path.iterdir())


def test_the_result_is_written_whole_and_holds_the_masters_of_bf16_weights(tmp_path: Path) -> None:
    saved: dict[str, Tensor] = {}

    def save_model(folder: Path, masters: Mapping[str, Tensor]) -> None:
        saved.update({name: value.clone() for name, value in masters.items()})
        (folder / "weights").write_bytes(b"w")

    policy = ToyPolicy(dtype=torch.bfloat16)
    kept = toy_checkpoints(tmp_path, save_model=save_model)
    result = fit(policy, toy_source(), objective, toy_plan(max_steps=3, save_strategy="no"), checkpoints=kept)
    storage.verify(tmp_path)
    assert result.folder == tmp_path
    assert {value.dtype for value in saved.values()} == {torch.float32}
    for name, parameter in policy.trainable().items():
        assert torch.equal(parameter.detach(), saved[name].bfloat16())
        assert not torch.equal(parameter.detach().float(), saved[name])
    assert not storage.numbered(tmp_path)


def test_several_terms_are_told_one_by_one() -> None:
    heard = Everything()

    def two(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        term = token_nll(*policy.logprobs(batch))
        return {"sft": term, "half": Term(term.sum, 2 * term.count, weight=0.5)}

    source = toy_source()
    inner = source.next_step

    def next_step() -> object:
        step = inner()
        step.counts["half"] = 2 * step.counts["sft"]  # type: ignore[index]
        return step

    source.next_step = next_step  # type: ignore[method-assign, assignment]
    fit(ToyPolicy(), source, two, toy_plan(max_steps=1), observers=[heard])
    (told,) = heard.of("logged")
    assert isinstance(told, Progress)
    assert told.terms["half"] == pytest.approx(told.terms["sft"] / 2)
    assert told.loss == pytest.approx(told.terms["sft"] * 1.25)
