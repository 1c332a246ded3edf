"""What would be found only when a model, an optimizer or its adapters are there, found before the weights are.

In: a run and its folders. Out: findings, errors among them. Each asks the very function that would refuse later, where
that needs names and shapes alone; torch is loaded only where a key asks for such a thing. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from llama_factory.config.optimizers import MODULES, extra_of
from llama_factory.config.sections.method import PROMPTS
from llama_factory.errors import InputError, LlamaFactoryError
from llama_factory.machine import pick_device, pick_precision
from llama_factory.model import adapters
from llama_factory.model import audit as model_audit
from llama_factory.model.methods.prompts import TOKENS
from llama_factory.records import Finding

if TYPE_CHECKING:
    from llama_factory.config import Run
    from llama_factory.model.locate import Folders
    from llama_factory.render import Renderer


def audit(run: Run, folders: Folders) -> Iterator[Finding]:
    yield from optimizer_library(run)
    yield from attention(run, folders.base)
    yield from projected(run, folders.base)
    yield from (one for one in chain(run, folders) if one.severity == "error")  # what else it says, opening them does


def optimizer_library(run: Run) -> Iterator[Finding]:
    """The package that the optimizer comes in is looked for, not loaded."""
    kind, library = run.training.optimizer.kind, run.training.optimizer.facts.library
    if library and find_spec(MODULES[library]) is None:
        values = {"found": kind, "library": library, "extra": extra_of(library)}
        yield Finding("machine.no-optimizer-library", "error", run.where("optim"), values)


def attention(run: Run, base: Path) -> Iterator[Finding]:
    """A kernel that was asked for by name, on the device and in the format of the run."""
    if run.model.flash_attn != "fa2":
        return
    from llama_factory.model import varlen

    training, device = run.training, pick_device(run.model.device_map)
    precision = pick_precision(training.bf16, training.fp16, training.pure_bf16, device=device)
    try:
        varlen.choose("fa2", device=device, dtype=precision.compute, config=model_audit.shape(base))
    except InputError as error:
        yield Finding(error.id, "error", run.where("flash_attn"), error.values)


def projected(run: Run, base: Path) -> Iterator[Finding]:
    """The matrices that GaLore or APOLLO would work on, and their rank, asked of the model without its weights."""
    optimizer = run.training.optimizer
    if not optimizer.facts.projects or run.method.adapts:
        return
    model = model_audit.without_weights(run, base)
    if model is None:  # the optimizer will be asked when the weights are there
        return
    from llama_factory.model.methods import Start
    from llama_factory.recipes.moving import low_rank
    from llama_factory.trainer import FitPlan
    from llama_factory.trainer.optimizers import groups

    try:
        learning = adapters.attach(model, run.method, Start("float32", run.training.seed, base_folder=base)).module
    except LlamaFactoryError:  # `model.audit_method` says so
        return
    values = {name: value for name, value in learning.named_parameters() if value.requires_grad}
    try:
        groups.projected(groups.Asked(values, learning, FitPlan(optim=optimizer.kind, low_rank=low_rank(optimizer))))
    except InputError as error:
        yield Finding(error.id, "error", error.where or run.where("optim"), error.values)


def chain(run: Run, folders: Folders) -> Iterator[Finding]:
    """Adapters that do not belong on this base, or do not add up, or need others beneath them."""
    said = list[Finding]()
    try:
        adapters.check_together(folders.adapters, folders.base, said, beside=0 if run.trains_further else 1)
    except LlamaFactoryError as error:
        said.append(Finding(error.id, "error", error.where, error.values))
    yield from said


def learned_tokens(run: Run, folders: Folders, renderer: Renderer) -> int:
    """How many tokens stand before every row that are learned and no part of it."""
    method, prompts = run.method.finetuning_type, run.method.prompts
    if method not in PROMPTS:
        return 0
    if run.trains_further:
        return int(adapters.settings(folders.adapters[-1]).get("num_virtual_tokens") or 0)
    text = prompts.prompt_init_text if method == "prompt_tuning" else None
    words = len(renderer.tokenizer.rust.encode(text, add_special_tokens=False).ids) if text else 0
    return prompts.num_virtual_tokens or words or TOKENS
