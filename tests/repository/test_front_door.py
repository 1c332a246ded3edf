"""The files that a person meets first: the Makefile, the pinned set, the two ways to start a training."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!]+)")


def name_of(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements" / "constraints.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    matches = [PIN.fullmatch(line) for line in wanted]
    assert all(matches), [line for line, match in zip(wanted, matches, strict=True) if not match]
    return {name_of(match[1]): match[2] for match in matches if match}


def test_everything_that_the_package_needs_is_pinned_and_torch_stands_first() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    pinned = pins()
    assert len(needed) > 20
    assert [name for name in needed if name_of(name) not in {*pinned, project["name"]}] == []
    assert next(iter(pinned)) == "torch"


def test_the_pinned_set_is_the_one_that_the_tests_run_with() -> None:
    import importlib.metadata

    installed = {
        name_of(found.metadata["Name"]): found.version.split("+")[0] for found in importlib.metadata.distributions()
    }
    differing = {name: (pin, installed[name]) for name, pin in pins().items() if installed.get(name, pin) != pin}
    assert not differing


def test_make_alone_tells_what_can_be_made() -> None:
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["demo", "test", "check", "format", "clean"]


def test_the_suite_is_run_in_two_calls_that_leave_nothing_out() -> None:
    done = subprocess.run(["make", "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True, check=True)
    calls = [line for line in done.stdout.splitlines() if "-m pytest" in line]
    first, second = calls
    assert all("LLAMA_FACTORY_REQUIRE_MODEL=1" in call for call in calls)
    assert first.endswith(" --ignore=tests/quantised")
    assert second.startswith("PYTHONPATH=$(")
    assert "scripts/fetch_quantisers.py --where)" in second
    assert second.endswith(" tests/quantised")
    assert len(list((ROOT / "tests" / "quantised").glob("test_*.py"))) >= 1


def test_ci_runs_what_a_person_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "exec make test"


def test_the_old_way_to_start_a_training_gives_its_words_to_train() -> None:
    words = ["--model_name_or_path", "llama-7b", "--stage", "sft", "--do_train", "--finetuning_typo", "lora"]
    old = subprocess.run([sys.executable, "src/train_bash.py", *words], cwd=ROOT, capture_output=True, text=True)
    new = subprocess.run(
        [sys.executable, "-m", "llama_factory", "train", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert old.returncode == new.returncode == 2
    assert "finetuning_type" in old.stderr + old.stdout
    assert old.stderr == new.stderr
