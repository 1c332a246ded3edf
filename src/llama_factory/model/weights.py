"""The safetensors files of a model folder: which there are, what is in them, and writing them anew.

In: a folder. Out: its entries (key, file, dtype, shape) read from the headers alone, or a new set of files
with the same keys. Headers are checked against the files' sizes, so a download that broke off is found
before anything is loaded. Pickled weights (.bin, .pt) are named and refused, never opened.

Deliberately not here: what a weight means (`load`, `adapters`), and the safety of the disk (`storage`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_factory.errors import InputError, ProofError

if TYPE_CHECKING:
    import torch

_STEM = "model"
SINGLE = f"{_STEM}.safetensors"
INDEX = f"{SINGLE}.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
GB = 10**9

BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
}  # fmt: skip
FLOATS = ("F64", "F32", "BF16", "F16")
TORCH_NAMES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
HEADER_NAMES = {name: header for header, name in TORCH_NAMES.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a folder, as its file's header describes it."""

    key: str
    file: Path
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        count = 1
        for side in self.shape:
            count *= side
        return count

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS


def files(folder: Path) -> list[Path]:
    """The weight files of a model folder in a stable order, or a letter that says what stands there instead."""
    index = folder / INDEX
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not index.is_file():
        raise _no_weights(folder)
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("model.broken-index", where=index, found=str(error)) from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError("model.missing-shard", where=folder, missing=", ".join(missing), count=len(missing))
    return [folder / name for name in names]


def entries(folder: Path) -> dict[str, Entry]:
    """Every tensor of the folder, in the order of the files; reads headers only."""
    found: dict[str, Entry] = {}
    for file in files(folder):
        for key, dtype, shape in header(file):
            found[key] = Entry(key, file, dtype, shape)
    return found


def header(file: Path) -> list[tuple[str, str, tuple[int, ...]]]:
    """(key, dtype, shape) of every tensor in one safetensors file whose size agrees with its header."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise InputError("model.truncated", where=file, found=size, expected=8 + length if size >= 8 else 8)
        try:
            table: dict[str, Any] = json.loads(stream.read(length))
            table.pop("__metadata__", None)
            ends = [int(value["data_offsets"][1]) for value in table.values()]
            listed = [(key, str(value["dtype"]), tuple(map(int, value["shape"]))) for key, value in table.items()]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError("model.not-safetensors", where=file) from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise InputError("model.truncated", where=file, found=size, expected=expected)
    return listed


def _no_weights(folder: Path) -> InputError:
    names = sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    pickled = [name for name in names if name.endswith(PICKLES) and name != "training_args.bin"]
    ggufs = [name for name in names if name.endswith(".gguf")]
    if "adapter_config.json" in names:
        return InputError("model.adapter-not-model", where=folder)
    if pickled:
        return InputError("model.pickled-weights", where=folder, found=", ".join(pickled[:3]))
    if ggufs:
        return InputError("model.gguf-only", where=folder, found=ggufs[0], file=folder / ggufs[0])
    return InputError("model.no-weights", where=folder, found=", ".join(names[:8]) or "-")


def read(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of the folder as it is stored, one at a time, mapped rather than read."""
    from safetensors import safe_open

    for file in files(folder):
        with safe_open(file, framework="pt") as opened:
            for key in opened.keys():  # noqa: SIM118  safe_open is no mapping
                yield key, opened.get_tensor(key)


def tensor(entry: Entry) -> torch.Tensor:
    """One tensor as it is stored."""
    from safetensors import safe_open

    with safe_open(entry.file, framework="pt") as opened:
        value: torch.Tensor = opened.get_tensor(entry.key)
    return value


def write(
    base: Path,
    state: Mapping[str, torch.Tensor],
    folder: Path,
    *,
    dtypes: Mapping[str, str],
    shard_bytes: int,
    known: Mapping[str, Entry] | None = None,
) -> list[Path]:
    """Write into `folder` the keys of `base`, no more and no fewer, with the values of `state`.

    state: by the base's keys. A key that `state` lacks (a buffer, a second name of a tied tensor) keeps the
    base's own value. dtypes: torch name by key, for floating tensors; integers stay what they are.
    known: by other names than the base's, where the model has grown; each entry says what it is called in the base.
    Shards are filled in the base's order and written one after another, so that no more than one is held.
    """
    known = entries(base) if known is None else known
    stray = sorted(set(state) - set(known))
    if stray:
        raise ProofError("model.stray-keys", where=folder, found=", ".join(stray[:5]), count=len(stray))
    shards = _shards(known, dtypes, shard_bytes)
    single = len(shards) == 1
    written: list[Path] = []
    weight_map: dict[str, str] = {}
    total = 0
    for number, keys in enumerate(shards, 1):
        name = SINGLE if single else f"{_STEM}-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors: dict[str, torch.Tensor] = {}
        for key in keys:
            if key in state:
                value = state[key]
                if tuple(value.shape) != known[key].shape:
                    raise ProofError(
                        "model.other-shape", where=key, found=tuple(value.shape), expected=known[key].shape
                    )
            else:
                value = tensor(known[key])
            # A copy of its own: safetensors refuses two keys that share memory, and tied tensors do.
            tensors[key] = cast(value, dtypes.get(key)).contiguous().clone()
            weight_map[key] = name
            total += tensors[key].numel() * tensors[key].element_size()
        save(tensors, folder / name)
        written.append(folder / name)
    if not single:
        table = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (folder / INDEX).write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        written.append(folder / INDEX)
    return written


def save(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    """One safetensors file, readable by whoever may read a new file here: the library alone makes it private."""
    from safetensors.torch import save_file

    file.touch()
    mode = file.stat().st_mode
    save_file(dict(tensors), file, metadata={"format": "pt"})
    file.chmod(mode)


def cast(value: torch.Tensor, dtype: str | None) -> torch.Tensor:
    """To the torch dtype of that name; None, and tensors that are not floating, stay."""
    import torch

    if dtype is None or not value.is_floating_point():
        return value.detach()
    return value.detach().to(getattr(torch, dtype))


def _shards(known: Mapping[str, Entry], dtypes: Mapping[str, str], shard_bytes: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    filled = 0
    for key, entry in known.items():
        dtype = HEADER_NAMES[dtypes[key]] if entry.is_float and key in dtypes else entry.dtype
        size = entry.elements * BYTES.get(dtype, 8)
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(key)
        filled += size
    return shards


def of_module(module: torch.nn.Module, known: Mapping[str, Entry]) -> dict[str, torch.Tensor]:
    """The module's state under the names of `known`, the entries of the folder that it was loaded from.

    transformers renames and fuses tensors while loading (experts); its own inverse is asked. It also takes files
    that lack the prefix of the class (`transformer.`), or have one too many. Second names of tied tensors that the
    files do not have either are left out. No tensor is copied by a renaming.
    """
    from transformers.core_model_loading import revert_weight_conversion

    whole: Any = module
    prefix = f"{whole.base_model_prefix}."
    state: dict[str, torch.Tensor] = {}
    for key, value in revert_weight_conversion(whole, module.state_dict()).items():
        spellings = (key, key.removeprefix(prefix), prefix + key)
        state[next((name for name in spellings if name in known), key)] = value
    placed = {value.data_ptr() for key, value in state.items() if key in known}
    return {key: value for key, value in state.items() if key in known or value.data_ptr() not in placed}
