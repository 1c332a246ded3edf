"""Checkpoints of a run: folders `checkpoint-N` that are whole or absent, and the search for the one to go on from.

In: a folder, a writer for the model's own files, what makes this run this run. Out: saved and loaded `State`s.
A checkpoint holds all that the next step depends on: the model's files (as export and chat read them),
`optimizer.safetensors` (masters, moments), `rng.safetensors`, `trainer_state.json`. No pickle.
It knows nothing of the loop; that files are whole or absent is the work of `storage`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from llama_factory import storage
from llama_factory.errors import InputError, MachineError
from llama_factory.records import Finding
from llama_factory.storage.manifest import NAME as MANIFEST
from llama_factory.trainer.ports import SaveModel

Fact = str | int | float | bool | None

FORMAT = 1
MASTER = "master/"
OPTIMIZER = "optimizer.safetensors"
RANDOMNESS = "rng.safetensors"
STATE = "trainer_state.json"
BEST = "best"
RECORD = "best.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A moment between two steps.

    optimizer: `exp_avg/<name>` and the like; optimizer_facts: what it has beside tensors; rates: what a schedule has
    seen. result: the weights as they are used, where they are not the masters. meter: the figures since the last log
    line, so that the line after a resume is the mean of all its steps. evaluation_due: a signal came before it was
    done. best: the best evaluation so far, and how many were made since. health: batches passed over so far, the
    limit of a micro-batch since memory ran out, and how many updates in a row have changed nothing.
    """

    step: int
    total_steps: int
    epoch: float
    masters: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    randomness: Mapping[str, Tensor]
    source: Mapping[str, int]
    meter: Mapping[str, Any]
    evaluation_due: bool = False
    best: Mapping[str, Any] = field(default_factory=dict)
    health: Mapping[str, Any] = field(default_factory=dict)
    optimizer_facts: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Tensor] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Where to go on; nothing found is a start from step 0."""

    folder: Path | None
    state: State | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """What a run needs to save itself and to find itself again.

    folder: `output_dir`. save_model: writes the model's files into a folder that it is given.
    identity: what a resumed run may never differ in (data, base model, method, batch size).
    settings: what it may differ in when the user asks for it by `resume_from_checkpoint` (learning rate, ...).
    resume: None goes on with the same run if its checkpoints are there; True demands the newest one, a path
    that one; False starts anew. Whatever would write over another run is refused unless `overwrite`.
    limit: `save_total_limit`.
    """

    folder: Path
    save_model: SaveModel
    identity: Mapping[str, Fact]
    settings: Mapping[str, Fact] = field(default_factory=dict)
    resume: str | bool | None = None
    overwrite: bool = False
    limit: int | None = None

    def claim(self) -> None:
        """Before any work, and quickly: clear litter, refuse what cannot go well. The caller holds the lock."""
        storage.sweep(self.folder)
        self._choose(_newest_at_a_glance)

    def find(self, names: Iterable[str]) -> Found:
        """Load the checkpoint to go on from; `names` are the parameters that are trained now."""
        storage.sweep(self.folder)
        folder, broken, findings = self._choose(storage.find_newest)
        if folder is None:
            return Found(None, None, (*findings, *self._put_best_away()))
        if isinstance(self.resume, str):
            storage.verify(folder)
        state = _load(folder)
        _refuse_other_parameters(folder, state.masters, names)
        findings = [_put_away(found) for found in broken] + self._supersede(folder, state.step) + findings
        return Found(folder, state, tuple(findings))

    def at(self, step: int) -> Path:
        return self.folder / f"checkpoint-{step}"

    def save(self, state: State) -> Path:
        """Write `checkpoint-N`; older ones beyond the limit go only after it is whole."""
        target = self.at(state.step)
        storage.write_directory(target, lambda aside: self._write(aside, state), replace=True)
        if self.limit is not None:
            storage.retain(self.folder, max(1, self.limit))
        return target

    def publish(self, masters: Mapping[str, Tensor]) -> Path:
        """The result of the run: the model's files in `output_dir` itself."""
        storage.publish_files(self.folder, lambda aside: self.save_model(aside, masters))
        return self.folder

    def keep_best(self, masters: Mapping[str, Tensor], record: Mapping[str, Any]) -> Path:
        """The weights of the best evaluation so far, in `best/`, beside its step and figures."""

        def write(aside: Path) -> None:
            self.save_model(aside, masters)
            (aside / RECORD).write_text(json.dumps(dict(record), indent=1, allow_nan=False) + "\n", encoding="utf-8")

        storage.write_directory(self.folder / BEST, write, replace=True)
        return self.folder / BEST

    def best(self) -> Mapping[str, Any] | None:
        """The record of `best/`, whose files look whole; None when none was kept."""
        folder = self.folder / BEST
        if not (folder / RECORD).is_file():
            return None
        storage.glance(folder)
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return record

    def publish_best(self) -> Path:
        """The result of the run: the files of `best/`, all of whose bytes are as they were written."""
        storage.verify(self.folder / BEST)

        def copy(aside: Path) -> None:
            shutil.copytree(
                self.folder / BEST, aside, ignore=shutil.ignore_patterns(RECORD, MANIFEST), dirs_exist_ok=True
            )

        storage.publish_files(self.folder, copy)
        return self.folder

    def _put_best_away(self) -> list[Finding]:
        """A run that starts anew must not publish what another one kept."""
        folder = self.folder / BEST
        if not (folder / RECORD).is_file():
            return []
        if self.overwrite:
            storage.remove_directory(folder)
            return []
        moved = folder.rename(_free_name(self.folder / f"superseded-{BEST}"))
        return [Finding("trainer.best-put-away", "note", str(folder), {"moved": moved.name})]

    def _write(self, folder: Path, state: State) -> None:
        self.save_model(folder, state.masters if state.result is None else state.result)
        tensors = {f"{MASTER}{name}": value for name, value in state.masters.items()} | dict(state.optimizer)
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, folder / OPTIMIZER)
        save_file(dict(state.randomness), folder / RANDOMNESS)
        facts = {
            "format": FORMAT,
            "step": state.step,
            "total_steps": state.total_steps,
            "epoch": state.epoch,
            "source": dict(state.source),
            "meter": dict(state.meter),
            "evaluation_due": state.evaluation_due,
            "best": dict(state.best),
            "health": dict(state.health),
            "optimizer": dict(state.optimizer_facts),
            "rates": dict(state.rates),
            "identity": dict(self.identity),
            "settings": dict(self.settings),
        }
        (folder / STATE).write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def _choose(self, newest: Callable[[Path], tuple[Path | None, list[storage.Broken]]]) -> _Choice:
        """The folder to go on from (None: start anew), the newer ones that are broken, and what to say."""
        if self.overwrite and not self.resume:
            for old in storage.numbered(self.folder):
                storage.remove_directory(old)
            return None, [], []
        if isinstance(self.resume, str):
            return self._named(Path(self.resume))
        folder, broken = newest(self.folder)
        if folder is None and broken:
            reason = "; ".join(found.error.letter().splitlines()[0] for found in broken)
            raise MachineError("trainer.no-whole-checkpoint", where=self.folder, reason=reason)
        if folder is None or self.resume is False:
            self._refuse_to_overwrite()
            said = [Finding("trainer.no-checkpoint-yet", "note", str(self.folder))] if self.resume else []
            return None, [], said
        return folder, broken, self._compare(folder)

    def _named(self, folder: Path) -> _Choice:
        if not (folder / STATE).is_file():
            raise InputError("trainer.not-a-checkpoint", where=folder)
        storage.glance(folder)
        return folder, [], self._compare(folder)

    def _refuse_to_overwrite(self) -> None:
        if storage.numbered(self.folder) or (self.folder / MANIFEST).exists():
            raise InputError("trainer.folder-taken", where=self.folder)

    def _compare(self, folder: Path) -> list[Finding]:
        """The same run goes on; another one is refused; other settings pass if the user asked to resume."""
        facts = _facts(folder)
        if other := _differences(facts["identity"], self.identity):
            raise InputError("trainer.other-run", where=folder, differences=other)
        if not (other := _differences(facts["settings"], self.settings)):
            return []
        if not self.resume:
            raise InputError("trainer.other-settings", where=folder, differences=other)
        return [Finding("trainer.settings-changed", "warning", str(folder), {"differences": other})]

    def _supersede(self, chosen: Path, step: int) -> list[Finding]:
        """Going on from an older checkpoint begins a new branch: the old branch is kept under another name.

        Left in place, its higher numbers would win over the new branch at the next resume and when old ones go.
        """
        if not isinstance(self.resume, str) or chosen.resolve().parent != self.folder.resolve():
            return []
        findings = []
        for newer in storage.newest_whole(self.folder):
            if int(newer.name.rpartition("-")[2]) > step:
                moved = newer.rename(_free_name(self.folder / f"superseded-{newer.name}"))
                findings.append(Finding("trainer.superseded", "note", str(newer), {"moved": moved.name}))
        return findings


