"""`convert`: a data set of any form into a file of another form.

In: `IN OUT --to FORMAT` and a screen. Out: what was read as what, rows in and out, an entry of dataset_info.json that
can be copied or is added, and the exit code. Which row becomes what is `data.outward`'s and `recipes.convert`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llama_factory.apps.cleaning import ON_BAD_ROW
from llama_factory.apps.options import FLAG, Option, take
from llama_factory.apps.telling import heard, tell
from llama_factory.apps.words import said
from llama_factory.errors import InputError

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen

OPTIONS: Mapping[str, Option] = {
    "to": Option(("FORMAT",)),
    "dataset-dir": Option(("FOLDER",)),
    "system": Option(("TEXT",)),
    "register": Option(("NAME",)),
    "on-bad-row": ON_BAD_ROW,
    "overwrite": FLAG,
}


def convert(words: Sequence[str], screen: Screen, environ: Mapping[str, str]) -> int:
    from llama_factory import storage
    from llama_factory.data.outward import FORMATS
    from llama_factory.recipes import convert as recipe

    given = take("convert", words, OPTIONS)
    if not given.rest:
        raise InputError("apps.no-input", command="convert")
    if len(given.rest) != 2:
        word = given.rest[2] if len(given.rest) > 2 else given.rest[0]
        raise InputError("apps.too-many-words", command="convert", expected="IN OUT --to FORMAT", found=word)
    if not given.has("to"):
        raise InputError("apps.convert-format", found="", known=", ".join(FORMATS), near="")
    source, target = given.rest[0], Path(given.rest[1])
    name = given["register"] or ""
    found = recipe.convert(
        source,
        target,
        given["to"].strip().lower().replace("-", "_"),
        cache=storage.cache_folder(environ),
        dataset_dir=given["dataset-dir"] or "data",
        system=given["system"] or "",
        on_bad_row=given["on-bad-row"] or "error",
        overwrite=given.has("overwrite"),
        register=name,
        progress=heard(screen),
    )
    language = screen.language
    screen.line(said("convert.read", language, source=source, said=found.said, to=given["to"]))
    values = {"read": found.read, "written": found.written, "bad": found.bad, "path": target}
    screen.line(said("convert.counts", language, **values))
    for error in found.bad_rows:
        screen.line(f"    {error.letter(language).splitlines()[0]}")
    if found.bad > len(found.bad_rows):
        screen.line(said("convert.more", language, count=found.bad - len(found.bad_rows)))
    tell(found.notes, screen, screen.note)
    _entry(found.entry, name or target.stem, Path(given["dataset-dir"] or "data"), bool(name), screen)
    return 0


def _entry(entry: dict[str, object], name: str, folder: Path, registered: bool, screen: Screen) -> None:
    file = folder / "dataset_info.json"
    word = "convert.registered" if registered else "convert.entry"
    screen.line(said(word, screen.language, name=name, file=file))
    screen.line(f"  {json.dumps(name, ensure_ascii=False)}: {json.dumps(entry, ensure_ascii=False)}")
