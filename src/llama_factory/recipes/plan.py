"""`plan`: what a training would take, and which way of training to choose, before any of it is done.

In: a configuration, or the name of a model, and the room there is. Out: a `Plan`: every method at every width with its
memory and time, the one to choose, why, and a configuration that is ready to run. The arithmetic is the `planner`
room's; here the model's configuration, the rows and the machine are asked. No weights are loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_factory import config, data, machine
from llama_factory.config import Run
from llama_factory.errors import InputError, Language, LlamaFactoryError
from llama_factory.model.quantised import checkpoints
from llama_factory.planner import choice, known
from llama_factory.planner.choice import Changes, Room, Way
from llama_factory.planner.process import process
from llama_factory.planner.setup import HALF, PROMPTS, SINGLE, Setup, trained, with_blocks
from llama_factory.planner.shape import read_shape
from llama_factory.planner.sharding import DIVIDED, sharded
from llama_factory.planner.speed import of_card
from llama_factory.recipes.foresight import rates_here
from llama_factory.recipes.setups import new_blocks, setup_of, with_rows
from llama_factory.records import Finding, ModelShape

if TYPE_CHECKING:
    from llama_factory.model.locate import Folders
    from llama_factory.model.vocabulary import Growth
    from llama_factory.recipes.outcome import Say

ROWS_AN_UPDATE = 16
"""Rows of one update, as the tutorials' table of batches has it for every GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """memory: bytes, of one GPU where `gpus` is above 0, else of RAM; None: what is free here."""

    memory: float | None = None
    gpus: int = 0
    card: str = ""
    rows: int = 0
    hours: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """current: the run as it is written; None where only a model was named. table: methods by widths.

    batches: rows at a time, accumulation, the way. divided: bytes for each of several GPUs by the kind of sharding.
    disk: bytes of the model's files, of a checkpoint. yaml: empty where nothing helps; smaller: then a well-known model
    that fits, if there is one. assumed: what was not known and taken for granted.
    """

    model: str
    shape: ModelShape
    room: Room
    asked: Asked
    base: Setup
    cutoff: int
    current: Way | None
    table: Sequence[Sequence[Way | None]]
    chosen: Way | None
    changes: Changes
    batches: Sequence[tuple[int, int, Way]]
    divided: Mapping[str, int]
    disk: tuple[int, int]
    yaml: str
    smaller: str = ""
    assumed: Sequence[Finding] = ()

    @property
    def as_written(self) -> bool:
        """Whether the configuration is the run's own: it fits, whatever else would be better."""
        return bool(self.current and self.current.fits(self.room) and self.current.in_time(self.room))


@dataclass(slots=True)
class _Rows:
    """What is known of the rows. lengths: of the largest micro-batch. grown: what their new tokens do to the model."""

    lengths: tuple[int, ...]
    supervised: float = 1.0
    count: int = 0
    mean: float = 0.0
    said: list[Finding] = field(default_factory=list)
    grown: Growth | None = None


def plan_run(run: Run, asked: Asked, *, cache: Path, say: Say, language: Language) -> Plan:
    """A plan for a configuration with a model in a folder or a name that is known."""
    config.require(run, "train")
    name = str(run.model.model_name_or_path)
    rows, folder = _rows_of(run, cache, say, language), Path(name).expanduser()
    lying = checkpoints.read(_read_config(folder / "config.json"), folder) if folder.is_dir() else None
    return _plan(run, name, asked, rows, current=True, lying=lying)


def plan_model(run: Run, name: str, asked: Asked) -> Plan:
    """A plan for a model alone; `run` holds whatever else was written, and defaults."""
    return _plan(run, name, asked, _assumed_rows(run, asked), current=False)