_Choice = tuple[Path | None, list[storage.Broken], list[Finding]]


def _free_name(path: Path) -> Path:
    number = 1
    while path.exists():
        number += 1
        path = path.with_name(f"{path.name.partition('~')[0]}~{number}")
    return path


def _newest_at_a_glance(folder: Path) -> tuple[Path | None, list[storage.Broken]]:
    """Without reading gigabytes: good enough to refuse a run early, not to load one."""
    whole = storage.newest_whole(folder)
    return whole[0] if whole else None, []


def _load(folder: Path) -> State:
    facts = _facts(folder)
    tensors = load_file(folder / OPTIMIZER)
    return State(
        step=facts["step"],
        total_steps=facts["total_steps"],
        epoch=facts["epoch"],
        masters={name.removeprefix(MASTER): tensor for name, tensor in tensors.items() if name.startswith(MASTER)},
        optimizer={name: tensor for name, tensor in tensors.items() if not name.startswith(MASTER)},
        randomness=load_file(folder / RANDOMNESS),
        source=facts["source"],
        meter=facts["meter"],
        evaluation_due=facts["evaluation_due"],
        best=facts.get("best", {}),  # earlier releases wrote none of these
        health=facts.get("health", {}),
        optimizer_facts=facts.get("optimizer", {}),
        rates=facts.get("rates", {}),
    )


def _facts(folder: Path) -> dict[str, Any]:
    """Its bytes are the ones that were written: the manifest was compared before."""
    facts: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    if facts["format"] != FORMAT:
        raise MachineError("trainer.other-format", where=folder, expected=FORMAT, found=facts["format"])
    return facts


def _differences(then: Mapping[str, Fact], now: Mapping[str, Fact]) -> str:
    """What only one of the two knows follows from what both know and say otherwise: the keys of another method."""
    differ = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    keys = [key for key in differ if key in then and key in now] or differ
    return "; ".join(f"{key}: {then.get(key)} -> {now.get(key)}" for key in keys)


def _refuse_other_parameters(folder: Path, saved: Mapping[str, Tensor], names: Iterable[str]) -> None:
    odd = sorted(set(saved) ^ set(names))
    if odd:
        raise InputError("trainer.other-parameters", where=folder, count=len(odd), first=odd[0])


def _put_away(found: storage.Broken) -> Finding:
    """Out of the way of new ones: a number that it holds must neither win nor count when old ones are removed."""
    moved = storage.set_aside(found.path)
    values = {"reason": found.error.letter().splitlines()[0], "moved": moved.name}
    return Finding("trainer.checkpoint-skipped", "warning", str(found.path), values)
