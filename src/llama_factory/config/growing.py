"""Rules about new tokens: what they need, and with what they cannot be learned.

In: a run. Out: what a rule has to say. Whether the model needs new rows at all is not known here: `model.vocabulary`
asks `never_learn` again once it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llama_factory.config.said import Said, changed, unused

if TYPE_CHECKING:
    from llama_factory.config.run import Run

TOKENS = ("add_tokens", "add_special_tokens", "new_special_tokens_config")


def new_tokens_fit(run: Run) -> Iterator[Said]:
    asked = run.model.vocabulary
    for key in ("add_tokens", "add_special_tokens"):
        if any(not token for token in run.value(key)):
            yield Said("config.token-empty", (key,), {"key": key})
    start = asked.init_special_tokens
    if start in ("desc_init", "desc_init_w_noise") and not asked.new_special_tokens_config:
        keys = ("init_special_tokens", "new_special_tokens_config")
        yield Said("config.no-descriptions", keys, {"found": start})
    if start == "noise_init" and asked.new_special_tokens_config:
        keys = ("init_special_tokens", "new_special_tokens_config")
        yield Said("config.descriptions-not-read", keys, {}, severity="warning")
    if not asked.names_tokens:
        if changed(run, "init_special_tokens") and not asked.resize_vocab:
            yield unused("init_special_tokens", "add_tokens", "null")
        return
    given = tuple(key for key in TOKENS if run.value(key))
    yield from never_learn(run, given)


def never_learn(run: Run, keys: tuple[str, ...]) -> Iterator[Said]:
    """What leaves rows of new tokens as they began, or cannot hold them. keys: that ask for the tokens."""
    method, kind = run.method, run.method.finetuning_type
    further = bool(run.model.adapter_name_or_path) and method.lora.create_new_adapter
    other = (
        ("finetuning_type", kind not in ("lora", "freeze", "full"), f"finetuning_type: {kind}"),
        ("use_badam", run.training.optimizer.badam.use_badam, "use_badam: true"),
        ("pissa_init", kind == "lora" and method.lora.pissa_init, "pissa_init: true"),
        ("loftq_init", kind == "lora" and method.lora.loftq_init, "loftq_init: true"),
        ("use_llama_pro", kind == "freeze" and method.freeze.use_llama_pro, "use_llama_pro: true"),
        ("create_new_adapter", kind == "lora" and further, "create_new_adapter: true"),
        ("cache_frozen_layers", run.model.cache_frozen_layers == "true", "cache_frozen_layers: true"),
    )
    for key, holds, said in other:
        if holds:
            id = "config.tokens-stay-frozen" if key in FREEZE else "config.tokens-not-with"
            yield Said(id, (*keys, key), {"keys": ", ".join(keys), "other": said})


FREEZE = ("finetuning_type", "use_badam")
"""Keys by which the embedding and the head never learn."""
