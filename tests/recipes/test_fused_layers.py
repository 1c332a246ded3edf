"""`fused_layers` decides which layers a run trains with; that both compute the same is tested in `tests/model`."""

from __future__ import annotations

import pytest
from recipe_settings import settings

from llama_factory.config import from_mapping
from llama_factory.model import lora, norm
from llama_factory.model.locate import locate_for
from llama_factory.recipes import wiring
from llama_factory.render import renderer_for


@pytest.mark.parametrize("fused", [True, False])
def test_the_key_decides_which_layers_are_trained(tiny_model, rows, tmp_path, fused):
    run = from_mapping(settings(tiny_model, rows, tmp_path / "run", fused_layers=fused), "test")
    folders = locate_for(run)
    policy, _ = wiring.policy_of(wiring.bench_of(run, folders, renderer_for(run, folders.base)))
    kinds = {type(module) for module in policy.module.modules()}
    assert (lora.FusedLinear in kinds) is fused
    assert (norm.RMSNorm in kinds) is fused
