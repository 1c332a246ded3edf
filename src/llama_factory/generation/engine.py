"""The engine that answers with the module in this process, one token at a time.

In: prompt ids and a `Sampling`. Out: ids of the answer, without the stop token, as they come. The loop is our
own, over the public parts of transformers (forward, cache, logits processors): a stop is heeded before every
token, no thread is left behind, and a seed belongs to one answer. What was computed for a prompt is kept for
the next one that begins the same, as every turn of a conversation does.

Deliberately not here: text (`render`), several prompts in one forward, other programs that serve models.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from llama_factory.errors import InputError, MachineError, OurFault
from llama_factory.generation.sampling import Chooser, Sampling
from llama_factory.model import adapters

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Finish:
    """Why an answer ended: at a stop token (`token`), at the limit, or because it was asked to stop."""

    reason: Literal["stop", "length", "cancelled"]
    token: int | None = None


def never() -> bool:
    return False


class Engine(Protocol):
    """Whatever answers. `stream`'s generator returns a `Finish`; closing it ends the work at once."""

    def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Generator[int, None, Finish]: ...

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[int]]: ...

    def update(self, weights: Mapping[str, Tensor], version: int) -> None: ...


@dataclass(slots=True)
class _Known:
    """A cache, and the tokens whose states it holds."""

    ids: list[int]
    cache: Any


class TransformersEngine:
    """Answers with a causal language model of transformers, adapters and all."""

    def __init__(self, model: nn.Module, stop_ids: Sequence[int], *, tokens: int | None = None) -> None:
        """tokens: how many ids the tokenizer knows; rows of the head beyond them are never drawn."""
        self._model = cast(Any, model)
        self._stop_ids = frozenset(stop_ids)
        self._takes = frozenset(inspect.signature(model.forward).parameters)
        rows = self._model.get_input_embeddings().weight
        self._vocabulary, self._device, self._tokens = int(rows.shape[0]), rows.device, tokens
        window = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        before = adapters.learned_tokens(model)
        self._window: int = window - before if isinstance(window, int) and window > 0 else sys.maxsize
        self._known = _Known([], None)
        self._version = 0

    @property
    def version(self) -> int:
        """Of the weights: 0 as loaded, then whatever `update` was told last."""
        return self._version

    def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Generator[int, None, Finish]:
        """The answer's ids as they come. `stop` is asked before each token."""
        ids = self._checked(prompt_ids)
        chooser = Chooser(sampling)
        limit = min(
            sampling.max_new_tokens,
            self._window - len(ids),
            *([] if sampling.max_length is None else [sampling.max_length - len(ids)]),
        )
        was_training = self._model.training
        self._model.eval()
        try:
            for _ in range(limit):
                if stop():
                    return Finish("cancelled")
                token = self._next(ids, chooser)
                if token in self._stop_ids:
                    return Finish("stop", token)
                ids.append(token)
                yield token
            return Finish("length")
        finally:
            self._model.train(was_training)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[int]]:
        """One answer a prompt, each exactly as `stream` gives it alone: no padding that could change it."""
        return [list(self.stream(prompt, sampling)) for prompt in prompts]

    def update(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Put new values in place of the weights of these names; all of them, or none if one does not fit."""
        import torch

        own = dict(self._model.named_parameters(remove_duplicate=False))
        for name, value in weights.items():
            if name not in own:
                raise OurFault("generation.unknown-weight", where=name)
            if own[name].shape != value.shape:
                found, expected = tuple(value.shape), tuple(own[name].shape)
                raise OurFault("generation.other-shape", where=name, found=found, expected=expected)
        self._known = _Known([], None)
        with torch.no_grad():
            for name, value in weights.items():
                own[name].copy_(value)
        self._version = version

    def _checked(self, prompt_ids: Sequence[int]) -> list[int]:
        ids = [int(id) for id in prompt_ids]
        if not ids:
            raise InputError("generation.empty-prompt")
        outside = [id for id in ids if not 0 <= id < self._vocabulary]
        if outside:
            raise InputError("generation.outside-vocabulary", found=outside[0], rows=self._vocabulary)
        if len(ids) >= self._window:
            raise InputError("generation.prompt-too-long", found=len(ids), window=self._window)
        return ids

    def _next(self, ids: list[int], chooser: Chooser) -> int:
        import torch

        with torch.inference_mode():
            try:
                logits_1V = self._logits(ids)
            except (torch.OutOfMemoryError, MemoryError) as error:
                raise MachineError("generation.no-memory", tokens=len(ids)) from error
            if not bool(torch.isfinite(logits_1V).any()) or bool(torch.isnan(logits_1V).any()):
                raise InputError("generation.not-finite", tokens=len(ids))
            ids_1T = torch.tensor([ids], device=logits_1V.device) if chooser.reads_ids else torch.empty((1, 0))
            return chooser.pick(ids_1T, logits_1V)

    def _logits(self, ids: list[int]) -> Tensor:
        """float32 logits after the last token. Only what the cache does not hold is computed."""
        import torch

        given: dict[str, Any] = {}
        start = 0
        if "past_key_values" in self._takes:
            start = self._reuse(ids)
            given = {"past_key_values": self._known.cache, "use_cache": True}
        if "logits_to_keep" in self._takes:
            given["logits_to_keep"] = 1
        self._known, before = _Known([], None), self._known  # nothing half done is kept, should this be interrupted
        out = self._model(input_ids=torch.tensor([ids[start:]], device=self._device), **given)
        cache = out.past_key_values if "past_key_values" in self._takes else None
        if cache is not None:
            self._known = before
            self._known.ids, self._known.cache = list(ids), cache
        logits_1V: Tensor = out.logits[:, -1].float()
        if self._tokens is not None:
            logits_1V[:, self._tokens :] = -torch.inf
        return logits_1V

    def _reuse(self, ids: list[int]) -> int:
        """How many of the first `ids` the cache holds, after it has forgotten all others."""
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        known = self._known
        if known.cache is None or (ids[: len(known.ids)] == known.ids and len(known.ids) < len(ids)):
            return len(known.ids) if known.cache is not None else 0
        same = 0
        for mine, asked in zip(known.ids, ids[:-1], strict=False):
            if mine != asked:
                break
            same += 1
        # Sliding windows and recurrent states have forgotten what came before: only whole caches can be cut.
        whole = type(known.cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in known.cache.layers)
        if same == 0 or not whole:
            self._known = _Known([], None)
            return 0
        known.cache.crop(same - len(known.ids))
        known.ids = known.ids[:same]
        return same
