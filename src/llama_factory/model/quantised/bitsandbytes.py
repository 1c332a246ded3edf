"""8 and 4 bits by bitsandbytes, through transformers' own configuration for it.

In: what is asked, the compute format, the device. Out: arguments for `from_pretrained`, and the loaded model made
fit for use. In 8 bits (LLM.int8, Dettmers et al. 2022, arXiv 2208.07339) inputs are rounded too, in 4 bits (QLoRA,
Dettmers et al. 2023, arXiv 2305.14314) only the weights are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_factory import machine
from llama_factory.model.quantised.asked import Asked

if TYPE_CHECKING:
    from torch import nn

PACKAGES = ("bitsandbytes",)


def arguments(asked: Asked, dtype: str, device: str) -> dict[str, Any]:
    """For `from_pretrained`: it quantises while it reads, so the model never lies there whole."""
    import torch
    from transformers import BitsAndBytesConfig

    machine.hush()
    config = (
        BitsAndBytesConfig(load_in_8bit=True)
        if asked.bits == 8
        else BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=asked.kind,
            bnb_4bit_use_double_quant=asked.double,
            bnb_4bit_compute_dtype=getattr(torch, dtype),
        )
    )
    return {"quantization_config": config, "device_map": {"": device}}


def finish(model: nn.Module, asked: Asked, dtype: str, device: str) -> nn.Module:
    """Nothing is left to do: it was quantised, and put on the device, while it was read."""
    return model
