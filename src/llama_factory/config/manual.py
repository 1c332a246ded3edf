"""What the program says about its keys: `fields`, `explain`, `json_schema`.

Comes in: nothing but the sections and the vocabulary. Goes out: the same facts as a table, as a page for a
person, and as a JSON schema for editors and forms. No key is listed here a second time.

What it deliberately does not do: say anything that depends on a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, TypeAlias

from llama_factory.config.gather import section_names, unknown
from llama_factory.config.keys import ALL, Command, Leaf, Status, leaves
from llama_factory.config.run import Run
from llama_factory.config.values import Choice, Names, Plain
from llama_factory.config.vocabulary import (
    ALIASES,
    FEATURE_OF,
    GROUPS,
    PLANNED,
    PRECISIONS,
    REASON_OF,
    TRANSLATED,
)
from llama_factory.errors import Language
from llama_factory.errors.letters.vocabulary import FEATURES, REASONS

Schema: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class KeyInfo:
    """What is known about one key. `type`, `section` and `default` are empty for a key that is not built."""

    key: str
    status: Status
    en: str
    zh: str
    section: str = ""
    type: str = ""
    default: Any = None
    unit: str = ""
    commands: tuple[Command, ...] = ALL
    spellings: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()


@cache
def fields() -> Mapping[str, KeyInfo]:
    """Every key by its name: the built ones in the order of their sections, then planned ones, then the rest."""
    built = {key: _built(leaf) for key, leaf in leaves(Run).items()}
    planned = {key: KeyInfo(key, "planned", FEATURES[id].en, FEATURES[id].zh) for key, id in FEATURE_OF.items()}
    idle = {key: KeyInfo(key, "without effect", *REASONS[id]) for key, id in REASON_OF.items()}
    return MappingProxyType({**built, **planned, **idle})


def _built(leaf: Leaf) -> KeyInfo:
    return KeyInfo(
        key=leaf.name,
        status="built",
        en=leaf.about.en,
        zh=leaf.about.zh,
        section=".".join(leaf.path),
        type=leaf.reader.text,
        default=leaf.default,
        unit=leaf.about.unit,
        commands=leaf.commands,
        spellings=tuple(spelling for spelling, key in ALIASES.items() if key == leaf.name),
        planned=leaf.reader.planned if isinstance(leaf.reader, (Choice, Names)) else (),
    )


# --- explain -----------------------------------------------------------------------------------------------

_LABELS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "type": "value",
        "default": "default",
        "unit": "unit",
        "commands": "used by",
        "section": "section",
        "spellings": "also written",
        "planned": "planned",
        "alias": "`{found}` is another spelling of `{key}`.",
        "translated": "`{found}` is read as:",
        "group": "The keys below `{found}:` are read as if they stood alone.",
        "is-planned": "Known and not built yet: {text}.",
        "is-idle": "Accepted without effect: {text}.",
        "nothing": "nothing",
        "off": "accepted today",
    },
    "zh": {
        "type": "取值",
        "default": "默认",
        "unit": "单位",
        "commands": "用于",
        "section": "所属",
        "spellings": "其他写法",
        "planned": "计划支持",
        "alias": "`{found}` 是 `{key}` 的另一种写法。",
        "translated": "`{found}` 的含义：",
        "group": "`{found}:` 之下的键与单独写出时相同。",
        "is-planned": "已知但尚未实现：{text}。",
        "is-idle": "可以写，但不起作用：{text}。",
        "nothing": "无",
        "off": "目前可接受",
    },
}


def explain(key: str, language: Language = "en") -> str:
    """A page about one name: a key, another spelling, a group. An unknown name raises the letter with the nearest."""
    name = key.strip().removeprefix("--").partition("=")[0].replace("-", "_")
    labels = _LABELS[language]
    if name in fields():
        return _page(fields()[name], language)
    if name in ALIASES:
        said = labels["alias"].format(found=name, key=ALIASES[name])
        return f"{said}\n\n{_page(fields()[ALIASES[name]], language)}"
    if name in TRANSLATED:
        return "\n".join([labels["translated"].format(found=name), *_translations(name)])
    if name in GROUPS or name in section_names():
        return labels["group"].format(found=name)
    raise unknown(name, "")


def _translations(name: str) -> list[str]:
    expected, translate = TRANSLATED[name]
    lines = []
    for word in expected.split(" | "):
        meant = ", ".join(f"{key}: {_written(value)}" for key, value in translate(Plain(word)).items())
        lines.append(f"  {name}: {word} -> {meant or '-'}")
    return lines


def _page(info: KeyInfo, language: Language) -> str:
    labels = _LABELS[language]
    text = info.en if language == "en" else info.zh
    if info.status == "planned":
        feature = FEATURES[FEATURE_OF[info.key]]
        lines = [info.key, labels["is-planned"].format(text=text)]
        lines.append(feature.en_cure if language == "en" else feature.zh_cure)
        offs = PLANNED[FEATURE_OF[info.key]][info.key]
        return "\n".join([*lines, f"{labels['off']}: {', '.join(_written(off) for off in (None, *offs))}"])
    if info.status == "without effect":
        return f"{info.key}\n{labels['is-idle'].format(text=text)}"
    rows = {
        "type": info.type,
        "default": labels["nothing"] if info.default is None or info.default == () else _written(info.default),
        "unit": info.unit,
        "commands": ", ".join(info.commands),
        "section": info.section,
        "spellings": ", ".join(info.spellings),
        "planned": ", ".join(info.planned),
    }
    table = [f"  {labels[name]}: {value}" for name, value in rows.items() if value]
    return "\n".join([info.key, text, "", *table])


def _written(value: object) -> str:
    """A value as it stands in a file."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(str(one) for one in value)
    return str(value)


