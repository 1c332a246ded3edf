"""What `model.upstream` mends is still broken upstream. A test here that fails is good news: delete the function."""

from __future__ import annotations

from transformers import PreTrainedModel

from llama_factory.model import upstream
from llama_factory.testing.tiny import tiny_model


def test_llama4_still_names_a_base_that_it_does_not_have():
    model = tiny_model("llama4_text")
    assert model.base_model is model
    assert model.get_decoder() is model
    assert upstream.backbone(model) is model.model
    assert upstream.backbone(tiny_model("llama")) is not model.base_model


def test_no_public_name_tells_whether_a_type_knows_sdpa():
    public = [name for name in dir(PreTrainedModel) if "sdpa" in name.lower() and not name.startswith("_")]
    assert public == []
    assert upstream.prefers_sdpa(tiny_model("llama"))
    assert not upstream.prefers_sdpa(tiny_model("gpt_oss"))


def test_sdpa_still_leaves_out_the_cap_on_scores():
    """Why types such as gemma2 get our attention for every layout: transformers' own kernel ignores `softcap`."""
    import torch

    ids = torch.randint(3, 60, (1, 9), generator=torch.Generator().manual_seed(0))
    by_definition = tiny_model("gemma2").eval()(ids, use_cache=False).logits
    by_default = tiny_model("gemma2", attention=None)
    assert by_default.config._attn_implementation == "sdpa"
    assert (by_default.eval()(ids, use_cache=False).logits - by_definition).abs().max() > 1e-2
