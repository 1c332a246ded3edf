"""`plan`: memory and time of a training before it is begun, and which method to take.

In: `file.yaml key=value`, or `--model NAME --memory 24GB --gpus 2`, and a screen. Out: a page with a table, the choice,
why, and a configuration; or one JSON object; and the exit code. Everything is worked out in `recipes.plan`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from llama_factory.apps.options import FLAG, Given, Option, take, whole
from llama_factory.apps.telling import tell
from llama_factory.apps.words import said
from llama_factory.errors import InputError, nearest

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen
    from llama_factory.planner.choice import Way
    from llama_factory.recipes.plan import Plan

GB = 1e9
UNITS = {"": GB, "g": GB, "gb": GB, "gib": 2**30, "mb": 1e6, "mib": 2**20, "tb": 1e12}
NO_FIT = 4


def size(text: str) -> float:
    """`24GB`, `24`, `512MB`: bytes."""
    number = text.strip().lower()
    unit = number.lstrip("0123456789.")
    found = float(number.removesuffix(unit)) * UNITS.get(unit.strip(), -1)
    if found <= 0:
        raise ValueError(text)
    return found


def positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


OPTIONS: Mapping[str, Option] = {
    "model": Option(("PATH_OR_NAME",)),
    "memory": Option(("24GB",), size),
    "gpus": Option(("N",), whole),
    "gpu": Option(("NAME",)),
    "rows": Option(("N",), whole),
    "hours": Option(("H",), positive),
    "json": FLAG,
}


def plan(words: Sequence[str], screen: Screen, environ: Mapping[str, str]) -> int:
    from llama_factory import config, storage
    from llama_factory.apps.work import split
    from llama_factory.recipes import plan as recipe

    given = take("plan", words, OPTIONS, others=True)
    file, rest = split(given.rest) if given.rest else (None, ())
    if (file is None) == (given["model"] is None) and not (given["model"] is None and rest):
        raise InputError("planner.file-and-model")
    asked = _asked(given)
    if given["model"] is not None:
        run = config.load(None, rest)
        found = recipe.plan_model(run, given["model"], asked)
    else:
        run = config.load(file, rest)
        cache = storage.cache_folder(environ)
        found = recipe.plan_run(run, asked, cache=cache, say=screen.note, language=screen.language)
    if given.has("json"):
        screen.line(json.dumps(as_json(found, screen), ensure_ascii=False, default=str))
    else:
        show(found, screen)
    return NO_FIT if found.current and found.current.total > found.room.memory else 0


def _asked(given: Given) -> Any:
    from llama_factory.planner.speed import CARDS
    from llama_factory.recipes.plan import Asked

    card = (given["gpu"] or "").lower().replace("_", "-").replace(" ", "")
    if card and card not in CARDS:
        raise InputError(
            "planner.card-unknown",
            where="--gpu",
            found=given["gpu"],
            known=", ".join(CARDS),
            nearest=nearest(card, CARDS),
        )
    memory = given["memory"] or (CARDS[card].memory if card else None)
    gpus = given["gpus"] or (1 if memory is not None else 0)
    return Asked(memory=memory, gpus=gpus, card=card, rows=given["rows"] or 0, hours=given["hours"])


def as_json(found: Plan, screen: Screen) -> dict[str, Any]:
    """The whole plan, in bytes and hours."""
    shape, room = found.shape, found.room
    return {
        "model": {
            "name": found.model, "type": shape.type, "parameters": shape.parameters, "layers": shape.depth,
            "hidden_size": shape.hidden, "vocab_size": shape.vocab,
        },
        "room": {"memory": room.memory, "usable": room.usable, "gpus": found.asked.gpus, "card": found.asked.card},
        "run": _way(found.current, found) if found.current else None,
        "table": [_way(one, found) for line in found.table for one in line if one],
        "choice": _way(found.chosen, found) if found.chosen else None,
        "changes": [
            {"change": one.id, "keys": dict(one.keys), **_way(one.way, found)} for one in found.changes.each
        ],
        "changes_together": found.changes.together,
        "batches": [
            {"per_device_train_batch_size": rows, "gradient_accumulation_steps": count, **_way(one, found)}
            for rows, count, one in found.batches
        ],
        "each_of_several_gpus": dict(found.divided),
        "disk": {"model": found.disk[0], "checkpoint": found.disk[1]},
        "smaller_model": found.smaller,
        "assumed": [one.id for one in found.assumed],
        "yaml": found.yaml,
    }  # fmt: skip


def _way(one: Way, found: Plan) -> dict[str, Any]:
    return {
        "method": one.name, "bits": one.setup.bits, "total": one.total, "parts": asdict(one.memory),
        "fits": one.fits(found.room), "hours": one.hours,
    }  # fmt: skip


def show(found: Plan, screen: Screen) -> None:
    _show_head(found, screen)
    if found.current:
        _show_run(found, found.current, screen)
    _show_table(found, screen)
    _show_batches(found, screen)
    _show_choice(found, screen)
    if found.yaml:
        screen.line()
        screen.line(screen.bold(said("plan.yaml-own" if found.as_written else "plan.yaml", screen.language)))
        for text in found.yaml.splitlines():
            screen.line(f"  {text}")


def _show_head(found: Plan, screen: Screen) -> None:
    shape, room, language = found.shape, found.room, screen.language
    count = f"{shape.parameters / (1e8 if language == 'zh' else 1e9):.3g}"  # in yi, in billions
    values = {"layers": shape.depth, "width": shape.hidden, "vocab": shape.vocab, "type": shape.type}
    screen.line(screen.bold(said("plan.model", language, name=found.model, count=count, **values)))
    gpus, card = found.asked.gpus, f" ({found.asked.card})" if found.asked.card else ""
    sizes = {"memory": gb(room.memory), "usable": gb(room.usable)}
    if gpus:
        screen.line(said("plan.room-gpu", language, gpus=gpus, card=card, **sizes))
    else:
        screen.line(said("plan.room-here", language, **sizes))
    setup = found.base
    also = said("plan.checkpointing", language) if setup.checkpointing else ""
    tokens = {"rows": len(setup.lengths), "tokens": setup.tokens, "learned": setup.learned}
    screen.line(said("plan.batch", language, checkpointing=also, **tokens))
    tell(found.assumed, screen, screen.line)


def _show_run(found: Plan, current: Way, screen: Screen) -> None:
    language = screen.language
    verdict = said("plan.fits" if current.fits(found.room) else "plan.fits-not", language)
    screen.line()
    screen.line(screen.bold(said("plan.run", language, name=current.name, total=gb(current.total), verdict=verdict)))
    screen.line("  " + parts_of(current, screen))
    if current.hours is not None:
        rate = said("plan.rate", language, tokens=round(found.room.tokens / current.hours / 3600))
        screen.line("  " + said("plan.time", language, hours=_hours(current.hours), rate=rate))


def parts_of(one: Way, screen: Screen) -> str:
    named = {**asdict(one.memory), "process": one.total - one.memory.total}
    return ", ".join(f"{said(f'plan.{name}', screen.language)} {gb(size)}" for name, size in named.items() if size)


def _show_table(found: Plan, screen: Screen) -> None:
    from llama_factory.planner.choice import WIDTHS
    from llama_factory.planner.tutorials import said as tutorials

    language = screen.language
    screen.line()
    screen.line(screen.bold(said("plan.table", language)))
    timed = any(one.hours is not None for line in found.table for one in line if one)
    rows = [["", *(str(bits) for bits in WIDTHS), *([said("plan.hours", language)] if timed else [])]]
    for line in found.table:
        name = next(one.name for one in line if one)
        cells = []
        for bits, one in zip(WIDTHS, line, strict=True):
            if one is None:
                cells.append("-")
                continue
            printed = [f"{value / GB:.3g}" for value in tutorials(name, bits, found.shape.parameters) if value]
            mark = "*" if one.fits(found.room) else ""
            cells.append(f"{one.total / GB:.3g}{mark}" + (f" ({', '.join(printed)})" if printed else ""))
        half = line[WIDTHS.index(16)]
        rows.append([name, *cells, *([_hours(half.hours)] if timed and half and half.hours is not None else [])])
    screen.table(rows)
    screen.paragraph(screen.dim(said("plan.legend", language)), indent="  ")


def _show_batches(found: Plan, screen: Screen) -> None:
    language = screen.language
    rows, count, first = found.batches[0]
    also = said("plan.checkpointing", language) if first.setup.checkpointing else ""
    text = ", ".join(f"{a}x{b} {gb(one.total)}" for a, b, one in found.batches)
    screen.line(said("plan.batches", language, total=rows * count, checkpointing=also) + f": {text}")
    if found.divided:
        text = ", ".join(f"{kind} {gb(size)}" for kind, size in found.divided.items())
        screen.line(said("plan.divided", language, gpus=found.asked.gpus) + f": {text}")
        screen.line(screen.dim(said("plan.one-process", language)))
    screen.line(said("plan.disk", language, model=gb(found.disk[0]), checkpoint=gb(found.disk[1])))


def _show_choice(found: Plan, screen: Screen) -> None:
    language = screen.language
    screen.line()
    if found.chosen:
        screen.line(screen.bold(_chosen(found, found.chosen, screen)))
        for one in _better(found, found.chosen):
            time = f", {_hours(one.hours)}" if one.hours is not None else ""
            values = {"name": one.name, "bits": _bits(one, screen), "total": gb(one.total), "time": time}
            screen.line("  " + said("plan.better", language, **values))
    else:
        screen.line(screen.bold(said("plan.none", language)))
    if found.changes.each:
        screen.line(screen.bold(said("plan.changes" if found.changes.together else "plan.change", language)))
        screen.table([_change(one, screen) for one in found.changes.each])
    if found.smaller or (found.changes.together and not found.yaml):
        screen.line(said("plan.smaller" if found.smaller else "plan.hopeless", language, name=found.smaller))


def _change(one: Any, screen: Screen) -> tuple[str, str, str]:
    from llama_factory.config.writing import written

    keys = " ".join(f"{key}={written(value)}" for key, value in one.keys.items())
    word = "plan.change.checkpointing" if one.id == "checkpointing" else f"plan.{one.id}"
    return keys, gb(one.way.total), said(word, screen.language)


def _chosen(found: Plan, one: Way, screen: Screen) -> str:
    from llama_factory.planner.choice import FEW_ROWS

    language, room = screen.language, found.room
    if room.hours is not None and one.hours is not None:
        why = said("plan.best-in-time", language, hours=f"{room.hours:g}")
    elif 0 < room.rows < FEW_ROWS and one.setup.method != "full":
        why = said("plan.best-fits-few", language, rows=room.rows)
    else:
        why = said("plan.best-fits", language)
    return said("plan.choice", language, name=one.name, bits=_bits(one, screen), how=_how(found, one, screen), why=why)


def _how(found: Plan, one: Way, screen: Screen) -> str:
    """In what the choice is not what the table counts: it may fit only so."""
    language, setup, base = screen.language, one.setup, found.base
    single = said("plan.one-row", language) if len(setup.lengths) < len(base.lengths) else ""
    again = said("plan.checkpointing", language) if setup.checkpointing and not base.checkpointing else ""
    return single + again + said("plan.then", language, total=gb(one.total)) if single or again else ""


def _better(found: Plan, chosen: Way) -> list[Way]:
    """What would be better and is not taken, in the formats that are computed with."""
    from llama_factory.planner.choice import QUALITY

    order = [one for one in QUALITY if one[1] != 32]
    ways = {(one.name, one.setup.bits): one for line in found.table for one in line if one}
    before = order[: order.index((chosen.name, chosen.setup.bits))]
    return [
        ways[one]
        for one in before
        if one in ways and not (ways[one].fits(found.room) and ways[one].in_time(found.room))
    ]


def _bits(one: Way, screen: Screen) -> str:
    return said("plan.bits", screen.language, bits=one.setup.bits) if one.setup.method != "full" else ""


def gb(size: float) -> str:
    return f"{size / GB:.3g} GB"


def _hours(hours: float) -> str:
    if hours < 1 / 40:
        return f"{max(1, round(hours * 3600))} s"
    return f"{hours * 60:.0f} min" if hours < 1.5 else f"{hours:.3g} h"
