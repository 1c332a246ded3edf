"""The real model in every width trains with LoRA, evaluated in between, and what comes of it is what was trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_bases import plain_base
from some_steps import Trained, logits_of
from torch import Tensor

Train = Callable[..., Trained]

pytestmark = [pytest.mark.real]

WIDTHS: dict[str, dict[str, Any]] = {
    "bitsandbytes 8": {"quantization_bit": 8},
    "bitsandbytes 4": {"quantization_bit": 4},
    "hqq 8": {"quantization_bit": 8, "quantization_method": "hqq"},
    "hqq 4": {"quantization_bit": 4, "quantization_method": "hqq"},
    "hqq 3": {"quantization_bit": 3},
    "hqq 2": {"quantization_bit": 2},
    "dora beside bitsandbytes 4": {"quantization_bit": 4, "use_dora": True},
    "a whole embedding beside bitsandbytes 8": {"quantization_bit": 8, "additional_target": "embed_tokens"},
}


WHOLE = ("bitsandbytes 8", "bitsandbytes 4", "hqq 4")
"""Trained in all 30 layers; the others in the first 6, for hqq takes its time to quantise."""


def log_of(done: Trained, key: str) -> list[float]:
    lines = (done.folder / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry[key] for entry in map(json.loads, lines) if key in entry]


def in_plain_peft(done: Trained, bits: int, method: str) -> Tensor:
    from peft import PeftModel

    return logits_of(PeftModel.from_pretrained(plain_base(done.base, bits, method), done.folder))


@pytest.mark.parametrize("name", WIDTHS)
def test_a_base_in_few_bits_trains_is_evaluated_and_is_the_same_in_plain_peft(
    trained: Train, shallow: Path, real_model: Path, name: str
) -> None:
    keys = WIDTHS[name]
    done = trained(model=real_model if name in WHOLE else shallow, bf16=False, lora_rank=4, **keys)
    bits, method = keys["quantization_bit"], keys.get("quantization_method")
    method = method or ("bitsandbytes" if bits in (8, 4) else "hqq")

    evaluated, norms = log_of(done, "eval_loss"), log_of(done, "grad_norm")
    assert (len(evaluated), len(norms)) == (3, 3)
    assert all(norm > 0.01 for norm in norms), norms
    assert evaluated[-1] < evaluated[0]
    note = json.loads((done.folder / "llama_factory.json").read_text(encoding="utf-8"))["method"]
    assert (note["quantization_bit"], note["quantization_method"]) == (bits, method)
    again = in_plain_peft(done, bits, method)
    torch.testing.assert_close(again, done.logits, rtol=1e-4, atol=1e-3)
