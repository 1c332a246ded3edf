"""The shapes of well-known models, so that a plan needs neither weights nor a network.

In: a name, as people write it: `Qwen2.5-7B`, `meta-llama/Llama-3.1-8B-Instruct`. Out: what the model's `config.json`
says, and its name on the hub. Only numbers that are published with the models stand here; a test compares the counts of
parameters with those that the makers give.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from llama_factory.errors import nearest


class Known(NamedTuple):
    """billions: as the maker counts them."""

    hub: str
    config: Mapping[str, Any]
    billions: float


def _dense(
    kind: str, hidden: int, depth: int, heads: int, kv: int, inner: int, vocab: int, window: int, *,
    tied: bool = False, head: int | None = None, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    said = {
        "model_type": kind, "hidden_size": hidden, "num_hidden_layers": depth, "num_attention_heads": heads,
        "num_key_value_heads": kv, "intermediate_size": inner, "vocab_size": vocab, "max_position_embeddings": window,
        "tie_word_embeddings": tied, **more,
    }  # fmt: skip
    return said if head is None else {**said, "head_dim": head}


def _experts(
    kind: str, hidden: int, depth: int, heads: int, kv: int, inner: int, vocab: int, window: int, count: int,
    used: int, *, head: int, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    return _dense(
        kind, hidden, depth, heads, kv, inner, vocab, window, head=head, moe_intermediate_size=inner,
        num_experts=count, num_experts_per_tok=used, **more,
    )  # fmt: skip


def _qwen2(hidden: int, depth: int, heads: int, kv: int, inner: int, vocab: int, *, tied: bool) -> dict[str, Any]:
    return _dense("qwen2", hidden, depth, heads, kv, inner, vocab, 32768, tied=tied)


def _qwen3(hidden: int, depth: int, heads: int, inner: int, *, tied: bool) -> dict[str, Any]:
    return _dense("qwen3", hidden, depth, heads, 8, inner, 151936, 40960, tied=tied, head=128)


KNOWN: Mapping[str, Known] = {
    "smollm2-135m": Known(
        "HuggingFaceTB/SmolLM2-135M", _dense("llama", 576, 30, 9, 3, 1536, 49152, 8192, tied=True), 0.135
    ),
    "smollm2-360m": Known(
        "HuggingFaceTB/SmolLM2-360M", _dense("llama", 960, 32, 15, 5, 2560, 49152, 8192, tied=True), 0.362
    ),
    "smollm2-1.7b": Known(
        "HuggingFaceTB/SmolLM2-1.7B", _dense("llama", 2048, 24, 32, 32, 8192, 49152, 8192, tied=True), 1.71
    ),
    "qwen2.5-0.5b": Known("Qwen/Qwen2.5-0.5B", _qwen2(896, 24, 14, 2, 4864, 151936, tied=True), 0.49),
    "qwen2.5-1.5b": Known("Qwen/Qwen2.5-1.5B", _qwen2(1536, 28, 12, 2, 8960, 151936, tied=True), 1.54),
    "qwen2.5-3b": Known("Qwen/Qwen2.5-3B", _qwen2(2048, 36, 16, 2, 11008, 151936, tied=True), 3.09),
    "qwen2.5-7b": Known("Qwen/Qwen2.5-7B", _qwen2(3584, 28, 28, 4, 18944, 152064, tied=False), 7.61),
    "qwen2.5-14b": Known("Qwen/Qwen2.5-14B", _qwen2(5120, 48, 40, 8, 13824, 152064, tied=False), 14.7),
    "qwen2.5-32b": Known("Qwen/Qwen2.5-32B", _qwen2(5120, 64, 40, 8, 27648, 152064, tied=False), 32.5),
    "qwen2.5-72b": Known("Qwen/Qwen2.5-72B", _qwen2(8192, 80, 64, 8, 29568, 152064, tied=False), 72.7),
    "qwen3-0.6b": Known("Qwen/Qwen3-0.6B", _qwen3(1024, 28, 16, 3072, tied=True), 0.6),
    "qwen3-1.7b": Known("Qwen/Qwen3-1.7B", _qwen3(2048, 28, 16, 6144, tied=True), 1.7),
    "qwen3-4b": Known("Qwen/Qwen3-4B", _qwen3(2560, 36, 32, 9728, tied=True), 4.0),
    "qwen3-8b": Known("Qwen/Qwen3-8B", _qwen3(4096, 36, 32, 12288, tied=False), 8.2),
    "qwen3-14b": Known("Qwen/Qwen3-14B", _qwen3(5120, 40, 40, 17408, tied=False), 14.8),
    "qwen3-32b": Known("Qwen/Qwen3-32B", _qwen3(5120, 64, 64, 25600, tied=False), 32.8),
    "qwen3-30b-a3b": Known(
        "Qwen/Qwen3-30B-A3B", _experts("qwen3_moe", 2048, 48, 32, 4, 768, 151936, 40960, 128, 8, head=128), 30.5
    ),
    "llama-7b": Known("huggyllama/llama-7b", _dense("llama", 4096, 32, 32, 32, 11008, 32000, 2048), 6.7),
    "llama-13b": Known("huggyllama/llama-13b", _dense("llama", 5120, 40, 40, 40, 13824, 32000, 2048), 13.0),
    "llama-2-7b": Known("meta-llama/Llama-2-7b-hf", _dense("llama", 4096, 32, 32, 32, 11008, 32000, 4096), 6.7),
    "llama-2-13b": Known("meta-llama/Llama-2-13b-hf", _dense("llama", 5120, 40, 40, 40, 13824, 32000, 4096), 13.0),
    "llama-2-70b": Known("meta-llama/Llama-2-70b-hf", _dense("llama", 8192, 80, 64, 8, 28672, 32000, 4096), 69.0),
    "llama-3.2-1b": Known(
        "meta-llama/Llama-3.2-1B", _dense("llama", 2048, 16, 32, 8, 8192, 128256, 131072, tied=True), 1.23
    ),
    "llama-3.2-3b": Known(
        "meta-llama/Llama-3.2-3B", _dense("llama", 3072, 28, 24, 8, 8192, 128256, 131072, tied=True), 3.21
    ),
    "llama-3.1-8b": Known(
        "meta-llama/Llama-3.1-8B", _dense("llama", 4096, 32, 32, 8, 14336, 128256, 131072), 8.03
    ),
    "llama-3.1-70b": Known(
        "meta-llama/Llama-3.1-70B", _dense("llama", 8192, 80, 64, 8, 28672, 128256, 131072), 70.6
    ),
    "tinyllama-1.1b": Known(
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0", _dense("llama", 2048, 22, 32, 4, 5632, 32000, 2048), 1.1
    ),
    "mistral-7b": Known(
        "mistralai/Mistral-7B-v0.3", _dense("mistral", 4096, 32, 32, 8, 14336, 32768, 32768), 7.25
    ),
    "mixtral-8x7b": Known(
        "mistralai/Mixtral-8x7B-v0.1", _experts("mixtral", 4096, 32, 32, 8, 14336, 32000, 32768, 8, 2, head=128), 46.7
    ),
    "gemma-2-2b": Known(
        "google/gemma-2-2b", _dense("gemma2", 2304, 26, 8, 4, 9216, 256000, 8192, tied=True, head=256), 2.61
    ),
    "gemma-2-9b": Known(
        "google/gemma-2-9b", _dense("gemma2", 3584, 42, 16, 8, 14336, 256000, 8192, tied=True, head=256), 9.24
    ),
    "gemma-2-27b": Known(
        "google/gemma-2-27b", _dense("gemma2", 4608, 46, 32, 16, 36864, 256000, 8192, tied=True, head=128), 27.2
    ),
    "gemma-3-1b": Known(
        "google/gemma-3-1b-pt", _dense("gemma3_text", 1152, 26, 4, 1, 6912, 262144, 32768, tied=True, head=256), 1.0
    ),
    "phi-2": Known("microsoft/phi-2", _dense("phi", 2560, 32, 32, 32, 10240, 51200, 2048), 2.78),
    "phi-3-mini": Known(
        "microsoft/Phi-3-mini-4k-instruct", _dense("phi3", 3072, 32, 32, 32, 8192, 32064, 4096), 3.82
    ),
    "phi-4": Known("microsoft/phi-4", _dense("phi3", 5120, 40, 40, 10, 17920, 100352, 16384), 14.7),
    "glm-4-9b": Known(
        "THUDM/glm-4-9b-hf",
        _dense("glm", 4096, 40, 32, 2, 13696, 151552, 8192, head=128, attention_bias=True),
        9.4,
    ),
    "gpt-oss-20b": Known(
        "openai/gpt-oss-20b", _experts("gpt_oss", 2880, 24, 64, 8, 2880, 201088, 131072, 32, 4, head=64), 20.9
    ),
    "gpt2": Known(
        "openai-community/gpt2",
        {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024},
        0.124,
    ),
}  # fmt: skip
"""By the maker's name in small letters, without what says only how it was trained on."""

