"""What must not stand anywhere in the tree, found by reading it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal", "cloudpickle", "joblib"}


def files(*suffixes: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [ROOT / name for name in names if Path(name).suffix in suffixes or not suffixes]


def python_nodes(*folders: str) -> Iterator[tuple[str, ast.AST]]:
    paths = [path for path in files(".py") if path.is_file() and path.relative_to(ROOT).parts[0] in folders]
    assert len(paths) > 20
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def test_nothing_is_pickled_evaluated_or_given_to_a_shell() -> None:
    found = []
    for place, node in python_nodes("src", "scripts", "tests", "benchmarks"):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
            found += [place for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
                found.append(f"{place} {node.func.id}")
            if isinstance(node.func, ast.Attribute) and ast.unparse(node.func) in {"os.system", "os.popen"}:
                found.append(f"{place} {ast.unparse(node.func)}")
            for keyword in node.keywords:
                if keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value):
                    found.append(f"{place} shell=")
    assert not found


def test_torch_load_is_called_nowhere_in_the_package() -> None:
    calls = [
        place
        for place, node in python_nodes("src")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "torch.save"}
    ]
    assert not calls


def test_no_unfinished_work_stands_in_the_package() -> None:
    marks = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
    found = [place for place, node in python_nodes("src") if isinstance(node, ast.Raise) and is_stub(node)]
    for path in files(".py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else (), 1):
            if marks.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}")
    assert not found


def is_stub(node: ast.Raise) -> bool:
    return node.exc is not None and ast.unparse(node.exc).startswith("NotImplementedError")


def test_no_path_of_one_machine_stands_in_the_tree() -> None:
    machine = (str(ROOT) + "/", str(ROOT.parent) + "/", str(Path.home()) + "/")
    texts = [path for path in files() if path.is_file() and path.stat().st_size < 2_000_000]
    assert len(texts) > 50
    found = [
        f"{path.relative_to(ROOT)}: {place}"
        for path in texts
        for place in machine
        if len(place) > 3 and place.encode() in path.read_bytes()
    ]
    assert not found


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in files(".py")
        if path.is_file() and path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent
