"""Values of a configuration, arranged as the rooms below take them. Wiring only: nothing is computed here.

In: a `Run` and what earlier steps of a recipe found. Out: the plan of the loop, the checkpoints of the run,
the writer of the model's files, the listeners.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from llama_factory import data, machine, runs, storage, trainer
from llama_factory.config import Run
from llama_factory.config.keys import Section
from llama_factory.config.sections.method import PROMPTS
from llama_factory.errors import Language, OurFault
from llama_factory.machine import Precision
from llama_factory.model import audit, fingerprint, load, save, vocabulary, window
from llama_factory.model.locate import Folders
from llama_factory.model.quantised import loading
from llama_factory.model.quantised.asked import asked_by, differing
from llama_factory.recipes.moving import blocks, low_rank, moved_by, require_pages
from llama_factory.recipes.outcome import Outcome, Say, closing_lines, tell
from llama_factory.recipes.sources import source_of as source_of
from llama_factory.records import Finding, Foreseen
from llama_factory.render import Renderer
from llama_factory.trainer import Checkpoints, Evaluate, FitPlan, FitResult, Objective, Observer
from llama_factory.trainer.checkpoints import Fact
from llama_factory.trainer.observers import Console, Diagnosis, JsonLines, LossPlot, TensorBoard, TrainLog
from llama_factory.trainer.observers.listeners import Listeners

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from llama_factory.data import Prepared
    from llama_factory.model.policy import Policy

PLOT = "training_loss.png"
LOG = "trainer_log.jsonl"
TRAIN_LOG = "train.log"
HEALTH = "health.jsonl"
LINK = Path("logs") / TRAIN_LOG
"""In the working directory: where the tutorials look for the log of a run."""
RESOLVED = "resolved_config.yaml"


@dataclass(frozen=True)
class Bench:
    """What a recipe has found before it loads weights: the run, its model's folders, template and number formats.

    grown: rows that the model gets for new tokens.
    """

    run: Run
    output: Path
    folders: Folders
    renderer: Renderer
    device: str
    precision: Precision
    grown: vocabulary.Growth | None = None
    reopens: bool = False
    """What a run has made is opened again: nothing new is put on it."""
    checkpointing: bool = False
    """Activations are computed twice: the run says so, or its plan needs it."""

    @property
    def makes_new(self) -> bool:
        """Whether a new adapter is trained, and not one that is there already."""
        return not self.reopens and not self.run.trains_further

    @property
    def beneath(self) -> Mapping[str, Path]:
        """The adapters that stay as they are under the one that learns, by the names that the user wrote."""
        folders = self.folders.adapters if self.makes_new else self.folders.adapters[:-1]
        return dict(zip(self.run.model.adapter_name_or_path, folders, strict=False))


def bench_of(run: Run, folders: Folders, renderer: Renderer) -> Bench:
    loading.ready(run, folders, load.check_folder(folders.base))
    device = machine.pick_device(run.model.device_map)
    precision = machine.pick_precision(run.training.bf16, run.training.fp16, run.training.pure_bf16, device=device)
    require_pages(run, device)
    grown = vocabulary.for_training(run, folders, renderer)
    twice = bool(run.training.gradient_checkpointing)
    output = Path(str(run.training.output_dir))
    return Bench(run, output, folders, renderer, device, precision, grown, checkpointing=twice)


def ready(run: Run) -> None:
    """Torch set up for this machine, and kernels for it begun where the run will take them: beside what comes first."""
    from llama_factory.model.native import library as native

    machine.torch_setup()
    native.use(run.model.fused_layers and machine.pick_device(run.model.device_map) == "cpu")


def plan_of(run: Run, precision: Precision, policy: Policy | None = None) -> FitPlan:
    """policy: what is trained, where it is known already; some of it may learn at a rate of its own."""
    training, optimizer, schedule = run.training, run.training.optimizer, run.training.schedule
    best = run.evaluation.best
    return FitPlan(
        num_train_epochs=training.num_train_epochs,
        max_steps=training.max_steps,
        seed=training.seed,
        master_dtype=precision.master,
        optim=optimizer.kind,
        optim_args={} if optimizer.facts.projects else optimizer.args,
        paged=optimizer.optim.startswith("paged_"),
        low_rank=low_rank(optimizer),
        blocks=blocks(optimizer),
        learning_rate=optimizer.learning_rate,
        weight_decay=optimizer.weight_decay,
        adam_beta1=optimizer.betas[0],
        adam_beta2=optimizer.betas[1],
        adam_epsilon=optimizer.adam_epsilon,
        max_grad_norm=optimizer.max_grad_norm,
        skip_bad_batch=training.skip_bad_batch,
        rate_factors={} if policy is None else _rate_factors(run, policy),
        lr_scheduler_type=schedule.lr_scheduler_type,
        lr_scheduler_kwargs=schedule.kwargs,
        warmup_ratio=schedule.warmup_ratio,
        warmup_steps=schedule.warmup_steps,
        logging_steps=run.logging.logging_steps,
        eval_strategy=run.evaluation.eval_strategy,
        eval_steps=run.evaluation.eval_steps or run.logging.logging_steps,
        save_strategy=run.saving.save_strategy,
        save_steps=run.saving.save_steps,
        keep_best=best.keeps_best,
        early_stopping_patience=best.early_stopping_patience if best.early_stopping else None,
        early_stopping_threshold=best.early_stopping_threshold,
        metric_for_best_model=best.metric_for_best_model,
        greater_is_better=bool(best.greater_is_better),
    )


def _rate_factors(run: Run, policy: Policy) -> Mapping[str, float]:
    from llama_factory.model.methods import lora

    if run.method.finetuning_type != "lora":
        return {}
    return lora.rate_factors(policy.module, run.method.lora, run.training.optimizer.learning_rate)


def import_ahead() -> None:
    """Import what `policy_of` needs, before anybody waits for the kernels: they are compiled on another core."""
    from llama_factory.model import adapters, gated, lora, norm, policy, rotary, varlen  # noqa: F401


def policy_of(bench: Bench) -> tuple[Policy, Sequence[Finding]]:
    """The base model loaded, with what is to be trained attached to it, and what to tell about that."""
    from llama_factory.model import adapters, gated, lora, norm, rotary, varlen
    from llama_factory.model.methods import Start
    from llama_factory.model.native import library as native
    from llama_factory.model.policy import Policy
    from llama_factory.model.quantised import guards

    run, said = bench.run, list[Finding]()
    dtype, fused = bench.precision.compute, run.model.fused_layers
    dropout = run.training.noise.model_dropout
    longer = window.for_training(run, bench.folders.base, bench.folders.adapters)
    module = load.load_for(
        run, bench.folders.base, dtype=dtype, device=bench.device, say=said.append, dropout=dropout, longer=longer,
        grown=bench.grown,
    )  # fmt: skip
    said += [vocabulary.said(bench.grown)] if bench.grown else []
    # layers that round what they read answer to the last bit of it with another number: they are given torch's bits
    native.use(fused and bench.device == "cpu" and not guards.rounds_inputs(module))
    guards.keep_gradients(module)
    below, base = bench.folders.adapters, bench.folders.base
    said += differing(below, asked_by(run))
    if below and not bench.makes_new:
        attached = adapters.open(module, below, base, trainable=True, fused=fused)
    else:
        ids = tuple(bench.grown.sorted_ids) if bench.grown else ()
        attached = adapters.attach(module, run.method, Start(dtype, run.training.seed, fused, base, ids))
    if below and bench.makes_new:
        kind = run.method.finetuning_type
        attached = adapters.open_beneath(attached, below, base, method=kind, fused=fused)
    module = attached.module
    vocabulary.require_learning(module, bench.grown)
    if fused:
        norm.replace(module)
        gated.replace(module)
        rotary.replace(module)
        lora.join(module)
    if bench.checkpointing:
        cast("PreTrainedModel", module).gradient_checkpointing_enable({"use_reentrant": False})
    noise = run.training.noise.neftune_noise_alpha or 0.0
    packed = varlen.choose(run.model.flash_attn, device=bench.device, dtype=dtype, config=audit.shape(base))
    policy = Policy(
        module, sharing=fused, noise=noise, reference=_reference_of(bench, fused, longer), varlen_kernel=packed
    )
    if fused:
        policy.lay_out(machine.free_memory())
    return policy, [*said, *attached.said, *native.told()]


def _reference_of(bench: Bench, fused: bool, longer: window.Longer | None) -> Policy | None:
    """The base again where a loss is measured from it and training changes its own weights. Else: None."""
    from llama_factory.model.policy import Policy

    run = bench.run
    if run.method.adapts or run.training.loss.kind != "asft":
        return None
    module = load.load_for(
        run, bench.folders.base, dtype=bench.precision.compute, device=bench.device, longer=longer, grown=bench.grown
    )
    return Policy(module.requires_grad_(False), sharing=fused)


class ModelWriter:
    """Writes the model's own files into a folder. It is made before the weights are loaded, and told them then."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.module: nn.Module | None = None

    def __call__(self, folder: Path, masters: Mapping[str, Tensor]) -> None:
        """Trained weights, and beside them the tokenizer and the template that they were trained with."""
        if self.module is None:
            raise OurFault("trainer.nothing-to-save")
        bench = self._bench
        plain = bench.run.method.stage == "pt"
        save.trained_files(
            self.module,
            masters,
            bench.run,
            folder,
            base_folder=bench.folders.base,
            template_text="" if plain else bench.renderer.template_text,
            template_fingerprint="" if plain else bench.renderer.template_fingerprint,
            beneath=bench.beneath,
            continued=None if bench.makes_new else bench.folders.adapters[-1],
            grown=bench.grown,
        )
        files = bench.renderer.files()
        if plain and any(said.id == "render.plain-form" for said in bench.renderer.notices):
            del files["chat_template.jinja"]  # the model has none, and has learned none
        for name, content in files.items():
            (folder / name).write_bytes(content)
        if not bench.run.method.adapts:
            save.stop_everywhere(folder, bench.renderer.stop_ids)


