"""What keys may not say together.

Comes in: a run whose keys were each read. Goes out: findings (worth a line), or every contradiction at once
as an error. A rule is a function that yields what it found; RULES lists them all. A rule about a key whose own
value was refused stays silent: that letter is written already.

What it deliberately does not do: demand a key. `require` does, because each command needs others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from llama_factory.config.growing import new_tokens_fit
from llama_factory.config.moving import one_optimizer, optimizer_fits, schedule_fits
from llama_factory.config.reading import raise_all
from llama_factory.config.said import Said, changed, unused
from llama_factory.config.sections.method import PROMPTS
from llama_factory.errors import InputError, LlamaFactoryError
from llama_factory.records import Finding

if TYPE_CHECKING:
    from llama_factory.config.run import Run

MODULES_IN_LAYERS = "freeze_trainable_modules"

Rule = Callable[["Run"], Iterator[Said]]


def check(run: Run, places: Mapping[str, str], broken: frozenset[str]) -> tuple[Finding, ...]:
    problems: list[LlamaFactoryError] = []
    findings: list[Finding] = []
    for said in (said for rule in RULES for said in rule(run)):
        if broken.intersection(said.keys):
            continue
        where = ", ".join(dict.fromkeys(places[key] for key in said.keys if key in places))
        if said.severity == "error":
            problems.append(InputError(said.id, where=where, **said.values))
        else:
            findings.append(Finding(said.id, said.severity, where, said.values))
    raise_all(problems)
    return tuple(findings)


def one_precision(run: Run) -> Iterator[Said]:
    training = run.training
    pairs = (
        ("bf16: true", training.bf16 is True, "fp16: true", training.fp16 is True),
        ("pure_bf16: true", training.pure_bf16, "fp16: true", training.fp16 is True),
        ("pure_bf16: true", training.pure_bf16, "bf16: false", training.bf16 is False),
    )
    for first, first_holds, second, second_holds in pairs:
        if first_holds and second_holds:
            keys = (first.split(":")[0], second.split(":")[0])
            yield Said("config.two-precisions", keys, {"first": first, "second": second})


def one_source_of_validation(run: Run) -> Iterator[Said]:
    if run.data.val_size and run.data.eval_dataset:
        yield Said("config.two-validations", ("val_size", "eval_dataset"), {})
    for name in run.data.eval_dataset:
        if name in run.data.dataset:
            keys = ("dataset", "eval_dataset")
            yield Said("config.validated-on-training", keys, {"found": name}, severity="warning")


def validation_has_data(run: Run) -> Iterator[Said]:
    data, evaluation = run.data, run.evaluation
    if evaluation.do_eval and evaluation.eval_strategy == "no":
        yield Said("config.two-evaluations", ("do_eval", "eval_strategy"), {})
    if not (data.val_size or data.eval_dataset):
        wanted = "do_eval" if evaluation.do_eval else evaluation.best.asked_by
        asked = {wanted: "true"} if wanted else {"eval_strategy": evaluation.eval_strategy}
        for key, found in asked.items():
            if found != "no":
                about = (key, "eval_strategy", "val_size", "eval_dataset")
                yield Said("config.no-validation-data", about, {"key": key, "found": found})
    elif evaluation.eval_strategy == "no" and not evaluation.do_eval and not evaluation.best.asked_by:
        key = "val_size" if data.val_size else "eval_dataset"
        yield Said("config.never-measured", (key, "eval_strategy", "do_eval"), {"key": key}, severity="warning")


def the_best_is_measured(run: Run) -> Iterator[Said]:
    best = run.evaluation.best
    if best.asked_by and run.evaluation.eval_strategy == "no":
        yield Said("config.best-never-measured", (best.asked_by, "eval_strategy"), {"key": best.asked_by})
    if best.metric_for_best_model not in ("eval_loss", *run.data.loss_names.values()):
        known = ", ".join(("eval_loss", *run.data.loss_names.values()))
        values = {"found": best.metric_for_best_model, "known": known}
        yield Said("config.best-by-nothing", ("metric_for_best_model", "eval_on_each_dataset"), values)
    if best.greater_is_better:
        keys = ("greater_is_better", "metric_for_best_model")
        yield Said("config.best-is-worst", keys, {"metric": best.metric_for_best_model})
    if not best.asked_by and not run.training.schedule.shape.listens:
        for key in ("metric_for_best_model", "greater_is_better"):
            if key in best.model_fields_set:
                yield unused(key, "load_best_model_at_end", "false")
    if not best.early_stopping:
        for key in ("early_stopping_patience", "early_stopping_threshold"):
            if changed(run, key):
                yield unused(key, "early_stopping", "false")


def one_way_to_learn(run: Run) -> Iterator[Said]:
    learning = run.data.learning
    if learning.train_on_prompt and learning.mask_history:
        yield Said("config.two-ways-to-learn", ("train_on_prompt", "mask_history"), {})


def the_mixture_fits(run: Run) -> Iterator[Said]:
    mixing, sets = run.data.mixing, len(run.data.dataset)
    keys = ("interleave_probs", "dataset")
    if mixing.interleave_probs and mixing.mix_strategy == "concat":
        yield Said("config.probs-without-interleaving", ("interleave_probs", "mix_strategy"), {})
    elif mixing.interleave_probs and len(mixing.interleave_probs) != sets:
        yield Said("config.probs-count", keys, {"found": len(mixing.interleave_probs), "expected": sets})
    elif mixing.interleave_probs and abs(sum(mixing.interleave_probs) - 1) > 1e-6:
        yield Said("config.probs-sum", keys[:1], {"found": f"{sum(mixing.interleave_probs):.6g}"})
    elif mixing.mix_strategy != "concat" and sets == 1:
        yield unused("mix_strategy", "dataset", run.data.dataset[0])
    if mixing.neat_packing and mixing.packing is False:
        yield Said("config.two-packings", ("packing", "neat_packing"), {})
    if run.data.eval_on_each_dataset and not (run.data.eval_dataset or run.data.val_size):
        yield Said("config.no-validation-data", ("eval_on_each_dataset", "val_size", "eval_dataset"),
                   {"key": "eval_on_each_dataset", "found": "true"})  # fmt: skip


def a_stream_is_read_as_it_comes(run: Run) -> Iterator[Said]:
    mixing, data = run.data.mixing, run.data
    if not mixing.streaming:
        if changed(run, "buffer_size"):
            yield unused("buffer_size", "streaming", "false")
        return
    if run.training.max_steps <= 0:
        yield Said("config.stream-needs-steps", ("streaming", "max_steps"), {})
    in_turn = mixing.mix_strategy != "concat" and len(data.dataset) > 1
    cannot = (
        ("cache_frozen_layers", run.model.cache_frozen_layers == "true", "cache_frozen_layers: true"),
        ("val_size", 0 < data.val_size < 1, f"val_size: {data.val_size:g}"),
        ("tokenized_path", data.tokenized_path is not None, "tokenized_path"),
        ("eval_strategy", run.evaluation.eval_strategy == "epoch", "eval_strategy: epoch"),
        ("save_strategy", run.saving.save_strategy == "epoch", "save_strategy: epoch"),
        (
            "disable_shuffling",
            data.disable_shuffling and in_turn,
            f"disable_shuffling, mix_strategy: {mixing.mix_strategy}",
        ),
        ("eval_on_each_dataset", data.eval_on_each_dataset and bool(data.val_size), "eval_on_each_dataset, val_size"),
    )
    for key, wanted, other in cannot:
        if wanted:
            yield Said("config.stream-cannot", ("streaming", key), {"other": other})


def texts_have_no_turns(run: Run) -> Iterator[Said]:
    if run.method.stage != "pt":
        return
    for key in ("train_on_prompt", "mask_history"):
        if run.value(key):
            yield unused(key, "stage", "pt")
    if run.data.on_too_long is not None:
        yield unused("on_too_long", "stage", "pt")


def one_warmup(run: Run) -> Iterator[Said]:
    schedule = run.training.schedule
    if schedule.warmup_ratio and schedule.warmup_steps:
        yield Said("config.two-warmups", ("warmup_ratio", "warmup_steps"), {})
    if not schedule.shape.warms_up:
        for key in ("warmup_ratio", "warmup_steps"):
            if run.value(key):
                yield unused(key, "lr_scheduler_type", schedule.lr_scheduler_type)


def method_fits(run: Run) -> Iterator[Said]:
    method = run.method
    kind = method.finetuning_type
    if not method.adapts and run.model.adapter_name_or_path:
        keys = ("finetuning_type", "adapter_name_or_path")
        yield Said("config.adapter-without-lora", keys, {"found": kind})
    freeze, oft = method.freeze, method.oft
    new_blocks = freeze.use_llama_pro and freeze.llama_pro_blocks
    if kind == "freeze" and not (freeze.freeze_trainable_layers or freeze.freeze_extra_modules or new_blocks):
        needed = ("finetuning_type", "freeze_trainable_layers", "freeze_extra_modules")
        yield Said("config.nothing-learns", needed, {})
    elif kind == "freeze" and not (freeze.freeze_trainable_layers or new_blocks) and changed(run, MODULES_IN_LAYERS):
        yield unused(MODULES_IN_LAYERS, "freeze_trainable_layers", "0")
    if kind == "oft" and oft.oft_rank and oft.oft_block_size not in (0, 32):
        values = {"rank": oft.oft_rank, "block": oft.oft_block_size}
        yield Said("config.two-block-sizes", ("oft_rank", "oft_block_size"), values)
    if kind == "oft" and not oft.oft_rank and not oft.oft_block_size:
        yield Said("config.no-block-size", ("oft_rank", "oft_block_size"), {})
    for section in dict.fromkeys(method.sections.values()):
        if section != method.chosen:
            yield from (unused(key, "finetuning_type", kind) for key in type(section).model_fields if changed(run, key))


def learned_prompts_fit(run: Run) -> Iterator[Said]:
    kind, prompts = run.method.finetuning_type, run.method.prompts
    if kind not in PROMPTS:
        return
    if kind == "prefix_tuning" and run.training.gradient_checkpointing:
        yield Said("config.prefix-checkpointing", ("finetuning_type", "gradient_checkpointing"), {})
    uses = {
        "prompt_init_text": kind == "prompt_tuning",
        "encoder_reparameterization_type": kind == "p_tuning",
        "encoder_hidden_size": kind == "p_tuning" or prompts.prefix_projection,
        "prefix_projection": kind == "prefix_tuning",
    }
    for key, used in uses.items():
        if not used and changed(run, key):
            yield unused(key, "finetuning_type", kind)


def lora_fits(run: Run) -> Iterator[Said]:
    lora, kind, adapters = run.method.lora, run.method.finetuning_type, run.model.adapter_name_or_path
    if kind != "lora":
        if lora.create_new_adapter and adapters and run.method.adapts:
            values = {"key": f"finetuning_type: {kind}"}
            yield Said("config.new-adapter-must-add", ("create_new_adapter", "finetuning_type"), values)
        return
    if lora.pissa_init:
        for key in ("use_dora", "use_rslora"):
            if getattr(lora, key):
                yield Said("config.pissa-alone", ("pissa_init", key), {"key": key})
    elif changed(run, "pissa_iter"):
        yield unused("pissa_iter", "pissa_init", "false")
    if lora.create_new_adapter and not adapters:
        yield unused("create_new_adapter", "adapter_name_or_path", "null")
    elif lora.create_new_adapter and (lora.use_dora or lora.additional_target):
        key = "use_dora" if lora.use_dora else "additional_target"
        yield Said("config.new-adapter-must-add", ("create_new_adapter", key), {"key": key})
    if changed(run, "loraplus_lr_embedding"):
        if lora.loraplus_lr_ratio is None:
            yield unused("loraplus_lr_embedding", "loraplus_lr_ratio", "null")
        elif lora.lora_target == ("all",):
            yield unused("loraplus_lr_embedding", "lora_target", "all")


def loftq_has_something_to_make_up_for(run: Run) -> Iterator[Said]:
    lora, bits = run.method.lora, run.model.quantization.quantization_bit
    if run.method.finetuning_type != "lora":
        return
    if lora.loftq_iter > 1:
        yield Said("config.loftq-one-round", ("loftq_iter",), {"found": lora.loftq_iter})
    if lora.loftq_init and bits is None:
        yield Said("config.loftq-needs-bits", ("loftq_init", "quantization_bit"), {})
    if lora.loftq_init and lora.create_new_adapter and run.model.adapter_name_or_path:
        yield Said("config.loftq-on-top", ("loftq_init", "create_new_adapter"), {})


def kept_layers_stay_the_same(run: Run) -> Iterator[Said]:
    """What shows here; whether other layers give the same in every epoch is asked of the model itself."""
    kind, noise = run.method.finetuning_type, run.training.noise.neftune_noise_alpha
    if run.model.cache_frozen_layers == "true":
        if kind == "full" or kind in PROMPTS:
            values = {"key": "finetuning_type", "found": kind}
            yield Said("config.nothing-to-keep", ("cache_frozen_layers", "finetuning_type"), values)
        if noise:
            values = {"key": "neftune_noise_alpha", "found": f"{noise:g}"}
            yield Said("config.nothing-to-keep", ("cache_frozen_layers", "neftune_noise_alpha"), values)


def quantised_weights_stay_frozen(run: Run) -> Iterator[Said]:
    keys, kind = run.model.quantization, run.method.finetuning_type
    bits, method = keys.quantization_bit, keys.quantization_method
    if bits is None:
        for key in ("quantization_method", "quantization_type", "double_quantization"):
            if changed(run, key):
                yield unused(key, "quantization_bit", "null")
        return
    if kind != "lora":
        yield Said("config.quantised-learns", ("quantization_bit", "finetuning_type"), {"bits": bits, "found": kind})
    elif run.method.lora.pissa_init:
        yield Said("config.quantised-pissa", ("quantization_bit", "pissa_init"), {"bits": bits})
    if method == "bitsandbytes" and bits not in (8, 4):
        yield Said("config.quantised-bits", ("quantization_bit", "quantization_method"), {"bits": bits})
    other = {"quantization_bit": bits} if bits != 4 else {"quantization_method": method} if method == "hqq" else {}
    for key in ("quantization_type", "double_quantization"):
        for by, value in other.items():
            if changed(run, key):
                yield unused(key, by, value)


def one_loss(run: Run) -> Iterator[Said]:
    loss = run.training.loss
    keys = {"dft": "use_dft_loss", "eaft": "use_eaft_loss", "asft": "use_asft_loss"}
    if len(loss.kinds) > 1:
        asked = tuple(keys.get(kind, "label_smoothing_factor") for kind in loss.kinds)
        yield Said("config.two-losses", asked, {"found": ", ".join(asked)})
    for key, by in (("eaft_alpha", "use_eaft_loss"), ("asft_alpha", "use_asft_loss")):
        if changed(run, key) and not run.value(by):
            yield unused(key, by, "false")


def new_blocks_are_asked_for_whole(run: Run) -> Iterator[Said]:
    method, freeze = run.method, run.method.freeze
    if freeze.llama_pro_blocks is not None and not freeze.use_llama_pro:
        yield unused("llama_pro_blocks", "use_llama_pro", "false")
    if not freeze.use_llama_pro:
        return
    if method.finetuning_type != "freeze":
        yield Said("config.pro-needs-freeze", ("use_llama_pro", "finetuning_type"), {"found": method.finetuning_type})
    if freeze.llama_pro_blocks is not None and freeze.freeze_trainable_layers != 2:
        yield unused("freeze_trainable_layers", "llama_pro_blocks", freeze.llama_pro_blocks)


def answers_can_be_drawn(run: Run) -> Iterator[Said]:
    generation = run.generation
    if generation.do_sample and generation.temperature == 0:
        yield Said("config.temperature-zero", ("do_sample", "temperature"), {})
    if generation.max_length is not None and generation.max_new_tokens is not None:
        yield unused("max_length", "max_new_tokens", generation.max_new_tokens)


def weights_are_safetensors(run: Run) -> Iterator[Said]:
    if run.export.export_legacy_format:
        values = {"key": "export_legacy_format", "found": "true"}
        yield Said("config.no-pickle", ("export_legacy_format",), values)


def folders_differ(run: Run) -> Iterator[Said]:
    """A run must not write into the model that it reads."""
    base = run.model.model_name_or_path
    pairs = (
        ("output_dir", run.training.output_dir, "model_name_or_path", base),
        ("export_dir", run.export.export_dir, "model_name_or_path", base),
        *(("export_dir", run.export.export_dir, "adapter_name_or_path", one) for one in run.model.adapter_name_or_path),
    )
    for key, folder, other, source in pairs:
        if folder and source and os.path.normpath(folder) == os.path.normpath(source):
            yield Said("config.same-folder", (key, other), {"key": key, "other": other})


def every_key_counts(run: Run) -> Iterator[Said]:
    """A key that another key switches off is worth a line, unless it only repeats its default."""
    if run.evaluation.eval_strategy != "steps" and run.evaluation.eval_steps is not None:
        yield unused("eval_steps", "eval_strategy", run.evaluation.eval_strategy)
    if run.saving.save_strategy != "steps" and run.saving.save_steps != 500:
        yield unused("save_steps", "save_strategy", run.saving.save_strategy)
    if run.training.max_steps > 0 and run.training.num_train_epochs != 3:
        yield unused("num_train_epochs", "max_steps", run.training.max_steps)


RULES: tuple[Rule, ...] = (
    one_precision,
    one_source_of_validation,
    validation_has_data,
    the_best_is_measured,
    one_way_to_learn,
    the_mixture_fits,
    texts_have_no_turns,
    a_stream_is_read_as_it_comes,
    one_warmup,
    one_optimizer,
    optimizer_fits,
    schedule_fits,
    method_fits,
    learned_prompts_fit,
    lora_fits,
    loftq_has_something_to_make_up_for,
    new_tokens_fit,
    kept_layers_stay_the_same,
    quantised_weights_stay_frozen,
    one_loss,
    new_blocks_are_asked_for_whole,
    answers_can_be_drawn,
    weights_are_safetensors,
    folders_differ,
    every_key_counts,
)