_SAME: Mapping[str, str] = {
    "llama-2-7b-hf": "llama-2-7b", "llama-2-13b-hf": "llama-2-13b", "llama-2-70b-hf": "llama-2-70b",
    "llama-3-8b": "llama-3.1-8b", "llama-3-70b": "llama-3.1-70b", "llama-3.3-70b": "llama-3.1-70b",
    "meta-llama-3-8b": "llama-3.1-8b", "meta-llama-3.1-8b": "llama-3.1-8b", "meta-llama-3-70b": "llama-3.1-70b",
    "phi-3-mini-4k": "phi-3-mini", "glm-4-9b-hf": "glm-4-9b", "deepseek-r1-distill-qwen-7b": "qwen2.5-7b",
    "deepseek-r1-distill-qwen-14b": "qwen2.5-14b", "deepseek-r1-distill-qwen-32b": "qwen2.5-32b",
    "deepseek-r1-distill-llama-8b": "llama-3.1-8b", "deepseek-r1-distill-llama-70b": "llama-3.1-70b",
}  # fmt: skip
"""Other names of models that are built the same."""

_ENDINGS = re.compile(r"[-_](instruct|chat|base|it|pt|sft|dpo|hf|v\d+(\.\d+)?)$")


def find(name: str) -> Known | None:
    """By name; what stands before a slash and behind the size does not matter."""
    word = name.rstrip("/").rpartition("/")[2].lower()
    while True:
        found = KNOWN.get(_SAME.get(word, word))
        if found is not None:
            return found
        shorter = _ENDINGS.sub("", word)
        if shorter == word:
            return None
        word = shorter


def near(name: str) -> str:
    return nearest(name.rpartition("/")[2].lower(), KNOWN)
