"""From what a `config.json` says to a `ModelShape`: every matrix of every layer, without a weight being read.

In: the configuration as a mapping. Out: a `ModelShape` whose count of parameters is the real one, to the number (a test
compares it with transformers' own models), or a letter. Model types differ in biases, norms and names; what is known of
each stands in `FAMILIES`. A type that is not there is not guessed at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from llama_factory.errors import InputError, nearest
from llama_factory.records import LayerShape, LinearShape, ModelShape

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Family:
    """What the model types of transformers differ in.

    qkv_bias, out_bias, mlp_bias: a key of the configuration, or the answer itself. norms: vectors as wide as the
    hidden state in a layer; norm_bias: they have a second one. qk_norm: norms of queries and keys, for one "head" or
    for the whole "width", or a key that says whether each head has one. fused: the matrices that are stored as one.
    mlp: the names of its matrices, the last leads back. positions: the key that says how many are learned, and how
    many more there are.
    """

    qkv_bias: str | bool = False
    out_bias: str | bool = False
    mlp_bias: str | bool = False
    norms: int = 2
    norm_bias: bool = False
    qk_norm: str = ""
    fused_qkv: str = ""
    out: str = "o_proj"
    mlp: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    fused_gate: bool = False
    tied: bool = False
    head_bias: bool = False
    positions: tuple[str, int] = ("", 0)
    sinks: bool = False


_LLAMA = Family(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias")
_PLAIN = Family()
_TWO = ("up_proj", "down_proj")

FAMILIES: Mapping[str, Family] = {
    "llama": _LLAMA,
    "granite": _LLAMA,
    "smollm3": replace(_LLAMA, tied=True),
    "arcee": replace(_LLAMA, mlp=_TWO),
    "mistral": _PLAIN,
    "ministral": _PLAIN,
    "qwen2": Family(qkv_bias=True),
    "qwen3": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head"),
    "seed_oss": Family(qkv_bias="attention_bias", out_bias="attention_out_bias", mlp_bias="mlp_bias"),
    "hunyuan_v1_dense": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head"),
    "gemma": Family(qkv_bias="attention_bias", out_bias="attention_bias", tied=True),
    "gemma2": Family(qkv_bias="attention_bias", out_bias="attention_bias", norms=4, tied=True),
    "gemma3_text": Family(
        qkv_bias="attention_bias", out_bias="attention_bias", norms=4, qk_norm="head", tied=True
    ),
    "phi": Family(
        qkv_bias=True, out_bias=True, mlp_bias=True, norms=1, norm_bias=True, out="dense", mlp=("fc1", "fc2"),
        head_bias=True,
    ),
    "phi3": Family(fused_qkv="qkv_proj", fused_gate=True),
    "glm": Family(qkv_bias="attention_bias", fused_gate=True),
    "glm4": Family(qkv_bias="attention_bias", norms=4, fused_gate=True),
    "olmo": Family(qkv_bias="attention_bias", out_bias="attention_bias", norms=0),
    "olmo2": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="width"),
    "olmo3": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="width"),
    "exaone4": Family(qk_norm="head"),
    "cohere": Family(qkv_bias="attention_bias", out_bias="attention_bias", norms=1, tied=True),
    "cohere2": Family(qkv_bias="attention_bias", out_bias="attention_bias", norms=1, tied=True),
    "starcoder2": Family(
        qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias", norm_bias=True, mlp=("c_fc", "c_proj"),
        tied=True,
    ),
    "gpt2": Family(
        qkv_bias=True, out_bias=True, mlp_bias=True, norm_bias=True, fused_qkv="c_attn", out="c_proj",
        mlp=("c_fc", "c_proj"), tied=True, positions=("n_positions", 0),
    ),
    "gpt_neox": Family(
        qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias=True, norm_bias=True,
        fused_qkv="query_key_value", out="dense", mlp=("dense_h_to_4h", "dense_4h_to_h"),
    ),
    "mixtral": _PLAIN,
    "qwen2_moe": Family(qkv_bias="qkv_bias"),
    "qwen3_moe": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head"),
    "olmoe": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="width"),
    "glm4_moe": Family(qkv_bias="attention_bias", qk_norm="use_qk_norm"),
    "gpt_oss": Family(qkv_bias="attention_bias", out_bias="attention_bias", sinks=True),
    "deepseek_v2": _PLAIN,
    "deepseek_v3": _PLAIN,
}  # fmt: skip
"""Model types that are read here, by `model_type`. A test holds each against the model that transformers builds."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "qwen2_moe": {"qkv_bias": True},
    "gpt_oss": {"attention_bias": True},
    "gpt_neox": {"attention_bias": True},
    "starcoder2": {"use_bias": True},
    "seed_oss": {"attention_bias": True},
    "gemma": {"head_dim": 256},
    "gemma2": {"head_dim": 256},
    "gemma3_text": {"head_dim": 256},
    "glm": {"head_dim": 128},
    "glm4": {"head_dim": 128},
    "qwen3": {"head_dim": 128},
}
"""What transformers takes for a key that a configuration leaves out, where it is not nothing."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "hidden": ("hidden_size", "n_embd"),
    "depth": ("num_hidden_layers", "n_layer"),
    "heads": ("num_attention_heads", "n_head"),
    "vocab": ("vocab_size",),
    "window": ("max_position_embeddings", "n_positions"),
}


def read_shape(config: Config, where: str = "config.json") -> ModelShape:
    """Raises InputError where the model type, or a number in its configuration, is not known."""
    config = _of_text(config)
    kind = config.get("model_type")
    family = FAMILIES.get(str(kind))
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        close = nearest(str(kind), FAMILIES)
        raise InputError("planner.type-unknown", where=where, found=kind, known=known, nearest=close)
    said = {**DEFAULTS.get(str(kind), {}), **{key: value for key, value in config.items() if value is not None}}
    reader = _Reader(said, family, where)
    return reader.shape()


def _of_text(config: Config) -> Config:
    """Of a model with several parts the one that reads text; its pictures' part is not counted."""
    text = config.get("text_config")
    return text if isinstance(text, dict) and "model_type" in text else config


