"""How the next token is chosen, and where each setting comes from.

In: `run.generation`, in which everything may be left out, and the model's own `generation_config`. Out: one
frozen `Sampling` without gaps, and the logits processors of transformers that do what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

MAX_NEW_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Sampling:
    """temperature, top_p and top_k count only when `do_sample`; top_k 0 and top_p 1 mean all tokens.

    max_length: prompt and answer together, None for no such limit. seed: None draws a new one each time.
    """

    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    max_new_tokens: int = MAX_NEW_TOKENS
    max_length: int | None = None
    seed: int | None = None


def sampling_from(section: Any, own: Any = None, *, seed: int | None = None) -> Sampling:
    """What the user wrote; where nothing is written, the model's own choice; where that is silent, the plainest.

    section: `run.generation`. own: the model's `generation_config`, whose attributes may be None.
    Asking for a temperature, top_p or top_k asks for sampling, unless `do_sample` says otherwise. An answer's
    length is the user's or 1024 tokens, never the model's: old configurations say 20 there.
    """
    asked = any(getattr(section, name) is not None for name in ("temperature", "top_p", "top_k"))
    do_sample = section.do_sample if section.do_sample is not None else asked or bool(_own(own, "do_sample", False))
    temperature = float(_first(section.temperature, _own(own, "temperature", 1.0)))
    limit = section.max_new_tokens
    if limit is None:
        limit = section.max_length if section.max_length is not None else MAX_NEW_TOKENS
    return Sampling(
        do_sample=do_sample and temperature > 0,
        temperature=temperature if temperature > 0 else 1.0,
        top_p=float(_first(section.top_p, _own(own, "top_p", 1.0))),
        top_k=int(_first(section.top_k, _own(own, "top_k", 0))),
        repetition_penalty=float(_first(section.repetition_penalty, _own(own, "repetition_penalty", 1.0))),
        max_new_tokens=int(limit),
        max_length=section.max_length if section.max_new_tokens is None else None,
        seed=seed,
    )


def _first(asked: Any, otherwise: Any) -> Any:
    return otherwise if asked is None else asked


def _own(own: Any, name: str, plain: Any) -> Any:
    return _first(getattr(own, name, None), plain)


class Chooser:
    """Picks one token from one row of logits. Holds the generator, so that a seed gives one sequence."""

    def __init__(self, sampling: Sampling) -> None:
        import torch
        from transformers import (
            LogitsProcessorList,
            RepetitionPenaltyLogitsProcessor,
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        self._sampling = sampling
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)
        self._chain = LogitsProcessorList()
        if sampling.repetition_penalty != 1.0:
            self._chain.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        if sampling.do_sample:
            if sampling.temperature != 1.0:
                self._chain.append(TemperatureLogitsWarper(sampling.temperature))
            if sampling.top_k > 0:
                self._chain.append(TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1.0:
                self._chain.append(TopPLogitsWarper(sampling.top_p))

    @property
    def reads_ids(self) -> bool:
        """Whether what was said so far changes what comes next, beyond the model itself."""
        return self._sampling.repetition_penalty != 1.0

    def pick(self, ids_1T: Tensor, logits_1V: Tensor) -> int:
        """logits_1V: float32. ids_1T: all tokens so far, on the same device."""
        import torch

        chosen_1V = self._chain(ids_1T, logits_1V)
        if not self._sampling.do_sample:
            return int(chosen_1V.argmax(dim=-1))
        # On the CPU, so that the same seed says the same on every device.
        chance_1V = torch.softmax(chosen_1V, dim=-1).cpu()
        return int(torch.multinomial(chance_1V, 1, generator=self._generator))
