"""The packages that this folder's tests stand on are the pinned ones, and work on this processor."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[2]
NAMES = ("bitsandbytes", "hqq", "einops", "termcolor")


def test_they_are_the_pinned_releases() -> None:
    text = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))
    assert {name: importlib.metadata.version(name) for name in NAMES} == {name: pinned[name] for name in NAMES}


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(128, 64, bias=False)


def distance(theirs: nn.Module, plain: nn.Linear) -> float:
    """Of the outputs, as a share of the plain one's size."""
    x_TI = torch.randn(16, plain.in_features)
    with torch.no_grad():
        y_TO = plain(x_TI)
        return float((theirs(x_TI) - y_TO).norm() / y_TO.norm())


def test_bitsandbytes_computes_in_eight_and_four_bits(linear: nn.Linear) -> None:
    import bitsandbytes

    eight = bitsandbytes.nn.Linear8bitLt(128, 64, bias=False, has_fp16_weights=False)
    four = bitsandbytes.nn.Linear4bit(128, 64, bias=False, quant_type="nf4", compute_dtype=torch.float32)
    for made in (eight, four):
        made.load_state_dict(linear.state_dict())
        made.to("cpu")
    assert 0 < distance(eight, linear) < 0.03
    assert 0.03 < distance(four, linear) < 0.15


def test_hqq_computes_in_eight_to_two_bits(linear: nn.Linear) -> None:
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    found = []
    for bits in (8, 4, 3, 2):
        config = BaseQuantizeConfig(nbits=bits, group_size=64, axis=1)
        made = HQQLinear(linear, config, compute_dtype=torch.float32, device="cpu", del_orig=False)
        found.append(distance(made, linear))
    assert found == sorted(found)
    assert 0 < found[0] < 0.03
    assert found[1] < 0.15
