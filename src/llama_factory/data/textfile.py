"""A text file -> one row a line, with the key `text`, for pre-training.

In: a path. Out: `(origin, {"text": line})`; lines of white space are no rows, line breaks are no part of a row,
everything else of a line is kept as it stands. JSON under the wrong name is refused: its brackets and quotes
would be learned as prose. It deliberately joins no lines: a document of several lines is a row of a .jsonl.
"""

from __future__ import annotations

import json
from pathlib import Path

from llama_factory.data import kinds
from llama_factory.data.lines import Found, first_bytes, lines, text_of
from llama_factory.errors import DataError
from llama_factory.records import Origin


def text_rows(path: Path, shown: str, max_bytes: int) -> Found:
    """All lines that say something."""
    with kinds.plain(path) as file:
        first, mark = first_bytes(file, shown)
    if _is_json(first):
        raise DataError("data.json-in-txt", where=shown)
    with kinds.plain(path) as file:
        file.read(mark)
        for number, offset, line in lines(file, shown, max_bytes, mark):
            if not line.isspace():
                origin = Origin(shown, number)
                text = text_of(line, origin, offset)
                yield text if isinstance(text, DataError) else (origin, {"text": text.rstrip("\r\n")})


def _is_json(first: bytes) -> bool:
    """A first line that is a whole object, or the head of an array of objects."""
    if first.startswith(b"[") and first[1:].lstrip().startswith(b"{"):
        return True
    try:
        return first.startswith(b"{") and isinstance(json.loads(first.split(b"\n", 1)[0]), dict)
    except (ValueError, RecursionError):
        return False
