"""Every sentence that an error or a finding says, one table a room, both languages side by side."""

from __future__ import annotations

from collections.abc import Mapping

from llama_factory.errors.letters import (
    adapters,
    apps,
    commands,
    config,
    data,
    export,
    files,
    formats,
    generation,
    growing,
    loftq,
    machine,
    methods,
    mixing,
    model,
    moving,
    native,
    planner,
    prefix,
    quantised,
    render,
    runs,
    signs,
    storage,
    trainer,
    tuner,
)
from llama_factory.errors.letters.letter import Letter

__all__ = ["LETTERS", "Letter"]

LETTERS: Mapping[str, Letter] = {
    **adapters.LETTERS,
    **apps.LETTERS,
    **commands.LETTERS,
    **config.LETTERS,
    **data.LETTERS,
    **export.LETTERS,
    **files.LETTERS,
    **formats.LETTERS,
    **generation.LETTERS,
    **growing.LETTERS,
    **loftq.LETTERS,
    **machine.LETTERS,
    **methods.LETTERS,
    **mixing.LETTERS,
    **model.LETTERS,
    **moving.LETTERS,
    **native.LETTERS,
    **planner.LETTERS,
    **prefix.LETTERS,
    **quantised.LETTERS,
    **render.LETTERS,
    **runs.LETTERS,
    **signs.LETTERS,
    **storage.LETTERS,
    **trainer.LETTERS,
    **tuner.LETTERS,
}
