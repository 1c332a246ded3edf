"""Memory that runs out: the same step again in smaller micro-batches, with the same result, for the rest of the run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from trainer_toys import Ears, ToyPolicy, ToySource, objective, toy_checkpoints, toy_plan, toy_rows, toy_source

from llama_factory.errors import MachineError
from llama_factory.losses import Term
from llama_factory.records import Batch, Finding, Step
from llama_factory.trainer import FitResult, fit, mean_loss, mean_losses
from llama_factory.trainer.optimizers import Optimizer
from llama_factory.trainer.room import Room

FILES = ("model.safetensors", "optimizer.safetensors", "rng.safetensors", "trainer_state.json")
CPU = (
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)
ERRORS = {
    "on a processor": RuntimeError(CPU),
    "on a GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "in Python": MemoryError(),
}


class SmallMemory:
    """An objective that fails above `limit` tokens: before its forward, or in the middle of its backward."""

    def __init__(self, limit: int, error: Exception, *, backward: bool) -> None:
        self.limit, self.error, self.backward = limit, error, backward
        self.failed = 0
        self.rows: list[list[int]] = []

    def __call__(self, policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        if batch.ids_T.size <= self.limit:
            self.rows.append(batch.rows.tolist())
            return objective(policy, batch)
        self.failed += 1
        if not self.backward:
            torch.rand(3)  # what a half-made forward draws
            raise self.error
        term = objective(policy, batch)["sft"]
        return {"sft": Term(_FailAfterHead.apply(term.sum, policy, self.error), term.count)}


class _FailAfterHead(torch.autograd.Function):
    """Backward: the head gets a gradient, then memory runs out."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor, policy: ToyPolicy, error: Exception) -> torch.Tensor:
        ctx.policy, ctx.error = policy, error  # type: ignore[attr-defined]
        return x.clone()

    @staticmethod
    def backward(ctx: object, grad: torch.Tensor) -> tuple[None, None, None]:
        head = ctx.policy.module.head.weight  # type: ignore[attr-defined]
        head.grad = torch.full_like(head, 1e6)
        raise ctx.error  # type: ignore[attr-defined]


def run(
    given: object,
    *,
    dtype: torch.dtype = torch.float32,
    dropout: float = 0.0,
    checkpoints: object = None,
    **plan: object,
) -> tuple[FitResult, Ears]:
    ears = Ears()
    result = fit(ToyPolicy(dropout=dropout, dtype=dtype), toy_source(rows_per_step=8, rows_per_batch=8), given,
                 toy_plan(**plan), observers=[ears], checkpoints=checkpoints,
                 origin=lambda row: f"rows.jsonl:{row}")  # type: ignore[arg-type] # fmt: skip
    return result, ears


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", ERRORS)
def test_the_run_is_the_one_that_always_fitted(name: str, backward: bool, dtype: torch.dtype) -> None:
    small = SmallMemory(30, ERRORS[name], backward=backward)
    found, ears = run(small, dtype=dtype, max_steps=15)
    expected, calm = run(objective, dtype=dtype, max_steps=15)
    assert small.failed >= 1
    exact = dtype == torch.float32
    assert [one.loss for one in ears.steps] == pytest.approx(
        [one.loss for one in calm.steps], rel=1e-5 if exact else 2e-2
    )
    assert ears.steps[0].grad_norm == pytest.approx(calm.steps[0].grad_norm, rel=1e-6 if exact else 2e-2)
    for key, value in found.masters.items():
        allowed = 1e-5 if exact else 5e-2
        assert (value - expected.masters[key]).norm() <= allowed * expected.masters[key].norm(), key
    halved = [one for one in ears.found if one.id == "trainer.micro-batch-halved"]
    assert len(halved) == len({one.values["step"] for one in halved}) >= 1, "told once for each step that had to"
    assert small.failed <= 3, "the smaller size stays"
    assert halved[-1].values["now"] <= 30


def test_the_gradients_of_the_repeated_step_are_those_of_the_whole_one() -> None:
    """To 1e-6 in fp32, for every parameter: one step at a rate of 1 with plain steps would differ by no more."""
    gradients = {}
    for name, given in {
        "whole": objective, "cut": SmallMemory(17, ERRORS["on a processor"], backward=True),
    }.items():  # fmt: skip
        policy = ToyPolicy()
        seen = gradients[name] = {}
        for key, parameter in policy.module.named_parameters():
            parameter.register_post_accumulate_grad_hook(
                lambda p, key=key, seen=seen: seen.__setitem__(key, p.grad.clone())
            )
        fit(policy, toy_source(rows_per_step=8, rows_per_batch=8), given, toy_plan(max_steps=1), origin=str)
    assert len(gradients["whole"]) == 7
    for key, value in gradients["whole"].items():
        assert (gradients["cut"][key] - value).norm() <= 1e-6 * value.norm(), key


