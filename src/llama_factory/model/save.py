"""What training made, as files that other programs read.

In: the trained module, its fp32 masters, the run, an empty folder. Out, for adapters: `adapter_model.safetensors` in
fp32 and `adapter_config.json`, peft's own format; for full and freeze: the base's weight files with the trained
values in them, in the dtype that they were trained in, and the base's other files. Always `llama_factory.json`,
which knows the base by hash. Everything written is opened again and looked at before this returns.

Deliberately not here: whole-or-absent (the caller gives a folder of `storage.write_directory`), the tokenizer and
the template (`renderer.files()`), merging (`export`).
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import ProofError
from llama_factory.model import adapters, expansion, fingerprint, going_on, spelling, vocabulary, weights, window
from llama_factory.model.methods import loftq, pissa
from llama_factory.model.methods.lora import TRAINED
from llama_factory.model.methods.names import layers
from llama_factory.model.quantised.asked import loftq_in

if TYPE_CHECKING:
    from torch import Tensor, nn

    from llama_factory.config import Run
    from llama_factory.model.prompted import Prompted

SHARD_BYTES = 5 * weights.GB
NOT_THE_MODEL = (
    *weights.PICKLES, ".safetensors", ".gguf", ".h5", ".msgpack", ".onnx", ".index.json", ".lock", ".metadata"
)  # fmt: skip


def trained_files(
    module: nn.Module,
    masters: Mapping[str, Tensor],
    run: Run,
    folder: Path,
    *,
    base_folder: Path,
    template_text: str,
    template_fingerprint: str,
    beneath: Mapping[str, Path] | None = None,
    continued: Path | None = None,
    grown: vocabulary.Growth | None = None,
) -> None:
    """Write the trained weights into `folder`, which exists and is the caller's to publish.

    beneath: the adapters that stayed as they are under the trained one, by the names that the user wrote.
    continued: the adapter that was trained further, if it was not made anew.
    grown: what was done to the vocabulary.
    masters: the true trained values by their names in `module.named_parameters()`; what is not in it is taken
    from the module.
    """
    if run.method.adapts:
        _adapter(module, masters, run, folder)
    else:
        _whole_model(module, masters, base_folder, folder, grown)
    longer = window.of_module(module, base_folder)
    if longer is not None and not run.method.adapts:
        window.say_so(folder / "config.json", longer)
    if not run.method.adapts:
        spelling.for_other_readers(folder / "config.json")
    method = adapters.settings_for_note(run)
    if continued is not None:
        method |= going_on.kept(_plain(cast(Any, module).peft_config[TRAINED].to_dict()), continued)
    if loftq_in(method):
        method |= loftq.note(module, base_folder)
    born = fingerprint.Birth(
        base=run.model.model_name_or_path or "",
        base_weights=fingerprint.weights(base_folder),
        base_config=fingerprint.config(base_folder),
        template=template_text,
        template_fingerprint=template_fingerprint,
        method=method
        | ({} if longer is None else {window.NOTE: dict(longer)})
        | ({} if grown is None or not run.method.adapts else {vocabulary.NOTE: grown.note()}),
        versions=fingerprint.versions(),
        beneath=tuple({"name": name, "adapter": fingerprint.adapter(one)} for name, one in (beneath or {}).items()),
    )
    (folder / fingerprint.NOTE).write_text(born.text(), encoding="utf-8")


def as_reopened(module: nn.Module, masters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The trained values by the names, and in the shapes, that they have when the result is opened again."""
    if not pissa.has_begun(module):
        return dict(masters)
    state = {**dict(module.named_parameters()), **masters}
    whole = pissa.joined(state, TRAINED)
    return {name: whole[name] for name in masters}


