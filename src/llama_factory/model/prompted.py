"""A model with learned tokens before every row, as peft builds it, able to go on from its own cache.

In: a frozen causal model and a configuration of peft (P-tuning, prompt tuning, prefix tuning). Out: a module whose
forward puts the learned tokens before the row. peft's own forward puts them there each time, also where the cache
holds them already; its `generate` hides that. Here a forward with a cache goes straight to the base.

Merging is impossible: these tokens are inputs, not weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModelForCausalLM, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn

ENCODER = "prompt_encoder.safetensors"
"""The network that the tokens were trained through. peft keeps only the tokens that came out of it."""

NAME = "default"


class Prompted(PeftModelForCausalLM):  # type: ignore[misc]
    """off: the module answers as its base."""

    def __init__(self, model: nn.Module, config: PeftConfig) -> None:
        super().__init__(model, config)
        self.off = False

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **also: Any,
    ) -> Any:
        also |= {"use_cache": use_cache, "logits_to_keep": logits_to_keep}
        if self.off or (past_key_values is not None and past_key_values.get_seq_length() > 0):
            return self.base_model(input_ids=input_ids, past_key_values=past_key_values, **also)
        return super().forward(input_ids=input_ids, **also)

    @property
    def tokens(self) -> Tensor:
        """What is put before every row, (tokens, numbers of each) in float32 on the CPU."""
        encoder = self.prompt_encoder[NAME]
        was_training = encoder.training
        encoder.eval()
        try:
            with torch.no_grad():
                if self.peft_config[NAME].inference_mode:
                    learned: Tensor = encoder.embedding.weight.detach().cpu()
                else:
                    learned = self.get_prompt_embedding_to_save(NAME)
                return learned.float().contiguous().clone()
        finally:
            encoder.train(was_training)

    def encoder(self) -> dict[str, Tensor]:
        """The network behind the tokens, where there is one."""
        state = self.prompt_encoder[NAME].state_dict()
        return {} if set(state) == {"embedding.weight"} else {key: value.contiguous() for key, value in state.items()}


def put(module: Prompted, folder: Path, weights: str) -> list[str]:
    """The tokens of `folder`, or the network that they come out of, into a module of the same kind.

    Returns what was missing: [] or [ENCODER].
    """
    if not module.encoder():
        set_peft_model_state_dict(module, load_file(folder / weights), adapter_name=NAME)
        return []
    if not (folder / ENCODER).is_file():
        return [ENCODER]
    module.prompt_encoder[NAME].load_state_dict(load_file(folder / ENCODER))
    return []