def checkpoints_of(bench: Bench, rows: Prepared, writer: ModelWriter) -> Checkpoints:
    """The checkpoints of this run, and what makes it this run."""
    run = bench.run
    method, asked = run.method, asked_by(run)
    identity: dict[str, Fact] = {
        "stage": method.stage,
        "finetuning_type": method.finetuning_type,
        **({} if method.chosen is None else {key: str(value) for key, value in method.chosen.model_dump().items()}),
        **({} if asked is None else {"base in": asked.name}),
        "base weights": fingerprint.weights(bench.folders.base),
        "adapter_name_or_path": ", ".join(run.model.adapter_name_or_path),
        **{f"adapter {name}": fingerprint.adapter(one) for name, one in bench.beneath.items()},
        "template": bench.renderer.fingerprint,
        "rows": rows.train.fingerprint,
        "validation rows": rows.validation.fingerprint if rows.validation else "-",
        "rows a step": data.rows_per_step(run),
        "seed": run.training.seed,
        **({} if run.data.mixing.data_seed is None else {"data_seed": run.data.mixing.data_seed}),
        **({"streaming": run.data.mixing.buffer_size} if run.data.mixing.streaming else {}),
        **({"packing": run.data.cutoff_len} if data.packs_rows(run) else {}),
        "disable_shuffling": run.data.disable_shuffling,
        "compute format": bench.precision.compute,
        "fused_layers": run.model.fused_layers,
        **({} if run.model.cache_frozen_layers == "auto" else {"cache_frozen_layers": run.model.cache_frozen_layers}),
        **_apart(run.training.loss),
        **_apart(run.training.noise),
        **_apart(run.model.vocabulary),
        "master format": bench.precision.master,
        **moved_by(run.training.optimizer),
    }
    plan = plan_of(run, bench.precision)
    settings = {
        key: getattr(plan, key)
        for key in (
            "num_train_epochs", "max_steps", "learning_rate", "weight_decay", "adam_beta1", "adam_beta2",
            "adam_epsilon", "max_grad_norm", "lr_scheduler_type", "warmup_ratio", "warmup_steps",
        )
    }  # fmt: skip
    if run.training.schedule.lr_scheduler_kwargs:
        settings["lr_scheduler_kwargs"] = run.training.schedule.lr_scheduler_kwargs
    return Checkpoints(
        folder=bench.output,
        save_model=writer,
        identity=identity,
        settings=settings,
        resume=run.training.resume_from_checkpoint,
        overwrite=run.training.overwrite_output_dir,
        limit=run.saving.save_total_limit,
    )


