"""The form of a letter: what was found, then what to do, in English and in Chinese."""

from __future__ import annotations

from typing import NamedTuple


class Letter(NamedTuple):
    """Placeholders like `{found}` are filled from the error's values; both languages use the same ones."""

    en: str
    en_cure: str
    zh: str
    zh_cure: str