def _plan(
    run: Run, name: str, asked: Asked, rows: _Rows, *, current: bool, lying: checkpoints.Form | None = None
) -> Plan:
    shape, hub = find_shape(name)
    shape = with_rows(shape, rows.grown)
    cpu = asked.gpus == 0
    memory = asked.memory if asked.memory is not None else float(machine.free_memory())
    half = machine.pick_precision(run.training.bf16, run.training.fp16, run.training.pure_bf16).compute != "float32"
    number = HALF if half or not cpu else SINGLE
    free = int(memory) if cpu else 0
    base = setup_of(
        run, shape, rows.lengths, rows.supervised, number=number, cpu=cpu, free=free, lying=lying,
        grown=rows.grown,
    )  # fmt: skip
    count = asked.rows or rows.count
    tokens = count * (rows.mean or sum(rows.lengths) / len(rows.lengths)) * run.training.num_train_epochs
    room = Room(
        memory=memory,
        rates=of_card(asked.card) if asked.card else rates_here(shape, base) if cpu and asked.memory is None else None,
        tokens=tokens,
        rows=count,
        hours=asked.hours,
    )
    table = choice.every_way(shape, base, room)
    runnable = _runnable(run)
    found = choice.choose(shape, [one for line in table for one in line if one], room, runnable)
    mine = with_blocks(shape, new_blocks(run, Path(name)) if current else 0)
    now = choice.of(mine, base, room, run.method.finetuning_type) if current else None
    start = now.setup if now else replace(base, method="lora", bits=16, number=HALF)
    changes = Changes()
    if not (now.fits(room) if now else found):
        quantises = ("lora", 4) in runnable
        changes = choice.changes(mine, start, room, cutoff=run.data.cutoff_len, quantises=quantises)
    hopeless = changes.together and not (changes.each and changes.each[-1].way.fits(room))
    picked = now if now and now.fits(room) and now.in_time(room) else found
    setup, its = (start, mine) if picked is None else (picked.setup, mine if picked is now else shape)
    return Plan(
        model=name,
        shape=shape,
        room=room,
        asked=asked,
        base=base,
        cutoff=run.data.cutoff_len,
        current=now,
        table=table,
        chosen=found,
        changes=changes,
        batches=_batches(its, setup, room, run),
        divided=_divided(its, setup, asked.gpus),
        disk=_disk(its, setup),
        yaml="" if hopeless else _yaml(run, hub, now, picked, changes),
        smaller=_smaller(start, room) if hopeless else "",
        assumed=rows.said,
    )


def _smaller(start: Setup, room: Room) -> str:
    """The largest of the well-known models of which LoRA fits, one row at a time and with checkpointing."""
    setup = replace(
        start, method="lora", beside=0, active=0, before=0, blocks=0, reference=False,
        lengths=(max(start.lengths),), checkpointing=True,
    )  # fmt: skip
    for one in sorted(known.KNOWN.values(), key=lambda one: -one.billions):
        if choice.of(read_shape(one.config), setup, room).fits(room):
            return one.hub
    return ""


