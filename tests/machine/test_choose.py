"""Which device, which number format, and what is said about it."""

from __future__ import annotations

import itertools

import pytest

from llama_factory import machine
from llama_factory.errors import InputError, letter

WITH = machine.Machine("cpu", 2, 2, 2**34, frozenset({"avx512_bf16"}), ())
WITHOUT = machine.Machine("cpu", 2, 2, 2**34, frozenset({"avx2"}), ())


@pytest.mark.parametrize(
    ("bf16", "fp16", "pure", "with_flag", "without_flag", "said_with", "said_without"),
    [
        (None, None, False, "bfloat16", "float32", [], []),
        (True, None, False, "bfloat16", "float32", [], ["machine.no-bf16"]),
        (False, None, False, "float32", "float32", [], []),
        (None, True, False, "bfloat16", "float32", ["machine.no-fp16"], ["machine.no-fp16"]),
        (False, True, False, "bfloat16", "float32", ["machine.no-fp16"], ["machine.no-fp16"]),
        (None, False, False, "bfloat16", "float32", [], []),
        (False, False, False, "float32", "float32", [], []),
        (None, None, True, "bfloat16", "bfloat16", ["machine.pure-bf16"], ["machine.pure-bf16"]),
    ],
)
def test_on_a_processor(
    bf16: bool | None, fp16: bool | None, pure: bool, with_flag: str, without_flag: str,
    said_with: list[str], said_without: list[str],
) -> None:  # fmt: skip
    for computer, compute, said in ((WITH, with_flag, said_with), (WITHOUT, without_flag, said_without)):
        found = machine.pick_precision(bf16, fp16, pure, machine=computer)
        assert found.compute == compute
        assert found.master == ("bfloat16" if pure else "float32")
        assert [finding.id for finding in found.said] == said


def test_every_finding_has_its_letter_in_both_languages() -> None:
    said = 0
    for bf16, fp16, pure, computer in itertools.product(
        (None, True, False), (None, True), (False, True), (WITH, WITHOUT)
    ):
        for finding in machine.pick_precision(bf16, fp16, pure, machine=computer).said:
            for language in ("en", "zh"):
                assert letter(finding.id, finding.where, finding.values, language)
                said += 1
    assert said >= 20


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_on_a_gpu_torch_is_asked(monkeypatch: pytest.MonkeyPatch, has_bf16: bool, expected: str) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert machine.pick_precision(None, None, False, device="cuda").compute == expected
    fp16 = machine.pick_precision(None, True, False, device="cuda")
    assert (fp16.compute, [finding.id for finding in fp16.said]) == (expected, ["machine.no-fp16"])


def test_a_gpu_is_taken_where_there_is_one_and_not_refused_to_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert machine.pick_device("cpu") == "cpu"
        assert machine.pick_device("auto") == machine.pick_device(None) == ("cuda" if there else "cpu")
    with pytest.raises(InputError) as caught:
        machine.pick_device("cuda")
    assert caught.value.id == "machine.no-cuda"


def test_bf16_arithmetic_here_is_what_the_flags_promise() -> None:
    """Whatever the machine: a product in the chosen format is right."""
    import torch

    compute = getattr(torch, machine.pick_precision(None, None, False).compute)
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 64, generator=generator), torch.randn(64, 64, generator=generator)
    assert torch.allclose((a.to(compute) @ b.to(compute)).float(), a @ b, atol=0.3)
