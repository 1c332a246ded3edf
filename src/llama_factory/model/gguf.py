"""A llama.cpp file becomes a model folder: `python -m llama_factory.model.gguf model.gguf FOLDER`.

In: one GGUF file. Out: config.json, safetensors, tokenizer and template, as a publisher would have written them.
transformers reads the file; what it gets not quite right is put right here: the model it returns refuses to be
saved or trained, numbers of the configuration carry the dust of float32, the tokenizer has lost the rule that
digits stand alone, and knows no longest text.

Quantised weights are written as bfloat16. Rounding to it (2**-8 relative at most) is far below what the quantisation
itself has lost, and it is what models are published in: training, chat and export then begin with the very same
numbers. A file that holds float32 or float16 matrices keeps them exactly.

Deliberately not here: the way back (llama.cpp's own converter does it), and quantised training.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_factory import storage
from llama_factory.errors import InputError, LlamaFactoryError, MachineError
from llama_factory.model import spelling
from llama_factory.model.load import brief, quiet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

DIGITS_STAND_ALONE = frozenset({"smollm"})
"""GGUF pre-tokenizers that split every digit off, and whose split transformers (5.18) does not restore."""

_UNQUANTISED = {"F32": "float32", "F16": "float16"}
_CONFIG_DUST = ("_model_name_or_path", "quantization_config", "torch_dtype")
_GENERATION = ("bos_token_id", "eos_token_id", "pad_token_id", "transformers_version")
_TOKENIZER_DUST = ("is_local", "local_files_only", "backend")


def convert(gguf_file: Path, target: Path) -> None:
    """Write the model of `gguf_file` into `target`, a folder that is empty or not there yet."""
    _look(gguf_file)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError("model.target-not-empty", where=target)
    target.mkdir(parents=True, exist_ok=True)
    try:
        with quiet():
            pre_tokenizer, dtype = _facts(gguf_file)
            longest = _convert_weights(gguf_file, target, dtype)
            _convert_tokenizer(gguf_file, target, pre_tokenizer, longest)
    except (ValueError, KeyError, IndexError, NotImplementedError, RuntimeError, TypeError) as error:
        raise InputError("model.gguf-unknown", where=gguf_file, found=brief(error)) from error


def _look(file: Path) -> None:
    if not file.is_file():
        raise InputError("model.no-such-file", where=file)
    with file.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF":
        raise InputError("model.not-gguf", where=file, found=repr(magic))
    if find_spec("gguf") is None:
        raise MachineError("model.gguf-library", where=file)


def _facts(file: Path) -> tuple[str, str]:
    """The name of the pre-tokenizer, and the dtype for the weights."""
    from gguf import GGUFReader

    reader = GGUFReader(file)
    field = reader.get_field("tokenizer.ggml.pre")
    kinds = {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}
    dtype = _UNQUANTISED.get(kinds.pop(), "bfloat16") if len(kinds) == 1 else "bfloat16"
    return ("" if field is None else str(field.contents())), dtype


def _convert_weights(file: Path, target: Path, dtype: str) -> int | None:
    """Returns the longest text that the model takes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    # The model as read is marked as quantised for good and refuses to be saved: its values move to an unmarked one.
    with torch.device("meta"):
        model = type(read)(config)
    state = {name: value.to(getattr(torch, dtype)) for name, value in read.state_dict().items()}
    model.load_state_dict(state, strict=True, assign=True)
    model.tie_weights()
    model.save_pretrained(target)
    for made in target.glob("*.safetensors"):
        made.chmod((target / "config.json").stat().st_mode)
    said = json.loads((target / "config.json").read_text("utf-8"))
    _write(target / "config.json", {key: _tidy(value) for key, value in said.items() if key not in _CONFIG_DUST})
    spelling.for_other_readers(target / "config.json")
    generation = json.loads((target / "generation_config.json").read_text("utf-8"))
    _write(target / "generation_config.json", {key: generation[key] for key in generation if key in _GENERATION})
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return longest if isinstance(longest, int) else None


def _convert_tokenizer(file: Path, target: Path, pre_tokenizer: str, longest: int | None) -> None:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    if pre_tokenizer in DIGITS_STAND_ALONE:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ])  # fmt: skip
    tokenizer.save_pretrained(target)
    said = json.loads((target / "tokenizer_config.json").read_text("utf-8"))
    kept = {key: value for key, value in said.items() if key not in _TOKENIZER_DUST}
    # The name that transformers 4 and the tools around it know as well.
    kept["tokenizer_class"] = "PreTrainedTokenizerFast"
    if longest is not None:
        kept["model_max_length"] = longest
    _write(target / "tokenizer_config.json", kept)


def _tidy(value: Any) -> Any:
    """0.00001 was stored as float32 and came back as 9.999999747378752e-06: the shortest number that is it."""
    import numpy as np

    if isinstance(value, dict):
        return {key: _tidy(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_tidy(inner) for inner in value]
    return float(str(np.float32(value))) if isinstance(value, float) and float(np.float32(value)) == value else value


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def main(words: Sequence[str] | None = None) -> int:
    """Convert from the command line; the folder is whole or absent."""
    given = list(sys.argv[1:] if words is None else words)
    if len(given) != 2:
        sys.stderr.write("usage: python -m llama_factory.model.gguf FILE.gguf NEW_FOLDER\n")
        return 2
    file, target = Path(given[0]), Path(given[1])
    try:
        storage.write_directory(target, lambda fresh: convert(file, fresh))
    except LlamaFactoryError as error:
        sys.stderr.write(error.letter() + "\n")
        return error.exit_code
    sys.stdout.write(f"{file} -> {target}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