def find_shape(name: str) -> tuple[ModelShape, str]:
    """The shape, and the name to write into a configuration. A folder needs a config.json and nothing else."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return read_shape(_read_config(folder / "config.json"), str(folder / "config.json")), name
    found = known.find(name)
    if found is not None:
        return read_shape(found.config, name), name if "/" in name else found.hub
    return read_shape(_read_config(_fetched(name)), name), name


def _read_config(file: Path) -> Mapping[str, Any]:
    try:
        said = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError("planner.no-config", where=file.parent) from error
    except (OSError, ValueError) as error:
        raise InputError("model.broken-config", where=file, found=str(error)) from error
    if not isinstance(said, dict):
        raise InputError("model.broken-config", where=file, found=type(said).__name__)
    return said


def _fetched(name: str) -> Path:
    """Only the configuration of a model on the hub, whose names have an owner. A gate there is said as such."""
    from huggingface_hub import hf_hub_download

    from llama_factory.model.locate import hub_letters

    shipped = ", ".join(one.hub for one in known.KNOWN.values())
    unknown = InputError("planner.model-unknown", where=name, known=shipped, nearest=known.near(name))
    if "/" not in name:
        raise unknown
    try:
        with hub_letters(name):
            return Path(hf_hub_download(name, "config.json", etag_timeout=5))
    except InputError as error:
        if error.id == "model.gated":
            raise
        raise unknown from error


def _rows_of(run: Run, cache: Path, say: Say, language: Language) -> _Rows:
    """The rows as `train` would read them; where that cannot be done, all are taken to be as long as allowed."""
    from llama_factory.model import vocabulary
    from llama_factory.model.locate import locate_for
    from llama_factory.recipes.sources import largest, source_of
    from llama_factory.render import renderer_for

    grown: Growth | None = None
    try:
        folders: Folders = locate_for(run)
        renderer = renderer_for(run, folders.tokenizer or folders.base, to_train=True)
        grown = vocabulary.for_training(run, folders, renderer)
        prepared = data.prepare(run, renderer, cache=cache, say=say, language=language)
    except LlamaFactoryError as error:
        rows = _assumed_rows(run, Asked())
        rows.grown = grown
        reason = error.letter(language).splitlines()[0]
        rows.said.insert(0, Finding("planner.rows-not-read", "note", "", {"reason": reason}))
        return rows
    step = largest(run, source_of(run, prepared, run.stage))
    lengths = tuple(int(length) for length in step.batches[0].lengths_R)
    store = prepared.train
    share = float(store.supervised.sum()) / max(1, store.tokens)
    return _Rows(lengths, share, len(store), store.tokens / len(store), grown=grown)


def _assumed_rows(run: Run, asked: Asked) -> _Rows:
    """Every row as long as `cutoff_len`, as many at a time as a micro-batch takes, all of it learned."""
    length = run.data.cutoff_len
    count = max(1, data.token_budget(run) // length)
    said = [Finding("planner.lengths-assumed", "note", "cutoff_len", {"length": length})]
    return _Rows((length,) * count, 1.0, asked.rows, float(length), said)


def _runnable(run: Run) -> list[tuple[str, int]]:
    """What this program can train: what its configuration accepts."""
    return [one for one in choice.QUALITY if _accepts({**_minimal(run), **_keys(*one, Setup())})]


def _minimal(run: Run) -> dict[str, Any]:
    return {"stage": run.stage, "model_name_or_path": "model", "dataset": "identity", "output_dir": "saves/model"}


def _accepts(keys: Mapping[str, Any]) -> bool:
    try:
        config.from_mapping(dict(keys), "plan")
    except LlamaFactoryError:
        return False
    return True


def _keys(name: str, bits: int, setup: Setup) -> dict[str, Any]:
    """The keys by which a way of training is written."""
    method = str(choice.NAMES[name]["method"])
    keys: dict[str, Any] = {"finetuning_type": method}
    if method == "lora":
        keys["lora_rank"] = setup.rank
    if method == "freeze":
        keys["freeze_trainable_layers"] = setup.layers
    if name == "full, pure_bf16":
        keys["pure_bf16"] = True
    if bits < 16:
        keys["quantization_bit"] = bits
        keys["quantization_method"] = "bnb" if bits in (8, 4) else "hqq"
    return keys


def _batches(shape: ModelShape, setup: Setup, room: Room, run: Run) -> list[tuple[int, int, Way]]:
    """Rows at a time against accumulation, for the same rows an update."""
    total = data.rows_per_step(run) if run.given & {"per_device_train_batch_size", "gradient_accumulation_steps"} else 0
    total = total or ROWS_AN_UPDATE
    longest = max(setup.lengths)
    found = []
    for rows in (2**power for power in range(total.bit_length())):
        if total % rows:
            continue
        at_once = max(1, min(rows, data.sizing.ENOUGH_TOKENS // longest))
        one = replace(setup, lengths=(longest,) * at_once, micro_batches=-(-total // at_once))
        found.append((rows, total // rows, choice.of(shape, one, room)))
    return found


def _divided(shape: ModelShape, setup: Setup, gpus: int) -> dict[str, int]:
    if gpus < 2:
        return {}
    whole = choice.of(shape, setup, Room(memory=0.0)).memory
    return {
        kind: sharded(whole, kind, gpus, shape, setup.number).total + process(setup)
        for kind in DIVIDED
        if kind != "fsdp"  # the same numbers as zero3
    }


def _disk(shape: ModelShape, setup: Setup) -> tuple[int, int]:
    """The base's files in bf16, and a checkpoint: the result, masters and both moments in fp32."""
    learning = trained(shape, setup)
    result = SINGLE * learning if setup.method in ("lora", "oft", PROMPTS) else HALF * shape.parameters
    return HALF * shape.parameters, result + 3 * SINGLE * learning


