"""What `model.upstream` mends is still broken upstream. A test here that fails is good news: delete the function."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from peft import LoraConfig
from transformers import PreTrainedModel

from llama_factory import machine
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
    ids = torch.randint(3, 60, (1, 9), generator=torch.Generator().manual_seed(0))
    by_definition = tiny_model("gemma2").eval()(ids, use_cache=False).logits
    by_default = tiny_model("gemma2", attention=None)
    assert by_default.config._attn_implementation == "sdpa"
    assert (by_default.eval()(ids, use_cache=False).logits - by_definition).abs().max() > 1e-2


def test_the_backward_of_a_softmax_still_has_no_public_name():
    public = [name for name in dir(torch) + dir(torch.nn.functional) if "softmax_backward" in name and name[0] != "_"]
    assert public == []
    scores = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(3, 5, dtype=torch.float64)
    softmax = scores.softmax(-1)
    (expected,) = torch.autograd.grad(softmax, scores, grad)
    assert torch.allclose(upstream.softmax_backward(grad, softmax.detach()), expected)


def test_the_backward_of_a_silu_still_has_no_public_name():
    public = [name for name in dir(torch) + dir(torch.nn.functional) if "silu_backward" in name and name[0] != "_"]
    assert public == []
    x = torch.linspace(-8, 8, 45, dtype=torch.float64).view(3, 15).requires_grad_(True)
    grad = torch.randn(3, 15, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (expected,) = torch.autograd.grad(torch.nn.functional.silu(x), x, grad)
    found = upstream.silu_backward_(grad, x.detach())
    assert found is grad
    assert torch.allclose(found, expected, rtol=0, atol=1e-14)


def test_a_weight_laid_out_still_has_no_public_name():
    """What has one lays out a module of oneDNN's own tensors: `torch.utils.mkldnn`, which has no such products."""
    public = [name for name in dir(torch) + dir(torch.nn.functional) if name[0] != "_"]
    assert [name for name in public if "reorder" in name or "linear_pointwise" in name or "laid" in name] == []


@pytest.mark.skipif(not upstream.can_lay_out(), reason="this torch has no oneDNN to lay a weight out for")
@pytest.mark.skipif(not machine.describe().computes_bf16, reason="this processor does not compute bf16")
def test_the_product_with_a_weight_laid_out_is_the_plain_one():
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(*shape, generator=generator).bfloat16() for shape in ((96, 64), (37, 64)))
    before = weight.clone()
    laid = upstream.weight_laid_out(weight, 1024)
    assert laid.is_mkldnn
    assert torch.equal(weight, before)
    assert torch.equal(upstream.linear_laid_out(x, laid), x @ weight.t())


def test_peft_still_has_no_public_name_for_layers_of_ones_own():
    """The day it has one, `build_linear_with` should call that."""
    names = [name for name in dir(LoraConfig) if "custom_module" in name]
    assert [name for name in names if not name.startswith("_")] == []
    assert "_register_custom_module" in names


def test_gradients_of_a_tensor_are_those_of_torch_and_torch_still_imports_its_symbols_for_them():
    """`upstream.gradients` goes when the second half fails."""
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.bfloat16).requires_grad_(True)
    dy = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).bfloat16()
    (ours,), (theirs,) = upstream.gradients(x.sin(), [x], dy), torch.autograd.grad(x.sin(), x, dy)
    assert torch.equal(ours, theirs)
    code = "import sys, torch; x = torch.ones(2, requires_grad=True); torch.autograd.grad(x * 2, x, torch.ones(2)); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print('sympy' in sys.modules)"], capture_output=True, text=True
    )
    assert done.stdout.strip() == "True", done.stderr