def test_every_row_comes_once_in_its_step_and_the_smaller_size_stays() -> None:
    small = SmallMemory(20, ERRORS["in Python"], backward=False)
    _, ears = run(small, max_steps=5)
    whole: list[list[int]] = []

    def listen(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        whole.append(batch.rows.tolist())
        return objective(policy, batch)

    run(listen, max_steps=5)
    flat = [row for rows in small.rows for row in rows]
    first = len(flat) - sum(len(rows) for rows in whole)  # rows of the first step that were computed before it failed
    assert first >= 0
    assert flat[first:] == [row for rows in whole for row in rows]
    assert {one.values["step"] for one in ears.found if one.id == "trainer.micro-batch-halved"} == {1}


def test_dropout_draws_the_same_however_far_the_failed_forward_came(tmp_path: Path) -> None:
    """And a resumed run keeps the smaller size: the bytes of its checkpoints are those of the run left alone."""

    def small() -> SmallMemory:
        return SmallMemory(30, ERRORS["on a processor"], backward=False)

    alone, cut = toy_checkpoints(tmp_path / "alone"), toy_checkpoints(tmp_path / "cut")
    run(small(), dropout=0.3, checkpoints=alone, save_steps=5, max_steps=15, lr_scheduler_type="constant")
    run(small(), dropout=0.3, checkpoints=cut, save_steps=5, max_steps=10, lr_scheduler_type="constant")
    _, ears = run(small(), dropout=0.3, checkpoints=cut, save_steps=5, max_steps=15, lr_scheduler_type="constant")
    assert [one.id for one in ears.found if "micro-batch" in one.id] == ["trainer.micro-batch-kept"]
    for name in FILES[:3]:
        assert (alone.at(15) / name).read_bytes() == (cut.at(15) / name).read_bytes(), name


def test_a_row_that_does_not_fit_alone_ends_the_run_with_its_name_and_the_state_before(tmp_path: Path) -> None:
    checkpoints = toy_checkpoints(tmp_path)

    def too_long(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        if 11 in batch.rows:
            raise ERRORS["on a processor"]
        return objective(policy, batch)

    with pytest.raises(MachineError, match=r"rows.jsonl:11") as caught:
        run(too_long, checkpoints=checkpoints, save_steps=100)
    assert (caught.value.id, caught.value.exit_code) == ("trainer.no-memory-for-row", 4)
    for part in ("gradient_checkpointing", "cutoff_len"):
        assert part in caught.value.letter()
    before = caught.value.values["step"] - 1
    assert before == 0 or caught.value.values["kept"] == checkpoints.at(before)


@pytest.mark.parametrize("name", ERRORS)
def test_an_update_that_does_not_fit_ends_the_run_and_is_not_saved(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, made = toy_checkpoints(tmp_path), Optimizer.step

    def step(self: Optimizer, rate: float) -> None:
        made(self, rate)
        if rate == pytest.approx(3e-3):  # the fifth, after a warm-up of four
            raise ERRORS[name]

    monkeypatch.setattr(Optimizer, "step", step)
    with pytest.raises(MachineError, match="adafactor") as caught:
        run(objective, checkpoints=checkpoints, save_steps=3)
    assert (caught.value.id, caught.value.values["step"]) == ("trainer.no-memory-for-update", 5)
    assert caught.value.values["kept"] == checkpoints.at(3)
    assert not checkpoints.at(4).exists()


def test_an_optimizers_other_error_is_not_called_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(self: Optimizer, rate: float) -> None:
        raise RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")

    monkeypatch.setattr(Optimizer, "step", step)
    with pytest.raises(RuntimeError, match="tensor a"):
        run(objective)


def test_another_error_is_not_called_a_lack_of_memory() -> None:
    def wrong(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        run(wrong)


def batch_of(*lengths: int, **extras: np.ndarray) -> Batch:
    total = sum(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids_T = np.arange(total, dtype=np.int32)
    return Batch(ids_T, (ids_T % 3).astype(np.float32), offsets, np.arange(len(lengths)), extras)


def test_any_cut_keeps_every_row_whole_and_in_its_place() -> None:
    tried = 0
    for seed in range(50):
        lengths = np.random.default_rng(seed).integers(1, 40, 12).tolist()
        batch = batch_of(*lengths)
        room = Room()
        while room.limit != 1:
            limit = room.shrink(batch if room.limit is None else batch_of(room.limit))
            cut = room.cut(Step((batch,), {"sft": 1.0}, 0.5))
            assert (cut.counts, cut.epoch) == ({"sft": 1.0}, 0.5)
            assert np.concatenate([part.ids_T for part in cut.batches]).tolist() == batch.ids_T.tolist()
            assert np.concatenate([part.weight_T for part in cut.batches]).tolist() == batch.weight_T.tolist()
            assert [row for part in cut.batches for row in part.rows.tolist()] == list(range(12))
            assert [n for part in cut.batches for n in part.lengths_R.tolist()] == lengths
            assert all(part.offsets[0] == 0 for part in cut.batches)
            assert all(part.ids_T.size <= limit or part.rows.size == 1 for part in cut.batches)
            tried += 1
    assert tried > 200


def test_a_batch_whose_extras_nobody_knows_is_not_cut() -> None:
    room = Room()
    batch = batch_of(5, 6, reference=np.zeros(2))
    assert not room.can_shrink(batch)
    room.limit = 6
    assert room.cut(Step((batch,), {}, 0.0)).batches == (batch,)


@pytest.mark.faults
def test_a_process_whose_address_space_really_ends_halves_and_finishes(tmp_path: Path) -> None:
    """RLIMIT_AS leaves 300 MB above what the process has; the whole batch wants about 1 GB."""
    script = Path(__file__).with_name("starved.py")
    command = [sys.executable, str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.split()
    assert said[0] == "halved"
    assert int(said[1]) >= 1
    assert float(said[2]) == pytest.approx(float(said[3]), rel=1e-5)


@pytest.mark.parametrize("name", ERRORS)
def test_an_evaluation_goes_on_in_smaller_batches_with_the_same_figures(name: str) -> None:
    source, policy = ToySource(toy_rows(24), rows_per_step=8, rows_per_batch=8), ToyPolicy()
    policy.module.eval()
    batches = [source.next_step().batches[0] for _ in range(3)]
    small, heard = SmallMemory(30, ERRORS[name], backward=False), list[Finding]()
    evaluate = mean_losses(policy, small, {"eval_loss": lambda: batches}, heard.append)
    plain = mean_loss(policy, objective, lambda: batches)()
    assert evaluate() == pytest.approx(plain, rel=1e-6)
    assert sorted(row for rows in small.rows for row in rows) == sorted(
        row for batch in batches for row in batch.rows.tolist()
    )
    assert heard
    assert {one.id for one in heard} == {"trainer.evaluation-halved"}
    assert heard[-1].values["now"] <= 30
    failed, told = small.failed, len(heard)
    assert evaluate() == pytest.approx(plain, rel=1e-6)
    assert (small.failed, len(heard)) == (failed, told), "the smaller size stays"


def test_a_row_that_does_not_fit_into_an_evaluation_ends_the_run_after_its_state_was_saved(tmp_path: Path) -> None:
    source = toy_source()
    policy, tight = ToyPolicy(), SmallMemory(1, ERRORS["on a GPU"], backward=False)
    with pytest.raises(MachineError) as caught:
        fit(policy, source, objective, toy_plan(max_steps=9, eval_strategy="steps", eval_steps=4, save_strategy="no"),
            checkpoints=toy_checkpoints(tmp_path), evaluate=mean_loss(policy, tight, source.all_batches))  # fmt: skip
    assert (caught.value.id, caught.value.exit_code) == ("trainer.no-memory-for-evaluation", 4)
    kept = Path(str(caught.value.values["kept"]))
    assert kept.is_dir() and kept.name == "checkpoint-4"  # noqa: PT018
    for language in ("en", "zh"):
        assert str(kept) in caught.value.letter(language)
    resumed = fit(
        ToyPolicy(), toy_source(), objective, toy_plan(max_steps=9), checkpoints=toy_checkpoints(tmp_path, resume=True)
    )
    straight = fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=9))
    assert resumed.first_step == 4
    assert all(torch.equal(value, straight.masters[name]) for name, value in resumed.masters.items())


def test_what_an_evaluation_raises_otherwise_stays_what_it_is() -> None:
    def broken(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        mean_loss(ToyPolicy(), broken, toy_source().all_batches)()