def _yaml(run: Run, hub: str, now: Way | None, picked: Way | None, changes: Changes) -> str:
    """A configuration that is ready to run: the run as it is written with what is changed, or a new one."""
    from llama_factory.config.writing import line

    keys: dict[str, Any]
    if now is not None:
        keys = _changed(run, now, picked, changes)
    else:
        if picked is None and not changes.each:
            return ""
        setup = picked.setup if picked else changes.each[-1 if changes.together else 0].way.setup
        name = picked.name if picked else setup.method
        rows = len(setup.lengths)
        keys = {
            "model_name_or_path": hub, "stage": run.stage, "do_train": True, **_keys(name, setup.bits, setup),
            "dataset": ",".join(run.data.dataset) if run.data.dataset else "alpaca_en_demo",
            "cutoff_len": run.data.cutoff_len, "output_dir": f"saves/{Path(hub).name}-{setup.method}",
            "per_device_train_batch_size": rows, "gradient_accumulation_steps": max(1, ROWS_AN_UPDATE // rows),
            "learning_rate": 1e-5 if setup.method in ("full", "freeze") else 1e-4,
            "num_train_epochs": run.training.num_train_epochs, "lr_scheduler_type": "cosine", "warmup_ratio": 0.1,
        }  # fmt: skip
        keys.update(changes.keys)
        if setup.checkpointing:
            keys["gradient_checkpointing"] = True
        if setup.cpu is False:
            keys["bf16"] = True
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in keys.items()}
    return "".join(f"{line(key, value)}\n" for key, value in plain.items())


OF_A_WIDTH = ("quantization_bit", "quantization_method", "quantization_type", "double_quantization", "pure_bf16")
"""Keys that say in what the weights are kept: of one way, and not of another."""


def _changed(run: Run, now: Way, picked: Way | None, changes: Changes) -> dict[str, Any]:
    """The keys of the run with what is changed, and without those that go with its own way and not with the new one."""
    keys = {key: run.value(key) for key in run.resolved() if key in run.given}
    old = {"finetuning_type": now.name, **{key: keys[key] for key in OF_A_WIDTH if key in keys}}
    if changes.each:
        new = {**old, **changes.keys}
    elif picked is None or picked is now:
        return keys
    else:
        new = (old if _alike(picked, now) else _keys(picked.name, picked.setup.bits, picked.setup)) | _how(picked, now)
        keys = {key: value for key, value in keys.items() if key in new or key not in OF_A_WIDTH}
    least = _minimal(run)
    out = [
        key
        for key, value in keys.items()
        if key not in new and _accepts({**least, **old, key: value}) and not _accepts({**least, **new, key: value})
    ]
    return {key: value for key, value in keys.items() if key not in out} | new


def _alike(one: Way, other: Way) -> bool:
    """The same method, its weights in the same form: it differs in how much is computed at a time alone."""
    return (one.name, one.setup.bits, one.setup.master) == (other.name, other.setup.bits, other.setup.master)


def _how(picked: Way, now: Way) -> dict[str, Any]:
    """What makes a choice fit that as the table counts it would not."""
    setup, keys = picked.setup, dict[str, Any]()
    if len(setup.lengths) < len(now.setup.lengths):
        keys["micro_batch_tokens"] = max(setup.lengths)
    if setup.checkpointing and not now.setup.checkpointing:
        keys["gradient_checkpointing"] = True
    return keys