class _Reader:
    """One configuration, and what is known of its type."""

    def __init__(self, said: Config, family: Family, where: str) -> None:
        self.said, self.family, self.where = said, family, where
        self.kind = str(said["model_type"])
        self.hidden, self.depth = self.size("hidden"), self.size("depth")
        self.heads = self.size("heads")
        self.kv_heads = self.number("num_key_value_heads", self.heads)
        self.key_width = self.number("head_dim", self.hidden // self.heads)
        self.value_width = self.key_width
        if self.kind.startswith("deepseek"):
            self.key_width = self.number("qk_nope_head_dim", 128) + self.number("qk_rope_head_dim", 64)
            self.value_width = self.number("v_head_dim", 128)
        self.inner = self.number("intermediate_size", self.number("n_inner", 4 * self.hidden))

    def shape(self) -> ModelShape:
        vocab, hidden, family = self.size("vocab"), self.hidden, self.family
        key, more = family.positions
        outside = (hidden if family.norms else 0) * (2 if family.norm_bias else 1)
        if key:
            outside += hidden * (self.number(key, 0) + more)
        tied = self.said.get("tie_word_embeddings", family.tied)
        return ModelShape(
            type=self.kind,
            hidden=hidden,
            heads=self.heads,
            kv_heads=self.kv_heads,
            key_width=self.key_width,
            value_width=self.value_width,
            intermediate=self.inner,
            vocab=vocab,
            tied=bool(tied),
            gated=len(family.mlp) == 3,
            layers=tuple(self.layers()),
            outside=outside + (vocab if family.head_bias else 0),
            window=self.size("window", 0),
        )

    def layers(self) -> Iterator[LayerShape]:
        """Layers that are alike together: with experts, and without."""
        dense = [number for number in range(self.depth) if not self.has_experts(number)]
        attention, vectors = tuple(self.attention()), self.vectors()
        if dense:
            yield LayerShape(len(dense), (*attention, *self.mlp(self.inner)), vectors)
        if len(dense) < self.depth:
            yield LayerShape(self.depth - len(dense), (*attention, *self.experts()), vectors)

    def attention(self) -> Iterator[LinearShape]:
        if self.kind.startswith("deepseek"):
            yield from self.latent_attention()
            return
        family, hidden = self.family, self.hidden
        query, key = self.heads * self.key_width, self.kv_heads * self.key_width
        bias = self.flag(family.qkv_bias)
        if family.fused_qkv:
            yield LinearShape(family.fused_qkv, hidden, query + 2 * key, bias)
        else:
            for name, width in (("q_proj", query), ("k_proj", key), ("v_proj", key)):
                yield LinearShape(name, hidden, width, bias)
        yield LinearShape(family.out, query, hidden, self.flag(family.out_bias))

    def latent_attention(self) -> Iterator[LinearShape]:
        """Keys and values through a narrow state: DeepSeek-V2 (arXiv 2405.04434), section 2.1."""
        query, hidden = self.heads * self.key_width, self.hidden
        bias, rank = self.flag("attention_bias"), self.number("q_lora_rank", 0)
        if rank:
            yield LinearShape("q_a_proj", hidden, rank, bias)
            yield LinearShape("q_b_proj", rank, query)
        else:
            yield LinearShape("q_proj", hidden, query)
        low, nope = self.number("kv_lora_rank", 512), self.number("qk_nope_head_dim", 128)
        yield LinearShape("kv_a_proj_with_mqa", hidden, low + self.key_width - nope, bias)
        yield LinearShape("kv_b_proj", low, self.heads * (nope + self.value_width))
        yield LinearShape("o_proj", self.heads * self.value_width, hidden, bias)

    def mlp(self, width: int, prefix: str = "mlp.") -> Iterator[LinearShape]:
        hidden, bias = self.hidden, self.flag(self.family.mlp_bias)
        *into, back = (prefix + name for name in self.family.mlp)
        if self.family.fused_gate:
            yield LinearShape(prefix + "gate_up_proj", hidden, 2 * width, bias)
        else:
            for name in into:
                yield LinearShape(name, hidden, width, bias)
        yield LinearShape(back, width, hidden, bias)

    def has_experts(self, layer: int) -> bool:
        if not self.expert_count():
            return False
        dense = self.said.get("mlp_only_layers", ())
        if not isinstance(dense, list | tuple):
            self.refuse("mlp_only_layers", dense)
        if layer in dense or layer < self.number("first_k_dense_replace", 0):
            return False
        return (layer + 1) % self.number("decoder_sparse_step", 1, least=1) == 0

    def expert_count(self) -> int:
        for name in ("num_local_experts", "num_experts", "n_routed_experts"):
            if name in self.said:
                return self.number(name, 0)
        return 0

    def experts(self) -> Iterator[LinearShape]:
        """A router, experts as one stack of matrices, and what every token takes beside those it is sent to."""
        count, hidden, kind = self.expert_count(), self.hidden, self.kind
        width = self.number("moe_intermediate_size", self.inner)
        used = self.number("num_experts_per_tok", self.number("experts_per_token", 0))
        if not 0 < used <= count:
            self.refuse("num_experts_per_tok", self.said.get("num_experts_per_tok"))
        bias = kind == "gpt_oss"
        yield LinearShape("router", hidden, count, bias, adapts=False)
        yield LinearShape("experts.gate_up_proj", hidden, 2 * width, bias, count, used, adapts=False)
        yield LinearShape("experts.down_proj", width, hidden, bias, count, used, adapts=False)
        if kind == "qwen2_moe":
            yield from self.mlp(self.number("shared_expert_intermediate_size", width), "shared_expert.")
            yield LinearShape("shared_expert_gate", hidden, 1)
        elif shared := self.number("n_shared_experts", 0):
            yield from self.mlp(shared * width, "shared_experts.")

    def vectors(self) -> int:
        """Numbers of a layer that are in no matrix."""
        family = self.family
        query, key = self.heads * self.key_width, self.kv_heads * self.key_width
        norms = family.norms * self.hidden * (2 if family.norm_bias else 1)
        if family.qk_norm == "width":
            norms += query + key
        elif family.qk_norm == "head" or (family.qk_norm and self.said.get(family.qk_norm)):
            norms += 2 * self.key_width
        if self.kind.startswith("deepseek"):
            norms += self.number("q_lora_rank", 0) + self.number("kv_lora_rank", 512)
        return norms + (self.heads if family.sinks else 0)

    def flag(self, answer: str | bool) -> bool:
        return bool(self.said.get(answer, False)) if isinstance(answer, str) else answer

    def size(self, name: str, default: int | None = None) -> int:
        for key in NAMES[name]:
            if key in self.said:
                return self.number(key, 0, least=0 if default is not None else 1)
        if default is None:
            self.refuse(NAMES[name][0], None)
        return default

    def number(self, key: str, default: int, *, least: int = 0) -> int:
        value = self.said.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.refuse(key, value)
        return int(value)

    def refuse(self, key: str, value: object) -> NoReturn:
        raise InputError("planner.size-unknown", where=self.where, key=key, found="-" if value is None else value)
