"""Which keys a command cannot do without.

Comes in: a run and the name of a command. Goes out: nothing, or every missing key at once, each with the line to add.
What it deliberately does not do: check a value; that was done when the run was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from llama_factory.config.keys import Command
from llama_factory.config.reading import raise_all
from llama_factory.config.run import Run
from llama_factory.errors import InputError, LlamaFactoryError

Asked = Command | Literal["show"]

REQUIRED: Mapping[Asked, Mapping[str, str]] = {
    "train": {
        "model_name_or_path": "models/SmolLM2-135M-Instruct",
        "dataset": "identity",
        "output_dir": "saves/my-model",
    },
    "show": {"model_name_or_path": "models/SmolLM2-135M-Instruct", "dataset": "identity"},
    "chat": {"model_name_or_path": "models/SmolLM2-135M-Instruct"},
    "export": {"model_name_or_path": "models/SmolLM2-135M-Instruct", "export_dir": "models/my-model"},
}
"""By command: the keys it needs, each with an example of its value."""


def require(run: Run, command: Asked) -> None:
    problems: list[LlamaFactoryError] = [
        InputError("config.missing", where=run.source, command=command, key=key, example=example)
        for key, example in REQUIRED[command].items()
        if not run.value(key) and not (key == "dataset" and run.data.tokenized_path)
    ]
    if command == "train" and not run.method.do_train:
        problems.append(InputError("config.nothing-to-do", where=run.where("do_train")))
    raise_all(problems)
