"""What leans on other libraries' private parts or mends their slips: one function each, with the reason.

Every function here has a test that fails when upstream no longer needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel


def backbone(base: PreTrainedModel) -> nn.Module:
    """Everything below the head: `base_model`, which is public.

    transformers 5.18: Llama4ForCausalLM says that its base is called `language_model` but keeps it in
    `model`, so that `base_model` (and `get_decoder()`) return the whole model, head and all.
    """
    inner: nn.Module = base.base_model
    if inner is base:
        inner = base.get_submodule("model")
    return inner


def softmax_backward(grad: Tensor, softmax: Tensor) -> Tensor:
    """The gradient before a softmax over the last axis, from the one after it and the softmax itself.

    torch has it as one pass over the numbers, but only under a private name; by public ones it takes three.
    """
    return torch._softmax_backward_data(grad, softmax, -1, softmax.dtype)


def build_linear_with(config: LoraConfig, layer: type[nn.Module]) -> None:
    """Let peft build `layer` for every `nn.Linear` that this configuration adapts.

    peft documents it (developer guide, "Custom models") under a private name, as an experimental interface.
    """
    config._register_custom_module({nn.Linear: layer})


def prefers_sdpa(base: PreTrainedModel) -> bool:
    """Whether transformers would choose `sdpa` for this type when nothing is asked for.

    No public name tells an `eager` that was chosen for want of `sdpa` from one that the user chose.
    """
    return bool(base._supports_sdpa)
