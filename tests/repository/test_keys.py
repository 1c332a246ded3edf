"""Keys and the code that reads them, held together by reading the source.

A key that is declared and checked and then read by nothing would be an option that does nothing, in silence. What is
counted is `.key` anywhere, or its name as a text outside `config`; rules and tables about keys are no use of them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from llama_factory import config
from llama_factory.config import from_mapping
from llama_factory.config.keys import leaves
from llama_factory.config.run import Run
from llama_factory.errors import InputError

SOURCE = Path(config.__file__).parents[1]
ONLY_REFUSED = {"galore_layerwise", "apollo_layerwise", "export_legacy_format"}
"""Keys that may only be false."""


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(SOURCE.rglob("*.py")):
        rules = path.parent.name == "config" and path.stem in ("rules", "moving", "audit")
        if not rules and path.parent.name != "letters":
            yield from ((path, node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def test_every_key_is_read_by_something() -> None:
    used = set()
    for path, node in nodes():
        if isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            inside = SOURCE / "config" in path.parents and path.parent.name != "sections"
            used |= set() if inside else {node.value}
    keys = set(leaves(Run))
    assert len(keys) > 150
    assert keys - used == ONLY_REFUSED


@pytest.mark.parametrize("key", sorted(ONLY_REFUSED))
def test_a_key_that_nothing_reads_may_only_be_false(key: str) -> None:
    from_mapping({key: False}, "here")
    with pytest.raises(InputError):
        from_mapping({key: True}, "here")
