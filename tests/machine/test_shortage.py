"""Memory that ran out is told from every other fault, whoever says so."""

from __future__ import annotations

import errno

import pytest
import torch

from llama_factory import machine


def refused_by_torch() -> BaseException:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        refused_by_torch(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_way_to_say_that_memory_ran_out_is_understood(error: BaseException) -> None:
    assert machine.is_out_of_memory(error)
    assert 0 < len(machine.first_line(error)) <= 200
    assert "\n" not in machine.first_line(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), OSError(errno.ENOSPC, "full"), ValueError()]
)
def test_other_faults_are_not(error: BaseException) -> None:
    assert not machine.is_out_of_memory(error)
