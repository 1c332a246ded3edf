"""Where the examples and the small data sets that come with the program lie.

The real files stand at the root of the repository, where people read and edit them: `data/` and
`examples/`. A checkout (and an editable install of it) uses them there; the wheel carries copies in
this package, put there by `setup.py`. Both are answered by the same two functions. This package holds
no data of its own, opens nothing and writes nothing.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["data_folder", "examples_folder"]


def data_folder() -> Path:
    """The folder with `dataset_info.json` and the data sets it names."""
    return _folder("data")


def examples_folder() -> Path:
    """The folder with `quickstart.yaml` and the examples of the tutorials."""
    return _folder("examples")


def _folder(name: str) -> Path:
    beside = Path(__file__).parent / name
    return beside if beside.is_dir() else Path(__file__).parents[3] / name