def _adapter(module: nn.Module, masters: Mapping[str, Tensor], run: Run, folder: Path) -> None:
    if adapters.prompt_learning(module):
        tensors = _tokens(cast("Prompted", module), masters, folder)
    else:
        tensors = _adapter_tensors(module, masters)
    weights.save(tensors, folder / adapters.ADAPTER_WEIGHTS)
    config = cast(Any, module).peft_config[TRAINED].to_dict()
    if pissa.has_begun(module):
        config |= {"r": 2 * config["r"], "lora_alpha": 2 * config["lora_alpha"]}  # the same scale
    config |= {
        "base_model_name_or_path": run.model.model_name_or_path,
        "revision": run.model.model_revision,
        "inference_mode": True,
    }
    text = json.dumps(_plain(config), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    (folder / adapters.ADAPTER_CONFIG).write_text(text, encoding="utf-8")
    _look_again(folder / adapters.ADAPTER_WEIGHTS, tensors)


def _tokens(module: Prompted, masters: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """The learned tokens under peft's name; beside them the network that they come out of, to train it further."""
    from llama_factory.model import prompted

    own = dict(module.named_parameters())
    for name, master in masters.items():
        if not _same(own[name], master.to(own[name].dtype)):
            raise ProofError("model.weights-behind-masters", where=name)
    encoder = module.encoder()
    if encoder:
        weights.save({key: value.detach().cpu() for key, value in encoder.items()}, folder / prompted.ENCODER)
    return {"prompt_embeddings": module.tokens}


def _adapter_tensors(module: nn.Module, masters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What peft would write, in fp32 and with the masters in the place of the weights that were computed with.

    `model.x.lora_A.default.weight` in the module is `base_model.model.model.x.lora_A.weight` in peft's files. A tensor
    with two names, such as an embedding that is the head too, is written under both.
    """
    import torch
    from peft import get_peft_model_state_dict

    own = module.named_parameters(remove_duplicate=False)
    trained = {id(value): masters[name] for name, value in module.named_parameters() if name in masters}
    state = {name: trained.get(id(value), value) for name, value in own}
    if pissa.has_begun(module):
        state = pissa.joined(state, TRAINED)
    found = get_peft_model_state_dict(module, state, adapter_name=TRAINED, save_embedding_layers=False)
    values = {key: value.detach().to("cpu", torch.float32).contiguous().clone() for key, value in found.items()}
    return {adapters.PREFIX + key.removeprefix(adapters.PREFIX): value for key, value in values.items()}


def _plain(value: Any) -> Any:
    """Sets and enums of peft's configuration as JSON knows them, in a stable order."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(inner) for inner in value)
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return getattr(value, "value", value)


def _whole_model(
    module: nn.Module,
    masters: Mapping[str, Tensor],
    base_folder: Path,
    folder: Path,
    grown: vocabulary.Growth | None,
) -> None:
    """The base's files with the trained values in their places, in the dtype that the module computes in."""
    own = dict(module.named_parameters())
    for name, master in masters.items():
        if not _same(own[name], master.to(own[name].dtype)):
            raise ProofError("model.weights-behind-masters", where=name)
    known = weights.entries(base_folder)
    blocks = expansion.blocks_of(module, base_folder)
    if blocks:
        known = expansion.entries(known, module, blocks)
    kept = weights.of_module(module, known)
    known = vocabulary.entries(known, kept, grown)
    main = _torch_name(next(iter(own.values())))
    dtypes = {key: _torch_name(kept[key]) if key in kept else main for key in known if known[key].is_float}
    weights.write(base_folder, kept, folder, dtypes=dtypes, shard_bytes=SHARD_BYTES, known=known)
    copy_other_files(base_folder, folder)
    set_dtype(folder / "config.json", main)
    if grown is not None:
        vocabulary.say_so(folder / "config.json", grown)
    if blocks:
        expansion.say_so(folder / "config.json", layers(module)[1] - blocks, blocks)
    for file in weights.files(folder):
        _look_again(file, {key: kept[key] for key, _, _ in weights.header(file) if key in kept})


def copy_other_files(source: Path, target: Path) -> list[str]:
    """Copy every file of the folder that is not weights: configuration, tokenizer, licence, code."""
    copied: list[str] = []
    for file in sorted(source.rglob("*")):
        relative = file.relative_to(source)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
        if hidden or not file.is_file() or _is_ours(relative) or file.name.endswith(NOT_THE_MODEL):
            continue
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / relative)
        copied.append(relative.as_posix())
    return copied


def _is_ours(relative: Path) -> bool:
    """Files that tell how one folder came to be, or that a run left beside its result."""
    first = relative.parts[0]
    return relative.name in OUR_FILES or (len(relative.parts) > 1 and first.startswith(("checkpoint-", "runs")))


OUR_FILES = frozenset({
    "MANIFEST.json", "export_report.json", fingerprint.NOTE, "trainer_log.jsonl", "trainer_state.json",
    "resolved_config.yaml", "training_loss.png", "train.log", "report.html", "training_args.bin", "all_results.json",
    "train_results.json",
})  # fmt: skip


def set_dtype(file: Path, dtype: str) -> None:
    """Let `config.json` say the dtype that its weights have; nothing else in it is touched."""
    said = json.loads(file.read_text("utf-8"))
    old = said.pop("torch_dtype", None)
    if old == dtype and "dtype" not in said:
        return
    said["dtype"] = dtype
    file.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _look_again(file: Path, expected: Mapping[str, Tensor]) -> None:
    """Open what was written: every key there, every value the same, every number finite."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        found = set(opened.keys())
        for key, value in expected.items():
            if key not in found:
                raise ProofError("model.written-wrong", where=file, key=key)
            again = opened.get_tensor(key)
            if again.is_floating_point() and not _finite(again):
                raise ProofError("model.not-finite", where=file, key=key)
            if not _same(again, value):
                raise ProofError("model.written-wrong", where=file, key=key)


def _finite(tensor: Tensor) -> bool:
    """By the extremes, which are not numbers if one of all is none: no whole tensors of answers are made for it."""
    return tensor.numel() == 0 or all(math.isfinite(float(extreme)) for extreme in tensor.aminmax())


def _same(one: Tensor, other: Tensor) -> bool:
    import torch

    return one.dtype == other.dtype and torch.equal(one.detach().cpu(), other.detach().cpu())


def _torch_name(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def stop_everywhere(folder: Path, stop_ids: Sequence[int]) -> None:
    """`generation_config.json` must end answers where the template does, or other programs talk on and on."""
    file = folder / "generation_config.json"
    said: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    old = said.get("eos_token_id")
    known = [] if old is None else old if isinstance(old, list) else [old]
    if set(stop_ids) <= set(known):
        return
    said["eos_token_id"] = list(dict.fromkeys([*known, *stop_ids]))
    file.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