# --- JSON schema -------------------------------------------------------------------------------------------


def json_schema() -> Schema:
    """The schema of a configuration file, for editors (`# yaml-language-server: $schema=...`) and forms."""
    properties: Schema = {key: _property(leaf) for key, leaf in leaves(Run).items()}
    for name in PRECISIONS:
        properties[name]["anyOf"].append({"type": "object"})
    for spelling, key in ALIASES.items():
        properties[spelling] = {**properties[key], "description": f"Another spelling of {key}.", "deprecated": True}
    for name, (expected, _) in TRANSLATED.items():
        words = expected.split(" | ")
        kind: Schema = {"type": "boolean"} if words == ["true", "false"] else {"enum": words}
        properties[name] = {**kind, "description": "; ".join(line.strip() for line in _translations(name))}
    for id, keys in PLANNED.items():
        for key, offs in keys.items():
            empty: list[Any] = [None, "", [], {}]
            about = {"description": f"Not built yet: {FEATURES[id].en}.", "x-zh": FEATURES[id].zh, "deprecated": True}
            properties[key] = {"enum": [*empty, *offs], **about}
    for key, id in REASON_OF.items():
        en, zh = REASONS[id]
        properties[key] = {"description": f"Without effect here: {en}.", "x-zh": zh}
    for name in (*GROUPS, *section_names()):
        alone = properties.get(name)
        group: Schema = {"$ref": "#"}
        properties[name] = {"anyOf": [group, alone]} if alone else {"anyOf": [group, {"type": "null"}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "LLaMA Factory",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _property(leaf: Leaf) -> Schema:
    about = leaf.about
    default = list(leaf.default) if isinstance(leaf.default, tuple) else leaf.default
    nothing = [{"type": "null"}] if leaf.may_be_null else []
    found: Schema = {"anyOf": [leaf.reader.schema, *nothing], "description": about.en, "default": default}
    found |= {"x-zh": about.zh, "x-section": ".".join(leaf.path), "x-commands": list(leaf.commands)}
    return found | ({"x-unit": about.unit} if about.unit else {}) | ({"x-secret": True} if about.secret else {})
