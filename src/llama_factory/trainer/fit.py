"""The loop: a policy, a source of steps and an objective go in, a trained policy comes out.

In: values only (`ports`); out: `FitResult`, and on the disk what `checkpoints` was asked to keep. One step is:
take rows, forward and backward of each micro-batch, look at the numbers, clip, update, tell, evaluate, save.
A step that made no update ends the run, with the state before it saved, or is passed over (`skip_bad_batch`).
It deliberately knows no stage, no data and no loss, prints nothing, and catches no error that it cannot answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, NoReturn

import torch
from torch import Tensor

from llama_factory.errors import DivergedError, Interrupted, LlamaFactoryError, MachineError
from llama_factory.machine import Gauge
from llama_factory.records import Finding
from llama_factory.trainer import randomness
from llama_factory.trainer.accumulate import StepLoss
from llama_factory.trainer.best import Best
from llama_factory.trainer.checkpoints import Checkpoints, State
from llama_factory.trainer.health import Health
from llama_factory.trainer.masters import Masters
from llama_factory.trainer.meter import Meter
from llama_factory.trainer.observers.listeners import Listeners
from llama_factory.trainer.optimizers import Optimizer
from llama_factory.trainer.plan import FitPlan, Strategy, due
from llama_factory.trainer.ports import Evaluate, Evaluation, Objective, Observer, Origin, P, Source, Start
from llama_factory.trainer.schedule import Rates, rates_of
from llama_factory.trainer.signals import LeaveNow, Stop
from llama_factory.trainer.update import HALF_MADE, Updater

PASSED_OVER = frozenset({"trainer.loss-not-finite", "trainer.gradient-not-finite"})
"""What a batch can be to blame for. A gradient of exactly 0 is no batch's fault."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """What became of the run.

    first_step, step: where this process began and ended. loss: mean over its steps, None if it had none to do.
    masters: the values after the last step in fp32 by parameter name. metrics: of the last evaluation, or of the best
    one where `best_step` says that the result in `folder` has its weights. stopped_early: before the plan's end.
    """

    first_step: int
    step: int
    epoch: float
    loss: float | None
    tokens: int
    elapsed_s: float
    masters: Mapping[str, Tensor]
    metrics: Mapping[str, float]
    resumed_from: Path | None
    folder: Path | None
    best_step: int | None = None
    stopped_early: bool = False


def fit(
    policy: P,
    source: Source,
    objective: Objective[P],
    plan: FitPlan,
    *,
    observers: Sequence[Observer] = (),
    checkpoints: Checkpoints | None = None,
    evaluate: Evaluate | None = None,
    origin: Origin = str,
) -> FitResult:
    """Train to the end of the plan, from the checkpoint that `checkpoints` finds or from the beginning.

    Seeds all generators with `plan.seed`. Without `checkpoints` nothing is written. A signal ends it after the
    current step with `Interrupted`, a number that is not finite with `DivergedError`; both save the last good state.
    """
    with Stop() as stop, Masters(policy.trainable(), master_dtype=plan.master_dtype) as masters:
        total = plan.total_steps(source.steps_per_epoch)
        listeners = Listeners(observers)
        optimizer = Optimizer(masters, policy.module, plan)
        threads = torch.get_num_threads()
        health = Health(plan, threads, total)
        updater = Updater(policy, objective, plan, masters, optimizer, origin, health, listeners.noticed)
        meter = Meter(total, time.monotonic(), Gauge(threads, _device(masters)))
        best = Best(
            plan.metric_for_best_model, plan.greater_is_better, plan.early_stopping_patience,
            plan.early_stopping_threshold,
        )  # fmt: skip
        loop = _Loop(
            policy, source, plan, listeners, checkpoints, evaluate,
            stop, masters, optimizer, updater, rates_of(plan, total), meter, best, health, total,
        )  # fmt: skip
        try:
            loop.begin()
            loop.run()
            return loop.finish()
        except LeaveNow:
            raise Interrupted("trainer.left-at-once", step=loop.step, kept=loop.kept or "-") from None
        finally:
            listeners.ended()


@dataclass(slots=True)
class _Loop(Generic[P]):
    """One run in progress. `step` counts updates made, `skipped` the batches passed over, and `kept` is the last
    checkpoint known to be whole."""

    policy: P
    source: Source
    plan: FitPlan
    listeners: Listeners
    checkpoints: Checkpoints | None
    evaluate: Evaluate | None
    stop: Stop
    masters: Masters
    optimizer: Optimizer
    updater: Updater[P]
    rates: Rates
    meter: Meter
    best: Best
    health: Health
    total: int
    first_step: int = 0
    step: int = 0
    epoch: float = 0.0
    skipped: int = 0
    evaluation_due: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    kept: Path | None = None
    resumed_from: Path | None = None

    def begin(self) -> None:
        """Seed, find the checkpoint to go on from, and tell where the run stands."""
        randomness.sow(self.plan.seed)
        found = self.checkpoints.find(self.masters.values) if self.checkpoints else None
        if found and found.state:
            self.kept = self.resumed_from = found.folder
            self._restore(found.state)
        trained = sum(value.numel() for value in self.masters.values.values())
        per_epoch = self.source.steps_per_epoch
        self.listeners.started(Start(self.step, self.total, per_epoch, trained, self.resumed_from, self.skipped))
        self.health.begin(self.step)
        self._notice((*(found.findings if found else ()), *self._standing(found.state if found else None)))

    def run(self) -> None:
        self.policy.module.train()
        if self.evaluation_due:
            self._evaluate()
        while self.step < self.total and not self.best.hopeless:
            if self.stop.requested:
                self._leave()
            source_state, random_state = self.source.state(), randomness.capture()
            began, computed = time.monotonic(), time.process_time()
            step = self.source.next_step()
            rate = self.rates.rate(self.step)
            try:
                loss, norm = self.updater.make(step, self.step + 1, rate, random_state)
            except (DivergedError, MachineError) as error:
                if self._may_pass_over(error):
                    self._pass_over(error, random_state)
                    continue
                raise self._unmade(error, source_state, random_state) from None
            self.step, self.epoch = self.step + 1, step.epoch
            self.meter.add(loss, step.tokens, time.monotonic() - began, time.process_time() - computed)
            self.source.on_update(self.step)
            self._after(loss, norm, rate)
        if self.best.hopeless and self.step < self.total:
            self._stop_early()

    def _stop_early(self) -> None:
        """Say why, and keep that it was so: the same command again must not train on."""
        if self.plan.save_strategy != "no" and self._has_news():
            self._save()
        values = {
            "step": self.step,
            "total": self.total,
            "metric": self.best.metric,
            "waited": self.best.waited,
            "best": "-" if self.best.value is None else f"{self.best.value:.4f}",
            "best_step": self.best.step,
        }
        self.listeners.noticed(Finding("trainer.stopped-early", "note", values=values))

    def finish(self) -> FitResult:
        self._refuse_broken_weights()
        self.updater.refuse_still(self.step)
        self.optimizer.settle()
        folder, best_step = self._publish()
        return FitResult(
            first_step=self.first_step,
            step=self.step,
            epoch=self.epoch,
            loss=self.meter.mean_loss,
            tokens=self.meter.tokens,
            elapsed_s=self.meter.elapsed_s(time.monotonic()),
            masters=self.masters.tensors(),
            metrics=self.metrics,
            resumed_from=self.resumed_from,
            folder=folder,
            best_step=best_step,
            stopped_early=self.best.hopeless and self.step < self.total,
        )

    def _publish(self) -> tuple[Path | None, int | None]:
        """Where the result lies, and the step of the best evaluation if it has those weights."""
        if not self.checkpoints:
            return None, None
        record = self.checkpoints.best() if self.plan.keep_best else None
        if record is None:
            return self.checkpoints.publish(self.masters.tensors()), None
        folder, self.metrics = self.checkpoints.publish_best(), record["metrics"]
        metric = self.plan.metric_for_best_model
        values = {"step": record["step"], "metric": metric, "value": f"{self.metrics[metric]:.4f}"}
        self.listeners.noticed(Finding("trainer.best-published", "note", str(folder), values))
        return folder, record["step"]

    def _may_pass_over(self, error: LlamaFactoryError) -> bool:
        """Weights that are broken themselves make every batch a bad one."""
        return error.id in PASSED_OVER and self.skipped < self.plan.skip_bad_batch and self.masters.finite()

    def _pass_over(self, error: LlamaFactoryError, random: Mapping[str, Tensor]) -> None:
        """Go on with the next batch as if this one had not been there: the run makes as many updates as planned."""
        self.skipped += 1
        self.masters.forget_gradients()
        randomness.put_back(random)
        values = {
            "step": self.step + 1, "found": error.values["found"], "rows": error.values["rows"],
            "number": self.skipped, "allowed": self.plan.skip_bad_batch,
        }  # fmt: skip
        self.listeners.noticed(Finding("trainer.batch-skipped", "warning", values=values))

    def _after(self, loss: StepLoss, norm: float, rate: float) -> None:
        """Tell, evaluate, save: what is due after this step, in this order."""
        plan, now = self.plan, time.monotonic()
        made = self.meter.of_step(self.step, self.epoch, loss, rate, norm, now)
        self.listeners.stepped(made)
        self._notice(self.health.stepped(made))
        if self.step % plan.logging_steps == 0 or self.step == self.total:
            told = self.meter.of_window(self.step, self.epoch, rate, norm, now)
            self.listeners.logged(told)
            self._notice(self.health.logged(told))
        self._notice(self.optimizer.said())
        if self.evaluate and self._due(plan.eval_strategy, plan.eval_steps):
            self.evaluation_due = True
            self._evaluate()
        if self._due(plan.save_strategy, plan.save_steps):
            self._save()

    def _due(self, strategy: Strategy, every: int) -> bool:
        return due(strategy, every, step=self.step, total=self.total, steps_per_epoch=self.source.steps_per_epoch)

    def _evaluate(self) -> None:
        """Changes nothing that training depends on, so a signal may break it off; it is then done after the resume."""
        if not self.evaluate:
            return
        before, metrics, failed = randomness.capture(), None, None
        self.policy.module.eval()
        try:
            with torch.no_grad(), self.optimizer.evaluating():
                metrics = self.stop.unless_stopped(self.evaluate)
        except MachineError as error:
            failed = error
        finally:
            self.policy.module.train()
            randomness.put_back(before)
        if failed is not None:
            raise self._kept_for(failed)
        self.evaluation_due = metrics is None
        if metrics is not None:
            self._tell_evaluation(metrics)

    def _tell_evaluation(self, metrics: Mapping[str, float]) -> None:
        self.metrics = metrics
        self.rates.evaluated(metrics)
        now = time.monotonic()
        left = self.meter.remaining_s(self.step, now)
        told = Evaluation(self.step, self.total, self.epoch, metrics, self.meter.elapsed_s(now), left)
        self.listeners.evaluated(told)
        self._notice(self.health.evaluated(told))
        for name, value in metrics.items():
            if not math.isfinite(value):
                values = {"name": name, "found": value, "step": self.step}
                self.listeners.noticed(Finding("trainer.evaluation-not-finite", "warning", values=values))
        if self.plan.keep_best or self.plan.early_stopping_patience is not None:
            self._compare(metrics)

    def _compare(self, metrics: Mapping[str, float]) -> None:
        """Keep the weights if no evaluation was better.

        After a resume `best/` may come from a step that is made again now: it is replaced by what is as good, and
        never by what is worse.
        """
        if not self.best.judge(metrics, self.step) or not self.plan.keep_best or not self.checkpoints:
            return
        kept, value = None, metrics[self.best.metric]
        with suppress(MachineError):  # a broken one is replaced
            kept = self.checkpoints.best()
        if kept is not None and self.best.gain(value, kept["metrics"][self.best.metric]) < 0:
            return
        self._refuse_broken_weights()
        finite = {name: figure for name, figure in metrics.items() if math.isfinite(figure)}
        record = {"step": self.step, "epoch": self.epoch, "metrics": finite}
        self.listeners.saved(self.step, self.checkpoints.keep_best(self.optimizer.result(), record))

    def _save(self, state: State | None = None) -> None:
        if not self.checkpoints:
            return
        self._refuse_broken_weights()
        self.kept = self.checkpoints.save(state or self._state())
        self.listeners.saved(self.step, self.kept)

    def _has_news(self) -> bool:
        """Whether steps were made that no checkpoint has."""
        return bool(self.checkpoints and self.step > self.first_step and self.kept != self.checkpoints.at(self.step))

    def _refuse_broken_weights(self) -> None:
        if not self.masters.finite():
            raise DivergedError("trainer.weights-not-finite", step=self.step, kept=self.kept or "-")

    def _leave(self) -> NoReturn:
        """Asked to stop: save what is new, then go, naming where it lies."""
        if self._has_news():
            self._save()
        id = "trainer.interrupted" if self.kept else "trainer.interrupted-unsaved"
        raise Interrupted(id, signal=self.stop.requested, step=self.step, total=self.total, kept=self.kept or "-")

    def _unmade(
        self, error: LlamaFactoryError, source: Mapping[str, int], random: Mapping[str, Tensor]
    ) -> LlamaFactoryError:
        """Save the state before the bad step, as the step was not made, and name it in the letter.

        Where the weights are broken nothing is saved, and they are what is told: no row is to blame. Nothing is saved
        either of an update that was broken off.
        """
        self.masters.forget_gradients()
        if error.id in PASSED_OVER and not self.masters.finite():
            return DivergedError("trainer.weights-not-finite", step=self.step, kept=self.kept or "-")
        if self._has_news() and error.id not in HALF_MADE:
            with suppress(LlamaFactoryError, MemoryError):  # the disk may be full too: the first trouble is told
                self._save(replace(self._state(), source=source, randomness=random))
        return type(error)(error.id, where=error.where, **{**error.values, "kept": self.kept or "-"})

    def _kept_for(self, error: MachineError) -> MachineError:
        """Save what was trained before an evaluation that could not be made, and name it in the letter."""
        if self._has_news():
            with suppress(LlamaFactoryError, MemoryError):  # the disk may be full too: the first trouble is told
                self._save()
        return MachineError(error.id, where=error.where, **{**error.values, "kept": self.kept or "-"})

    def _state(self) -> State:
        tensors, facts = self.optimizer.state()
        return State(
            step=self.step,
            total_steps=self.total,
            epoch=self.epoch,
            masters=self.masters.tensors(),
            optimizer=tensors,
            optimizer_facts=facts,
            result=self.optimizer.result(),
            rates=self.rates.state(),
            randomness=randomness.capture(),
            source=self.source.state(),
            meter=self.meter.state(time.monotonic()),
            evaluation_due=self.evaluation_due,
            best=self.best.state(),
            health={
                "skipped": self.skipped,
                "micro_batch_tokens": self.updater.room.limit,
                "still": self.updater.still,
            },
        )

    def _restore(self, state: State) -> None:
        self.step = self.first_step = state.step
        self.epoch = state.epoch
        self.evaluation_due = state.evaluation_due
        self.best.restore(state.best)
        self.masters.load(state.masters)
        self.optimizer.load(state.optimizer, state.optimizer_facts)
        self.rates.restore(state.rates)
        self.source.restore(state.source)
        self.meter.restore(state.meter)
        self.skipped = state.health.get("skipped", 0)
        self.updater.room.limit = state.health.get("micro_batch_tokens")
        self.updater.still = state.health.get("still", 0)
        randomness.put_back(state.randomness)

    def _notice(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.listeners.noticed(finding)

    def _standing(self, state: State | None) -> Iterator[Finding]:
        """What to say about a run that goes on."""
        if state is None:
            return
        values = {"step": self.step, "total": self.total, "epoch": f"{self.epoch:.2f}"}
        if self.step >= self.total:
            yield Finding("trainer.nothing-left", "note", str(self.kept), values)
            return
        yield Finding("trainer.resumed", "note", str(self.kept), values)
        if self.updater.room.limit is not None:
            yield Finding("trainer.micro-batch-kept", "note", str(self.kept), {"tokens": self.updater.room.limit})
        if state.total_steps != self.total:
            values = {"then": state.total_steps, "now": self.total}
            yield Finding("trainer.other-length", "note", str(self.kept), values)


def _device(masters: Masters) -> str:
    """Where the trained weights lie."""
    return next((str(value.device) for value in masters.values.values()), "cpu")
