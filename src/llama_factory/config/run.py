"""`Run`: everything that one command was asked to do, frozen.

Comes in: sections whose keys were read. Goes out: the same, checked across keys (`rules`), with the
place that each key was given at, so that any later room can name the line.
What it deliberately does not do: read a file, or know whether a path exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationInfo, model_validator

from llama_factory.config.keys import leaves
from llama_factory.config.rules import check
from llama_factory.config.sections.data import Data
from llama_factory.config.sections.method import Method, Stage
from llama_factory.config.sections.model import Model
from llama_factory.config.sections.training import Evaluation, Logging, Saving, Training
from llama_factory.config.sections.using import Export, Generation
from llama_factory.config.writing import line
from llama_factory.records import Finding


@dataclass(frozen=True)
class Given:
    """Where each key was given, and what was found on the way."""

    source: str = ""
    places: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[Finding, ...] = ()
    broken: frozenset[str] = frozenset()


class Run(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    model: Model = Model()
    method: Method = Method()
    data: Data = Data()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    saving: Saving = Saving()
    logging: Logging = Logging()
    generation: Generation = Generation()
    export: Export = Export()

    _given: Given = PrivateAttr(default_factory=Given)

    @model_validator(mode="after")
    def _check_across_keys(self, info: ValidationInfo) -> Run:
        given = info.context if isinstance(info.context, Given) else Given()
        findings = check(self, given.places, given.broken)
        self._given = Given(given.source, given.places, (*given.notices, *findings), given.broken)
        return self

    @property
    def stage(self) -> Stage:
        return self.method.stage

    @property
    def source(self) -> str:
        """The file or the caller that the configuration came from; empty when built in Python."""
        return self._given.source

    @property
    def notices(self) -> tuple[Finding, ...]:
        """What was accepted and is worth a line: other spellings, keys without effect."""
        return self._given.notices

    def where(self, key: str) -> str:
        """`train.yaml:12` for a key that was given, the source for one that was not."""
        return self._given.places.get(key, self._given.source)

    def value(self, key: str) -> Any:
        """The value of a key by its flat name."""
        found: Any = self
        for part in leaves(Run)[key].path:
            found = getattr(found, part)
        return getattr(found, key)

    @property
    def given(self) -> frozenset[str]:
        """The keys that were written down, as opposed to left at their default."""
        return frozenset(key for key, leaf in leaves(Run).items() if key in self._at(leaf.path).model_fields_set)

    @property
    def trains_further(self) -> bool:
        """Whether the last of `adapter_name_or_path` goes on learning, and no adapter is made."""
        return bool(self.model.adapter_name_or_path) and not self.method.lora.create_new_adapter

    def _at(self, path: tuple[str, ...]) -> BaseModel:
        found: Any = self
        for part in path:
            found = getattr(found, part)
        section: BaseModel = found
        return section

    def resolved(self) -> dict[str, Any]:
        """Every key with its value, flat, in the order of the sections; secrets are left out."""
        flat = {key: self.value(key) for key, leaf in leaves(Run).items() if not leaf.about.secret}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in flat.items()}

    def resolved_yaml(self) -> str:
        """`resolved()` as a file that loads as this very run again."""
        return "".join(f"{line(key, value)}\n" for key, value in self.resolved().items())