def _apart(section: Section) -> dict[str, Fact]:
    """Keys that are not at their defaults: a run from before they were known is still the same run."""
    fields = type(section).model_fields
    return {key: str(value) for key, value in section.model_dump().items() if value != fields[key].default}


def judge_of(
    run: Run, policy: Policy, objective: Objective[Policy], rows: Prepared, observers: Sequence[Observer]
) -> Evaluate | None:
    """How the validation loss is found, if there are rows for it, and that of each data set if it is asked for.

    observers: those who listen to the training, who hear of memory that ran out in it.
    """
    if rows.validation is None:
        return None
    budget = data.token_budget(run)
    stores = rows.validated or {"eval_loss": rows.validation}
    parts = {name: partial(data.evaluation_batches, store, budget) for name, store in stores.items()}
    return trainer.mean_losses(policy, objective, parts, Listeners(observers).noticed)


def observers_of(run: Run, output: Path, say: Say, language: Language) -> Sequence[Observer]:
    diary = TrainLog(output / TRAIN_LOG, language, link=LINK, notice=lambda one: tell(say, [one], language))
    listeners: list[Observer] = [diary, Console(say, language), JsonLines(output / LOG),
                                 Diagnosis(output / HEALTH)]  # fmt: skip
    if "tensorboard" in run.logging.report_to:
        listeners.append(TensorBoard(Path(run.logging.logging_dir or output / "runs")))
    if run.logging.plot_loss:
        listeners.append(LossPlot(output / PLOT))
    return listeners


