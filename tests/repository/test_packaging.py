"""What leaves the checkout: the wheel, the source archive, and what both install."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Tracked = Callable[..., list[str]]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_file_of_the_package_and_the_shipped_ones_and_nothing_of_the_user(
    wheel: Path, tracked: Tracked
) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {name.removeprefix("src/") for name in tracked("src/llama_factory")}
    shipped = {f"llama_factory/shipped/{name}" for name in tracked("data", "examples")}
    assert len(shipped) > 10
    assert inside == package | shipped


def test_a_wheel_made_from_the_source_archive_is_the_same_wheel(clone: Path, wheel: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir"]
    subprocess.run([*build, str(tmp_path), "--sdist", str(clone)], check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "unpacked", filter="data")
    (folder,) = (tmp_path / "unpacked").iterdir()
    subprocess.run([*build, str(tmp_path), "--wheel", str(folder)], check=True, capture_output=True)
    (again,) = tmp_path.glob("*.whl")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())
    assert "LICENSE" in {Path(name).name for name in zipfile.ZipFile(again).namelist()}


def test_an_installed_wheel_reads_its_own_data_and_examples(installed: Path, tmp_path: Path) -> None:
    code = (
        "import llama_factory, llama_factory.shipped as s; print(llama_factory.__file__); "
        "print(s.data_folder() / 'dataset_info.json'); print(s.examples_folder() / 'quickstart.yaml')"
    )
    lines = run(installed / "python", "-c", code, cwd=tmp_path).split()
    assert all(line.startswith(str(installed.parent)) and Path(line).is_file() for line in lines)
    assert len(lines) == 3


@pytest.mark.parametrize("program", ["llamafactory-cli", "lmf"])
def test_an_installed_wheel_answers_version_outside_the_checkout(installed: Path, tmp_path: Path, program: str) -> None:
    from llama_factory import __version__

    assert __version__ in run(installed / program, "version", cwd=tmp_path)


def test_an_installed_wheel_writes_a_first_yaml_and_lists_what_it_has(installed: Path, tmp_path: Path) -> None:
    run(installed / "llamafactory-cli", "init", cwd=tmp_path)
    assert list(tmp_path.glob("*.yaml"))
    assert "identity" in run(installed / "llamafactory-cli", "list", cwd=tmp_path)


def test_a_checkout_reads_the_files_that_people_edit() -> None:
    from llama_factory import shipped

    assert shipped.data_folder() == ROOT / "data"
    assert shipped.examples_folder() == ROOT / "examples"
    assert (shipped.data_folder() / "dataset_info.json").is_file()
