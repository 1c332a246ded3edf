"""What the benchmarks take from the package is there: they are run by hand, long after a name has moved."""

import ast
import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def taken(script: Path) -> set[tuple[str, str]]:
    """Module and name of every import from the package."""
    found = ast.walk(ast.parse(script.read_text(encoding="utf-8")))
    nodes = [node for node in found if isinstance(node, ast.ImportFrom)]
    ours = [(node.module, node.names) for node in nodes if node.module and node.module.startswith("llama_factory")]
    return {(module, one.name) for module, names in ours for one in names}


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("*.py")), ids=lambda script: script.stem)
def test_what_a_benchmark_imports_is_there(script):
    for module, name in sorted(taken(script)):
        found = importlib.import_module(module)
        assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), f"{module} has no {name}"


def test_a_name_that_moved_is_found(tmp_path):
    script = tmp_path / "old.py"
    script.write_text("from llama_factory.model.adapters import linear_names\n", encoding="utf-8")
    with pytest.raises((AssertionError, ModuleNotFoundError)):
        test_what_a_benchmark_imports_is_there(script)
