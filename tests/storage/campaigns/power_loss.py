"""A model of power loss. Prints what was found as JSON.

    python power_loss.py FOLDER STATES_A_POINT SEED [blind]

A kill leaves the page cache alone, so it says nothing about fsync. Here the operations of a scenario
are recorded once; then, for every moment, disk states are built in which each operation that no
fsync has covered yet may be missing, alone or with others, and each file that was not synced may be
empty, cut, zeroed or whole. On each of them the next start is tried: sweep, find, verify. `blind`
ignores all fsyncs: it must find faults, or the model sees nothing.

What is taken for granted of a file system: a rename or exchange happens whole or not at all.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from scenarios import SCENARIOS, Operations, Scenario, litter

from llama_factory import storage
from llama_factory.errors import LlamaFactoryError
from llama_factory.storage import owner

Edit = tuple[int, str, int | None]
"""In folder, under name: this inode, or nothing."""


@dataclass(frozen=True)
class Event:
    """edits: what it changes; covered_by: folders of which an fsync makes it lasting; syncs: what it makes lasting."""

    edits: tuple[Edit, ...] = ()
    covered_by: frozenset[int] = frozenset()
    syncs: int | None = None
    data: bytes | None = None


@dataclass
class Disk:
    """Inodes by number: folders as name -> inode, files as bytes. 0 is the root."""

    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {}})
    files: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> Disk:
        return Disk({number: dict(names) for number, names in self.folders.items()}, dict(self.files))

    def apply(self, edits: tuple[Edit, ...]) -> None:
        for folder, name, inode in edits:
            if inode is None:
                self.folders[folder].pop(name, None)
            else:
                self.folders[folder][name] = inode

    def build(self, folder: Path, inode: int = 0) -> None:
        folder.mkdir()
        for name, child in self.folders[inode].items():
            if child in self.folders:
                self.build(folder / name, child)
            else:
                (folder / name).write_bytes(self.files.get(child, b""))


class Recorder:
    """Follows the operations on paths and turns them into edits of inodes."""

    def __init__(self) -> None:
        self.operations = Operations(self._meet)

    def record(self, root: Path, scenario: Scenario) -> tuple[Disk, list[Event]]:
        self.root, self.events, self.numbers = root, [], count(1)
        self.live = Disk()
        self._take_in(root, 0)
        base = self.live.copy()
        self.operations.on = True
        scenario.act(root)
        self.operations.on = False
        return base, self.events

    def _take_in(self, folder: Path, inode: int) -> None:
        for path in folder.iterdir():
            number = self.live.folders[inode][path.name] = next(self.numbers)
            if path.is_dir():
                self.live.folders[number] = {}
                self._take_in(path, number)
            else:
                self.live.files[number] = path.read_bytes()

    def _place(self, path: object, folder: object = -1) -> tuple[int, str] | None:
        text = os.fsdecode(path)  # type: ignore[arg-type]
        if isinstance(folder, int) and folder >= 0 and not os.path.isabs(text):
            text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
        if not Path(text).is_relative_to(self.root) or Path(text) == self.root:
            return None
        *above, name = Path(text).relative_to(self.root).parts
        try:
            return self._inode(above), name
        except KeyError:  # `mkdir -p` first tries what cannot succeed yet
            return None

    def _inode(self, parts: list[str] | tuple[str, ...]) -> int:
        inode = 0
        for part in parts:
            inode = self.live.folders[inode][part]
        return inode

    def _add(self, edits: tuple[Edit, ...], *covered_by: int) -> None:
        self.live.apply(edits)
        self.events.append(Event(edits, frozenset(covered_by)))

    def _meet(self, event: str, values: tuple[object, ...]) -> None:
        if event == "fsync":
            self._meet_fsync(int(values[0]))  # type: ignore[call-overload]
        elif event == "open" and isinstance(values[0], str | os.PathLike | bytes):
            place = self._place(values[0]) if int(values[2]) & os.O_CREAT else None  # type: ignore[call-overload]
            if place and place[1] not in self.live.folders[place[0]]:
                number = next(self.numbers)
                self.live.files[number] = b""
                self._add(((*place, number),), place[0])
        elif event == "os.mkdir":
            place = self._place(values[0], values[2])
            if place and place[1] not in self.live.folders[place[0]]:
                number = next(self.numbers)
                self.live.folders[number] = {}
                self._add(((*place, number),), place[0])
        elif event in ("os.remove", "os.rmdir"):
            if place := self._place(values[0], values[1]):
                self._add(((*place, None),), place[0])
        elif event in ("os.rename", "exchange"):
            one, other = self._place(values[0]), self._place(values[1])
            assert one
            assert other
            moved, back = self.live.folders[one[0]][one[1]], self.live.folders[other[0]].get(other[1])
            self._add(((*one, back if event == "exchange" else None), (*other, moved)), other[0])

    def _meet_fsync(self, descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path == self.root or path.is_relative_to(self.root):
            inode = self._inode(path.relative_to(self.root).parts)
            data = None if path.is_dir() else path.read_bytes()
            if data is not None:
                self.live.files[inode] = data
            self.events.append(Event(syncs=inode, data=data))


def state_after(base: Disk, events: list[Event], final: dict[int, bytes], dice: random.Random) -> Disk:
    """One disk that a power loss right after `events` may leave."""
    disk = base.copy()
    luck = dice.choice((0.1, 0.5, 0.9))
    for inode, data in final.items():
        if inode not in base.files:
            cut = dice.randrange(len(data) + 1)
            disk.files[inode] = dice.choice((b"", data[:cut], bytes(len(data)), data))
    for event in events:
        disk.folders.update(
            {
                inode: {}
                for _, _, inode in event.edits
                if inode is not None and inode not in disk.folders and inode not in final
            }
        )
    for index, event in enumerate(events):
        if event.data is not None and event.syncs is not None:
            disk.files[event.syncs] = event.data
        lasting = any(later.syncs in event.covered_by for later in events[index + 1 :])
        if event.edits and (lasting or dice.random() < luck):
            disk.apply(event.edits)
    return disk


def next_start(root: Path, scenario: Scenario) -> str:
    real = owner.myself
    owner.myself = lambda: replace(real(), boot="00000000")
    try:
        storage.sweep(root)
    finally:
        owner.myself = real
    state = scenario.judge(root)
    assert not litter(root), litter(root)
    return state


def main() -> None:
    folder, states, dice = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    blind = sys.argv[4:] == ["blind"]
    recorder = Recorder()
    found = {"points": 0, "states": 0, "faults": 0, "acknowledged": 0}
    for scenario in SCENARIOS.values():
        recorded = folder / "recorded"
        shutil.rmtree(recorded, ignore_errors=True)
        recorded.mkdir()
        scenario.prepare(recorded)
        base, events = recorder.record(recorded, scenario)
        final = recorder.live.files
        if blind:
            events = [event for event in events if event.edits]
        for point in range(len(events) + 1):
            seen = set()
            for _ in range(states):
                disk = state_after(base, events[:point], final, dice)
                key = repr((disk.folders, sorted(disk.files.items())))
                if key in seen:
                    continue
                seen.add(key)
                shutil.rmtree(folder / "state", ignore_errors=True)
                disk.build(folder / "state")
                try:
                    state = next_start(folder / "state", scenario)
                    assert point < len(events) or state == "new", "promised, and lost"
                except (AssertionError, LlamaFactoryError) as error:
                    if not blind:
                        raise AssertionError(f"{scenario} after {events[:point][-3:]}") from error
                    found["faults"] += 1
                found["acknowledged"] += point == len(events)
            found["states"] += len(seen)
        found["points"] += len(events) + 1
    print(json.dumps(found))


if __name__ == "__main__":
    main()
