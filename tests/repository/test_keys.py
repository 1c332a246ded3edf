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
ONLY_REFUSED = {
    "galore_layerwise": (False, True), "apollo_layerwise": (False, True), "export_legacy_format": (False, True),
    "loftq_iter": (1, 2),
}  # fmt: skip
"""Keys that may only stand at their default, and a value that is refused with the reason."""


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(SOURCE.rglob("*.py")):
        rules = path.parent.name == "config" and path.stem in ("rules", "moving", "growing", "audit")
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
    assert keys - used == set(ONLY_REFUSED)


@pytest.mark.parametrize("key", sorted(ONLY_REFUSED))
def test_a_key_that_nothing_reads_may_only_stand_at_its_default(key: str) -> None:
    allowed, refused = ONLY_REFUSED[key]
    from_mapping({key: allowed}, "here")
    with pytest.raises(InputError):
        from_mapping({key: refused}, "here")
