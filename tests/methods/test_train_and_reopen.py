"""What a method trains on the real model is saved, opened by the libraries that others use, and answers the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftModel
from some_steps import Trained, in_plain_peft, in_plain_transformers, logits_of

from llama_factory.errors import InputError
from llama_factory.model import adapters, load

Train = Callable[..., Trained]

pytestmark = [pytest.mark.slow, pytest.mark.real]

WHOLE_MODELS: dict[str, dict[str, Any]] = {
    "full": {"finetuning_type": "full", "learning_rate": 1e-4},
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 2},
    "longer window": {"finetuning_type": "freeze", "rope_scaling": "yarn", "cutoff_len": 10000},
    "new blocks": {"finetuning_type": "freeze", "use_llama_pro": True, "llama_pro_blocks": 3},
}
EACH = {"per_device_train_batch_size": 8}
"""Every step sees the same rows, so that its loss says whether it learns."""
ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"finetuning_type": "lora", "lora_rank": 4},
    "lora, anchored": {"lora_rank": 4, "use_asft_loss": True, "neftune_noise_alpha": 5, "model_dropout": 0.1, **EACH},
    "oft": {"finetuning_type": "oft", "oft_block_size": 16, "module_dropout": 0.1},
    "p_tuning": {"finetuning_type": "P-Tuning", "num_virtual_tokens": 4, "learning_rate": 3e-3, **EACH},
    "prompt_tuning": {"finetuning_type": "prompt_tuning", "prompt_init_text": "Colours:", "learning_rate": 0.1, **EACH},
    "prefix_tuning": {"finetuning_type": "prefix_tuning", "num_virtual_tokens": 4, "learning_rate": 1e-2, **EACH},
    "rslora and lora+": {"use_rslora": True, "lora_rank": 4, "loraplus_lr_ratio": 4, **EACH},
    "dora": {"finetuning_type": "dora", "lora_rank": 4, "lora_target": ".*(q|v|down)_proj", **EACH},
    "pissa": {"pissa_init": True, "lora_rank": 4, "pissa_iter": 4, **EACH},
    "with its embedding": {"lora_rank": 4, "additional_target": "embed_tokens", **EACH},
}


@pytest.mark.parametrize("keys", WHOLE_MODELS.values(), ids=WHOLE_MODELS)
def test_a_trained_model_is_the_same_in_plain_transformers(trained: Train, keys: dict[str, Any]) -> None:
    done = trained(bf16=False, **keys)
    assert done.losses[-1] < done.losses[0]
    torch.testing.assert_close(in_plain_transformers(done), done.logits, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("keys", ADAPTERS.values(), ids=ADAPTERS)
def test_a_trained_adapter_is_the_same_in_plain_peft(trained: Train, keys: dict[str, Any]) -> None:
    done = trained(bf16=False, **keys)
    assert done.losses[-1] < done.losses[0]
    torch.testing.assert_close(in_plain_peft(done), done.logits, rtol=1e-4, atol=1e-3)


def test_an_adapter_on_top_of_another_is_what_was_trained_with_both_and_refused_alone(trained: Train) -> None:
    first = trained(bf16=False, lora_rank=4, output_dir="first", **EACH)
    top = trained(
        bf16=False, lora_rank=2, output_dir="top", adapter_name_or_path="first", create_new_adapter=True, **EACH
    )
    assert top.losses[-1] < top.losses[0] < first.losses[0]
    base = load.load(top.base, dtype="float32")
    ours = adapters.open(base, [first.folder, top.folder], top.base, fused=True).module
    torch.testing.assert_close(logits_of(ours), top.logits, rtol=0, atol=1e-4)
    merged = PeftModel.from_pretrained(load.load(top.base, dtype="float32"), first.folder).merge_and_unload()
    theirs = PeftModel.from_pretrained(merged, top.folder)
    torch.testing.assert_close(logits_of(theirs), top.logits, rtol=1e-4, atol=1e-3)
    with pytest.raises(InputError, match="adapter_name_or_path: first,"):
        adapters.open(load.load(top.base, dtype="float32"), top.folder, top.base)
