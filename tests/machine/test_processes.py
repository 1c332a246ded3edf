"""A process that was started beside others is not taken for the only one."""

from __future__ import annotations

import pytest

from llama_factory.errors import InputError
from llama_factory.machine.processes import COUNTS, refuse_many


@pytest.mark.parametrize("variable", COUNTS)
def test_every_launcher_s_count_is_heeded(variable: str) -> None:
    for alone in ("", "0", "1", " 1 "):
        refuse_many({variable: alone})
    with pytest.raises(InputError) as caught:
        refuse_many({variable: "2"})
    assert (caught.value.id, caught.value.values["variable"]) == ("machine.many-processes", variable)


def test_a_launch_that_is_forced_is_heeded_and_nothing_is_nothing() -> None:
    refuse_many({"FORCE_TORCHRUN": "0", "RANK": "0"})
    with pytest.raises(InputError):
        refuse_many({"FORCE_TORCHRUN": "yes"})