def write_resolved(run: Run, output: Path) -> None:
    """Every key with the value it had, so that the run can be repeated from this file alone."""
    storage.write_file(output / RESOLVED, run.resolved_yaml())


def commands_of(bench: Bench) -> Mapping[str, str]:
    """What can be typed next: `chat`, and `export` where there is something to merge."""
    run, output = bench.run, str(bench.output)
    adapted = run.method.adapts
    base = str(run.model.model_name_or_path)
    asked = {"model_name_or_path": base if adapted else output}
    if adapted:
        asked["adapter_name_or_path"] = ",".join((*bench.beneath, output))
    if run.data.template is not None:
        asked["template"] = run.data.template
    if run.data.enable_thinking is not None:
        asked["enable_thinking"] = str(run.data.enable_thinking).lower()
    words = " ".join(f"{key}={shlex.quote(value)}" for key, value in asked.items())
    merged = shlex.quote(output.rstrip("/") + "-merged")
    published = load.check_folder(bench.folders.base)
    merges = adapted and run.method.finetuning_type not in PROMPTS and "quantization_config" not in published
    quantised = asked_by(run)
    bits = (
        "" if quantised is None else "".join(f" {key}={str(value).lower()}" for key, value in quantised.note().items())
    )
    return {
        "chat": f"llamafactory-cli chat {words}{bits}",
        "export": f"llamafactory-cli export {words} export_dir={merged}" if merges else "",
    }


def outcome_of(bench: Bench, result: FitResult, language: Language, foreseen: Foreseen | None = None) -> Outcome:
    """What became of the run, and the last lines on screen: where everything lies, what can be done next."""
    commands = commands_of(bench)
    page = bench.output / runs.NAME
    lines = closing_lines(
        language,
        steps=result.step - result.first_step,
        seconds=result.elapsed_s,
        loss=result.loss,
        eval_loss=result.metrics.get("eval_loss"),
        folder=str(bench.output),
        files=[name for name in (PLOT, TRAIN_LOG, LOG, RESOLVED) if (bench.output / name).is_file()],
        page=str(page) if page.is_file() else "",
        chat=commands["chat"],
        export=commands["export"],
    )
    return Outcome(bench.output, result.step, result.loss, result.metrics.get("eval_loss"), lines, foreseen)
