"""At every single operation of every scenario: a SIGKILL, or a disk error. Prints what was found as JSON.

python every_operation.py FOLDER
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from scenarios import SCENARIOS, Operations, Scenario, litter

from llama_factory import storage
from llama_factory.errors import LlamaFactoryError
from llama_factory.storage import owner

ERRORS = ((errno.ENOSPC, False), (errno.EIO, False), (errno.EDQUOT, True), (errno.EROFS, True))
"""An error, and whether the disk stays as it is from then on."""


class Saboteur:
    """Counts operations; at number `at`, and at all later ones if `forever`, does its deed."""

    def __init__(self) -> None:
        self.operations = Operations(self._meet)
        self.arm(at=-1, deed=0, forever=False)

    def arm(self, *, at: int, deed: int, forever: bool) -> None:
        self.at, self.deed, self.forever = at, deed, forever
        self.count = 0
        self.while_erasing = False

    def _meet(self, event: str, values: tuple[object, ...]) -> None:
        here = self.count == self.at or (self.forever and self.count > self.at >= 0)
        if self.count == self.at:
            self.while_erasing = _called_from("erase") or _called_from("_end")
        self.count += 1
        if here and self.deed < 0:
            os.kill(os.getpid(), -self.deed)
        elif here:
            raise OSError(self.deed, os.strerror(self.deed))


def _called_from(name: str) -> bool:
    frame = sys._getframe()
    while frame := frame.f_back:
        if frame.f_code.co_name == name:
            return True
    return False


def fresh(root: Path, scenario: Scenario) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    scenario.prepare(root)
    return root


def kill_at_every_operation(saboteur: Saboteur, root: Path, scenario: Scenario, total: int) -> int:
    for at in range(total):
        fresh(root, scenario)
        child = os.fork()
        if child == 0:
            saboteur.arm(at=at, deed=-signal.SIGKILL, forever=False)
            saboteur.operations.on = True
            scenario.act(root)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"operation {at} was not met"
        assert os.WTERMSIG(status) == signal.SIGKILL
        storage.sweep(root)
        scenario.judge(root)
        assert not litter(root), litter(root)
    return total


def error_at_every_operation(saboteur: Saboteur, root: Path, scenario: Scenario, total: int) -> int:
    met = 0
    for at in range(total):
        for number, forever in ERRORS:
            fresh(root, scenario)
            saboteur.arm(at=at, deed=number, forever=forever)
            saboteur.operations.on = True
            error = None
            try:
                scenario.act(root)
            except LlamaFactoryError as caught:
                error = caught
            finally:
                saboteur.operations.on = False
            assert error is None or (error.id.startswith("storage.") and str(root) in error.where), error
            check(root, scenario, failed=error is not None, erasing=saboteur.while_erasing, forever=forever)
            met += 1
    return met


def check(root: Path, scenario: Scenario, *, failed: bool, erasing: bool, forever: bool) -> None:
    if forever:  # on a dead disk nothing can be put back; once the disk is there again, the next run does it
        after_the_end_of_this_process(lambda: storage.sweep(root))
    state = scenario.judge(root)
    assert state != "old" or failed, "said to be done, and was not"
    assert erasing or not litter(root), litter(root)


def after_the_end_of_this_process(act: Callable[[], object]) -> None:
    real, owner.lives = owner.lives, lambda who: False
    try:
        act()
    finally:
        owner.lives = real


def main() -> None:
    root = Path(sys.argv[1]) / "root"
    saboteur = Saboteur()
    found: dict[str, dict[str, int]] = {}
    for name, scenario in SCENARIOS.items():
        fresh(root, scenario)
        saboteur.arm(at=-1, deed=0, forever=False)
        saboteur.operations.on = True
        scenario.act(root)
        saboteur.operations.on = False
        assert scenario.judge(root) == "new"
        assert not litter(root)
        total = saboteur.count
        found[name] = {
            "operations": total,
            "kills": kill_at_every_operation(saboteur, root, scenario, total),
            "errors": error_at_every_operation(saboteur, root, scenario, total),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
