"""Not one bit of a committed folder can change unseen."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from llama_factory import storage
from llama_factory.errors import MachineError
from llama_factory.storage.manifest import Manifest

Mutation = Callable[[random.Random, Path, Path], None]
"""(dice, the folder, another whole folder of the same run)"""


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    dice = random.Random(7)

    def write(folder: Path) -> None:
        (folder / "deep").mkdir()
        for name, size in (("a.safetensors", 5000), ("b.safetensors", 5000), ("state.json", 200), ("deep/c", 1)):
            (folder / name).write_bytes(dice.randbytes(size))

    for step in (1, 2):
        storage.write_directory(tmp_path / f"checkpoint-{step}", write)
    return tmp_path / "checkpoint-1", tmp_path / "checkpoint-2"


def some_file(dice: random.Random, folder: Path) -> Path:
    return dice.choice(sorted(path for path in folder.rglob("*") if path.is_file()))


def flip_one_bit(dice: random.Random, folder: Path, other: Path) -> None:
    path = some_file(dice, folder)
    data = bytearray(path.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def truncate(dice: random.Random, folder: Path, other: Path) -> None:
    path = some_file(dice, folder)
    os.truncate(path, dice.choice((0, path.stat().st_size - 1, dice.randrange(path.stat().st_size))))


def lengthen(dice: random.Random, folder: Path, other: Path) -> None:
    with some_file(dice, folder).open("ab") as file:
        file.write(dice.choice((b"\0", b"\n", b"{}")))


def fill_with_zeros(dice: random.Random, folder: Path, other: Path) -> None:
    path = some_file(dice, folder)
    path.write_bytes(bytes(path.stat().st_size))


def zero_a_block(dice: random.Random, folder: Path, other: Path) -> None:
    path = folder / dice.choice(("a.safetensors", "b.safetensors"))
    data = bytearray(path.read_bytes())
    start = dice.randrange(len(data) - 512)
    data[start : start + 512] = bytes(512)
    path.write_bytes(data)


def delete(dice: random.Random, folder: Path, other: Path) -> None:
    some_file(dice, folder).unlink()


def swap_two_shards(dice: random.Random, folder: Path, other: Path) -> None:
    one, two = (folder / "a.safetensors").read_bytes(), (folder / "b.safetensors").read_bytes()
    (folder / "a.safetensors").write_bytes(two)
    (folder / "b.safetensors").write_bytes(one)


def take_a_file_of_another_step(dice: random.Random, folder: Path, other: Path) -> None:
    path = some_file(dice, folder)
    path.write_bytes((other / path.relative_to(folder)).read_bytes())


def make_it_a_folder(dice: random.Random, folder: Path, other: Path) -> None:
    path = some_file(dice, folder)
    path.unlink()
    path.mkdir()


def make_it_a_link(dice: random.Random, folder: Path, other: Path) -> None:
    path = folder / "state.json"
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


def edit(change: Callable[[random.Random, dict], object]) -> Mutation:
    def mutation(dice: random.Random, folder: Path, other: Path) -> None:
        path = folder / "MANIFEST.json"
        content = json.loads(path.read_bytes())
        change(dice, content)
        path.write_bytes(json.dumps(content, sort_keys=True, indent=1).encode() + b"\n")

    return mutation


def repeat_a_key(dice: random.Random, folder: Path, other: Path) -> None:
    path = folder / "MANIFEST.json"
    text = path.read_text()
    path.write_text(text.replace("{", '{\n "schema": 1,', 1))


def spell_differently(dice: random.Random, folder: Path, other: Path) -> None:
    path = folder / "MANIFEST.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()), sort_keys=True))


MUTATIONS: tuple[Mutation, ...] = (
    flip_one_bit, truncate, lengthen, fill_with_zeros, zero_a_block, delete, swap_two_shards,
    take_a_file_of_another_step, make_it_a_folder, make_it_a_link, repeat_a_key, spell_differently,
    edit(lambda dice, content: content["files"].pop(dice.choice(sorted(content["files"])))),
    edit(lambda dice, content: content["files"]["state.json"].update(size=dice.randrange(10_000))),
    edit(lambda dice, content: content["files"]["state.json"].update(sha256=dice.randbytes(32).hex())),
    edit(lambda dice, content: content["files"].update(more={"size": 1, "sha256": "00"})),
    edit(lambda dice, content: content["files"]["state.json"].pop("sha256")),
    edit(lambda dice, content: content.update(files=[])),
    edit(lambda dice, content: content.pop("sha256_of_the_rest")),
    edit(lambda dice, content: content.update(schema=dice.randrange(2, 9))),
)  # fmt: skip


def test_hundreds_of_mutations_are_all_detected_and_the_one_before_is_found(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    older, newest = pair
    good = {path: path.read_bytes() for path in newest.rglob("*") if path.is_file()}
    done = 0
    for seed in range(25):
        for mutation in MUTATIONS:
            mutation(random.Random(seed), newest, older)
            now = {path: path.read_bytes() for path in newest.rglob("*") if path.is_file()}
            assert now != good or any(path.is_symlink() for path in good), "the mutation changed nothing"
            with pytest.raises(MachineError) as caught:
                storage.verify(newest)
            assert str(newest) in caught.value.where
            assert len(str(caught.value).splitlines()) == 2
            found, broken = storage.find_newest(tmp_path)
            assert found == older
            assert [item.path for item in broken] == [newest]
            for path, data in good.items():
                if path.is_dir():
                    path.rmdir()
                path.unlink(missing_ok=True)
                path.write_bytes(data)
            storage.verify(newest)
            done += 1
    assert done == 500


@pytest.mark.parametrize(
    ("change", "id"),
    [
        (lambda folder: (folder / "MANIFEST.json").unlink(), "storage.no-manifest"),
        (lambda folder: (folder / "MANIFEST.json").write_bytes(b"{"), "storage.bad-manifest"),
        (lambda folder: (folder / "MANIFEST.json").write_bytes(b"[" * 200_000), "storage.bad-manifest"),
        (lambda folder: (folder / "MANIFEST.json").write_bytes(b"\xff\xfe"), "storage.bad-manifest"),
        (lambda folder: (folder / "MANIFEST.json").write_bytes(b'{"schema": 2}'), "storage.other-schema"),
        (lambda folder: (folder / "state.json").unlink(), "storage.missing-file"),
        (lambda folder: os.truncate(folder / "state.json", 3), "storage.wrong-size"),
        (lambda folder: (folder / "state.json").write_bytes(bytes(200)), "storage.wrong-hash"),
    ],
)  # fmt: skip
def test_the_letter_says_which_file_and_how(pair: tuple[Path, Path], change: Callable[[Path], object], id: str) -> None:
    change(pair[0])
    with pytest.raises(MachineError) as caught:
        storage.verify(pair[0])
    assert caught.value.id == id
    assert caught.value.exit_code == 4
    assert caught.value.letter("zh") != caught.value.letter("en")


def test_a_glance_sees_sizes_and_a_verification_sees_bytes(pair: tuple[Path, Path]) -> None:
    (pair[0] / "a.safetensors").write_bytes(bytes(5000))
    storage.glance(pair[0])
    with pytest.raises(MachineError):
        storage.verify(pair[0])


def test_a_note_beside_the_listed_files_is_no_fault(pair: tuple[Path, Path]) -> None:
    (pair[0] / "my notes.txt").write_text("the good one")
    storage.verify(pair[0])


def test_a_manifest_cannot_lead_out_of_its_folder(pair: tuple[Path, Path]) -> None:
    for name in ("../checkpoint-2/state.json", "/etc/hosts", "a/../b", "", "a\0b"):
        path = pair[0] / "MANIFEST.json"
        path.write_bytes(Manifest({name: storage.Entry(1, "00")}).to_bytes())
        with pytest.raises(MachineError) as caught:
            storage.verify(pair[0])
        assert caught.value.id == "storage.bad-manifest"


def test_a_missing_folder_has_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(MachineError) as caught:
        storage.verify(tmp_path / "never")
    assert caught.value.id == "storage.no-manifest"
