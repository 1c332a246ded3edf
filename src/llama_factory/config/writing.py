"""Values as lines of YAML that every YAML reader, old or new, takes for the same values.

Comes in: a key and a plain value. Goes out: `key: value`. Text is quoted wherever a reader could take it for
something else (`no`, `null`, `1e-5`, a line end of another alphabet), so a written file says exactly what was meant.

What it deliberately does not do: know a key.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal

_BARE = re.compile(r"[A-Za-z_./~][A-Za-z0-9_./-]*")
_TAKEN = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "~", ".", ".inf", ".nan"})


def line(key: str, value: object) -> str:
    return f"{key}: {written(value)}"


def written(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(written(one) for one in value) + "]"
    return _text(value) if isinstance(value, str) else str(value)


def _number(value: float) -> str:
    """1.0e-4 rather than 0.0001, and never 1e-4, which YAML 1.1 calls a string."""
    if value == 0 or 0.001 <= abs(value) < 1e16:
        return repr(value)
    mantissa, exponent = f"{Decimal(repr(value)):e}".split("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"


def _text(value: str) -> str:
    if _BARE.fullmatch(value) and value.lower() not in _TAKEN:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else _escaped(sign) for sign in quoted)


def _escaped(sign: str) -> str:
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"
