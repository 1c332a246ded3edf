"""How `load` makes or opens a model in fewer bits: what is needed for it, arguments for transformers, what is left.

In: a folder, what its config.json says, what is asked. Out: a `Way`, once it is known that it can be gone: packages
are looked for, and the checkpoint's headers are compared, before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from llama_factory import machine
from llama_factory.errors import InputError, MachineError
from llama_factory.model import weights
from llama_factory.model.quantised import bitsandbytes, checkpoints, guards, hqq, layers
from llama_factory.model.quantised.asked import EXTRA, Asked, asked_by, require_base
from llama_factory.model.quantised.checkpoints import Form
from llama_factory.records import Finding

if TYPE_CHECKING:
    from torch import nn

    from llama_factory.config import Run
    from llama_factory.model.locate import Folders

METHODS: Mapping[str, ModuleType] = {"bitsandbytes": bitsandbytes, "hqq": hqq}


@dataclass(frozen=True)
class Way:
    """asked: quantise while loading, or None; form: the folder is so already, or None. said: what to tell about it."""

    folder: Path
    asked: Asked | None
    form: Form | None
    said: tuple[Finding, ...] = ()

    def arguments(self, dtype: str, device: str) -> dict[str, Any]:
        """For `from_pretrained`."""
        if self.form is not None:
            return checkpoints.arguments(self.form, device)
        return {} if self.asked is None else METHODS[self.asked.method].arguments(self.asked, dtype, device)

    def finish(self, model: nn.Module, dtype: str, device: str) -> nn.Module:
        """The loaded model on `device`, its linear layers as asked."""
        if self.asked is not None:
            made: nn.Module = METHODS[self.asked.method].finish(model, self.asked, dtype, device)
            machine.set_files_aside(self.folder)  # what was quantised is not read any more
            return made
        return model.to(device) if self.form is None else model  # such a one was loaded there, and may not be moved

    def told(self, model: nn.Module, dtype: str) -> list[Finding]:
        """What the model takes now that it is there, beside what it would take in `dtype`."""
        import torch

        found = layers.quantised(model)
        if self.asked is None and self.form is None:
            return []
        name = self.asked.name if self.asked is not None else self.form.name if self.form is not None else ""
        if not found:
            raise InputError("model.quantised-nothing", where=self.folder, method=name)
        plain = layers.count(model) * torch.empty(0, dtype=getattr(torch, dtype)).element_size()
        values = {
            "layers": len(found), "name": name, "size": _size(layers.size(model)), "plain": f"{_size(plain)} ({dtype})"
        }  # fmt: skip
        return [*self.said, Finding("model.quantised-loaded", "note", str(self.folder), values)]


def way_of(folder: Path, said: Mapping[str, Any], asked: Asked | None) -> Way:
    """said: what config.json says. Raises what stands against it."""
    form = checkpoints.read(said, folder)
    if form is not None and asked is not None:
        raise InputError("model.quantised-twice", where=folder, found=form.name, bits=asked.bits)
    if form is not None:
        notes = checkpoints.look(form, folder)
        missing = _missing(checkpoints.PACKAGES[form.method])
        if missing:
            values = {"method": form.method, "missing": missing, "install": checkpoints.INSTALL[form.method]}
            raise MachineError("model.quantised-checkpoint-package", where=folder, **values)
        return Way(folder, None, form, tuple(notes))
    if asked is not None:
        require(asked)
    return Way(folder, asked, None)


def ready(run: Run, folders: Folders, said: Mapping[str, Any]) -> list[Finding]:
    """Raise what stands against training this run on these weights, before a row is read; what to tell else.

    said: what the base's config.json says.
    """
    folder = folders.base
    require_base(folders.adapters, asked_by(run))
    checkpoints.compare(run, checkpoints.read(said, folder), str(folder))
    way = way_of(folder, said, asked_by(run))
    if way.form is not None:
        guards.refuse_learning(run.method.finetuning_type, way.form.name, folder)
    return list(way.said)


def require(asked: Asked) -> None:
    """The packages for it, or the line that installs them. Nothing is imported."""
    missing = _missing(METHODS[asked.method].PACKAGES)
    if missing:
        values = {"method": asked.method, "missing": missing, "install": EXTRA}
        raise MachineError("model.quantised-package", where="quantization_bit", **values)


def _missing(names: Sequence[str]) -> str:
    """Of these packages those that are not installed; a folder of such a name beside the user's script is none."""
    return ", ".join(name for name in names if not _installed(name))


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _size(count: int) -> str:
    return f"{count / weights.GB:.2f} GB" if count >= weights.GB else f"{count / 10**6:.0f} MB"
