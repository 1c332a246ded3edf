"""P-tuning, prompt tuning and prefix tuning: tokens that are learned, before every row, through peft.

    prompt_tuning   the tokens' embeddings are learned, Lester et al. 2021 (arXiv 2104.08691)
    p_tuning        the same through a small network, which is left out afterwards, Liu et al. 2021 (arXiv 2103.10385)
    prefix_tuning   keys and values of every layer, Li & Liang 2021 (arXiv 2101.00190); P-Tuning v2 (arXiv 2110.07602)

In: a loaded model and the keys under `run.method.prompts`. Out: a module of peft around the model
(`model/prompted.py`). What is learned stands in float32. Nothing of it can be merged: `export` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError, MachineError
from llama_factory.machine import is_out_of_memory
from llama_factory.model.methods.start import Made, Start

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import nn

    from llama_factory.config.sections.method import Method
    from llama_factory.config.sections.prompts import Prompts as Settings

TOKENS = 20
"""Learned tokens when neither their number nor their words are given."""


@dataclass(frozen=True)
class Prompts:
    """One of the three. kind: its `finetuning_type`."""

    kind: str

    def look(self, model: nn.Module, method: Method) -> None:
        """Every causal model has a place before its rows."""

    def attach(self, model: nn.Module, method: Method, start: Start) -> Made:
        import torch

        settings = method.prompts
        ids = _ids(settings, start.base_folder) if self.kind == "prompt_tuning" else []
        config = self._config(model, settings, settings.num_virtual_tokens or len(ids) or TOKENS)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(start.seed)
            module = around(model, config)
            if self.kind == "prompt_tuning":
                _begin(module, model, ids)
        return Made(module, [])

    def _config(self, model: nn.Module, settings: Settings, tokens: int) -> PeftConfig:
        import peft

        width = int(cast(Any, model).get_input_embeddings().embedding_dim)
        hidden = settings.encoder_hidden_size or width
        given: Mapping[str, Any] = {"task_type": "CAUSAL_LM", "num_virtual_tokens": tokens}
        if self.kind == "p_tuning":
            way = settings.encoder_reparameterization_type.upper()
            return peft.PromptEncoderConfig(
                **given, encoder_reparameterization_type=way, encoder_hidden_size=hidden, token_dim=width
            )
        if self.kind == "prefix_tuning":
            return peft.PrefixTuningConfig(
                **given, prefix_projection=settings.prefix_projection, encoder_hidden_size=hidden
            )
        return peft.PromptTuningConfig(**given, token_dim=width)


P_TUNING, PROMPT_TUNING, PREFIX_TUNING = (Prompts(kind) for kind in ("p_tuning", "prompt_tuning", "prefix_tuning"))


def around(model: nn.Module, config: PeftConfig) -> nn.Module:
    """peft's module around this model, once it has been seen to compute."""
    import torch

    from llama_factory.model.load import brief
    from llama_factory.model.prompted import Prompted

    try:
        module = Prompted(model, config)
        device = cast(Any, model).get_input_embeddings().weight.device
        with torch.no_grad():
            module(input_ids=torch.tensor([[1, 2]], device=device), use_cache=False)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        if is_out_of_memory(error):
            raise MachineError("model.no-memory", where="finetuning_type") from error
        kind, known = str(cast(Any, config).peft_type.value), "lora, oft, freeze, full"
        values = {"found": kind, "type": cast(Any, model).config.model_type, "reason": brief(error), "known": known}
        raise InputError("model.prompts-do-not-fit", where="finetuning_type", **values) from error
    return module


def _ids(settings: Settings, folder: Path | None) -> list[int]:
    """The words that the tokens begin as, as the model's own tokenizer knows them."""
    text = settings.prompt_init_text
    if text is None:
        return []
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    ids = [int(id) for id in tokenizer(text, add_special_tokens=False)["input_ids"]]
    room = settings.num_virtual_tokens
    if not ids:
        raise InputError("model.prompt-text-empty", where="prompt_init_text")
    if room is not None and len(ids) > room:
        values = {"words": len(ids), "tokens": room}
        raise InputError("model.prompt-text-long", where="num_virtual_tokens", **values)
    return ids


def _begin(module: nn.Module, model: nn.Module, ids: list[int]) -> None:
    """The embeddings of these words, again and again until all tokens have one; of words drawn where there are none."""
    import torch

    weight_VD = cast(Any, model).get_input_embeddings().weight.detach()
    learned_TD = cast(Any, module).prompt_encoder["default"].embedding.weight
    count = learned_TD.shape[0]
    chosen = [ids[place % len(ids)] for place in range(count)] if ids else torch.randint(len(weight_VD), (count,))
    with torch.no_grad():
        learned_TD.copy_(weight_VD[torch.as_tensor(chosen, device=weight_VD.device)])
