"""A quantised base as its users make it, for tests that compare with it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


def plain_base(folder: Path, bits: int, method: str, *, double: bool = True) -> nn.Module:
    """The base in these bits as its users make it, with nothing of ours."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if method == "hqq":
        from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        for name, layer in list(model.model.named_modules()):
            if isinstance(layer, nn.Linear):
                parent, _, last = name.rpartition(".")
                config = BaseQuantizeConfig(nbits=bits, group_size=64, axis=1)
                made = HQQLinear(layer, config, compute_dtype=torch.float32, device="cpu")
                setattr(model.model.get_submodule(parent), last, made)
        return model
    four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": double, "bnb_4bit_compute_dtype": torch.float32}
    config = BitsAndBytesConfig(load_in_8bit=True) if bits == 8 else BitsAndBytesConfig(load_in_4bit=True, **four)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, device_map="cpu", quantization_config=config
    )
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False  # its other way computes in bfloat16
    return model
