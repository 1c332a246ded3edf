"""Any causal language model of transformers, small enough to build in a blink.

In: a model type. Out: a configuration with two short layers of every kind that the type has, and a model
whose weights are large enough that attention, windows, caps and routers all show in the output: with
freshly initialised weights a leak between rows would drown in rounding.

It makes no tokenizer and saves nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

VOCABULARY = 61
WINDOW = 4

_SIZES: Mapping[str, Any] = {
    # width
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "dim": 32, "emb_dim": 32, "d_embed": 32, "embedding_size": 32,
    "input_embedding_size": 32, "output_embedding_size": 32, "embedding_dim": 32, "word_embed_proj_dim": 32,
    "backbone_hidden_size": 32, "attention_hidden_size": 32, "lru_width": 32,
    "intermediate_size": 48, "ffn_dim": 48, "ffn_hidden_size": 48, "n_inner": 48, "dff": 48, "dim_ff": 48,
    "d_inner": 48,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "feed_forward_size": 48, "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16, "moe_shared_expert_intermediate_size": 16, "shared_intermediate_size": 16,
    "intermediate_size_mlp": 32, "expert_ffn_hidden_size": 16, "dense_intermediate_size": 32,
    "prefix_dense_intermediate_size": 32,
    # depth
    "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "encoder_layers": 1, "decoder_layers": 2,
    "num_encoder_layers": 1, "num_decoder_layers": 2, "num_hidden_groups": 1, "first_k_dense_replace": 1,
    # heads
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "attention_heads": 4, "num_key_value_heads": 2,
    "num_kv_heads": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_encoder_attention_heads": 4,
    "num_decoder_attention_heads": 4, "head_dim": 8, "global_head_dim": 8, "num_global_key_value_heads": 2,
    "attention_head_size": 8, "d_head": 8, "dim_head": 8, "d_kv": 8, "kv_channels": 8, "rotary_dim": 4,
    "q_lora_rank": 12, "kv_lora_rank": 8, "o_lora_rank": 8, "o_groups": 2, "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8, "v_head_dim": 8,
    # experts
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "num_experts_per_token": 2, "moe_topk": 2, "moe_k": 2, "top_k_experts": 2, "n_shared_experts": 1,
    "num_shared_experts": 1, "moe_num_shared_experts": 1, "n_group": 1, "topk_group": 1, "zero_expert_num": 1,
    # state spaces, convolutions, linear attention
    "mamba_d_state": 8, "state_size": 8, "ssm_state_size": 8, "mamba_n_heads": 4, "mamba_num_heads": 4,
    "mamba_d_head": 16, "mamba_head_dim": 16, "n_mamba_heads": 2, "mamba_n_groups": 1, "n_groups": 1,
    "mamba_ngroups": 1, "mamba_dt_rank": 4, "time_step_rank": 4, "mamba_d_ssm": 64, "mamba_chunk_size": 8,
    "chunk_size": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "linear_num_heads": 4, "linear_head_dim": 8, "block_size": 8,
    # places
    "vocab_size": VOCABULARY, "max_position_embeddings": 64, "n_positions": 64, "n_ctx": 64, "max_seq_len": 64,
    "sliding_window": WINDOW, "sliding_window_size": WINDOW, "attention_window_size": WINDOW, "local_attention": WINDOW,
    "window_size": WINDOW, "attention_chunk_size": WINDOW, "use_sliding_window": True, "max_window_layers": 1,
    "keep_window_size": 8, "index_topk": 4, "index_n_heads": 2, "index_head_dim": 8,
    # what is done to scores and logits: never the neutral number, so that leaving it out shows
    "final_logit_softcapping": 2.0, "attn_logit_softcapping": 2.0, "logits_soft_cap": 2.0, "output_logit_soft_cap": 2.0,
    "logits_scaling": 2.0, "logit_scale": 0.5, "lm_head_multiplier": 0.5, "logits_mup_width_multiplier": 2.0,
    "embedding_multiplier": 2.0, "residual_multiplier": 0.7, "attention_multiplier": 0.3, "dim_model_base": 16,
    "query_pre_attn_scalar": 8,
    # a decoder of words alone
    "is_decoder": True, "add_cross_attention": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    "decoder_start_token_id": 1, "forced_eos_token_id": None, "output_router_logits": False,
    "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8,
}  # fmt: skip

_PARTS: Mapping[str, Mapping[str, str]] = {"got_ocr2": {"text_config": "qwen2"}}
"""Parts that a type takes from any other type: which one to put there."""

NOT_ALONE: Mapping[str, str] = {
    "gemma3n": "its vision tower is made by another library, timm",
    "gemma4_assistant": "it reads keys and values that another model has computed",
    "gemma4_unified_assistant": "it reads keys and values that another model has computed",
    "musicgen": "it predicts sound, from text that another model has read",
    "musicgen_melody": "it predicts sound, from text that another model has read",
}
"""Types that cannot be made, or say nothing about text, by themselves."""

_TYPES: Mapping[str, Mapping[str, Any]] = {
    "blt": {"vocab_size": VOCABULARY, "encoder_hash_byte_group_vocab": 50},
    "blt_local_encoder": {"hidden_size_global": 64},
    "blt_local_decoder": {"hidden_size_global": 64},
    "blt_global_transformer": {"hidden_size": 64},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0},
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 48, "moe_top_k": 2},
    },
    "gemma3n_text": {
        "num_hidden_layers": 4, "num_kv_shared_layers": 2, "laurel_rank": 4, "intermediate_size": 48,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
    },
    "gemma4_text": {"global_head_dim": 8},
    "gemma4_unified_text": {"global_head_dim": 8},
    "gemma4_unified_vision": {"mm_embed_dim": 16, "mm_posemb_size": 16, "output_proj_dims": 16},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "cohere_compass_text": {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
        },
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "got_ocr2": {"vision_config": {"hidden_size": 32, "output_channels": 16, "num_hidden_layers": 1, "mlp_dim": 32}},
    "inkling_text": {"swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8},
    "laguna": {"layer_types": ["full_attention", "sliding_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "mellum": {"layer_types": ["full_attention", "sliding_attention"]},
    "minimax_m3_vl_text": {
        "layer_types": ["full_attention", "minimax_m3_sparse"], "index_block_size": 2, "index_topk_blocks": 2,
    },
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 4, "head_dim": 16, "expand": 2},
    "qwen4_exp_text": {
        "indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 4,
        "indexer_compress_ratio": 2,
    },
    "reformer": {
        "axial_pos_shape": (8, 8), "axial_pos_embds_dim": (16, 16), "attn_layers": ["local", "lsh"],
        "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8, "num_buckets": 4, "hash_seed": 1,
    },
    "roc_bert": {
        "pronunciation_vocab_size": 50, "shape_vocab_size": 50, "pronunciation_embed_dim": 32,
        "shape_embed_dim": 32,
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "attention_hidden_size": 64, "attention_head_dim": 16, "num_key_value_heads": 4, "num_hidden_layers": 3,
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
    },
    "zamba2": {
        "num_key_value_heads": 4, "num_hidden_layers": 3,
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
    },
    "zaya": {"num_experts_per_tok": 1, "layer_types": ["hybrid", "hybrid_sliding"], "router_hidden_size": 16},
}  # fmt: skip


def causal_types() -> tuple[str, ...]:
    """The model types that transformers lists as causal language models."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_config(model_type: str, **overrides: Any) -> PreTrainedConfig:
    """A configuration of this type with small numbers, one layer of every kind of layer, and no dropout."""
    from transformers import CONFIG_MAPPING

    return _shrunk(CONFIG_MAPPING[model_type], overrides)


def tiny_model(model_type: str, *, seed: int = 0, attention: str | None = "eager", **overrides: Any) -> PreTrainedModel:
    """A model of `tiny_config`, in training mode. attention: `eager` is its definition, None transformers' choice."""
    from transformers import AutoModelForCausalLM

    config = tiny_config(model_type, **overrides)
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        config, attn_implementation=attention, dtype=torch.float32
    )
    enliven(model, seed)
    return model.train()


@torch.no_grad()
def enliven(model: torch.nn.Module, seed: int) -> None:
    """Weights that matter: maps that keep the size of what goes in, norms and biases off their neutral value."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if weight.ndim == 2 and "embed" in name:
            weight.copy_(0.4 * noise)
        elif weight.ndim >= 2 and not _keeps_its_start(name):
            weight.copy_(noise / weight.shape[-1] ** 0.5)
        else:
            weight.add_(0.1 * noise)


def _keeps_its_start(name: str) -> bool:
    return any(part in name for part in ("A_log", "conv", "time_", "dt_"))


def _shrunk(kind: type[PreTrainedConfig], overrides: Mapping[str, Any]) -> PreTrainedConfig:
    given = dict(_generic(kind))
    given.update(_TYPES.get(kind.model_type, {}))
    given.update(overrides)
    for name, part in _PARTS.get(kind.model_type, {}).items():
        given.setdefault(name, tiny_config(part).to_dict())
    for name, sub in kind.sub_configs.items():
        if name not in given and isinstance(sub, type) and hasattr(sub, "model_type"):
            given[name] = _shrunk(sub, {}).to_dict()
    if "layer_types" not in given and _has(kind, "layer_types") and "num_hidden_layers" in given:
        given.update(_one_of_each(kind, given))
    return kind(**given)


def _one_of_each(kind: type[PreTrainedConfig], given: Mapping[str, Any]) -> dict[str, Any]:
    """The kinds of layer that twelve layers would have, once each."""
    twelve = kind(**{**given, "num_hidden_layers": 12})
    if not twelve.layer_types:
        return {}
    kinds = list(dict.fromkeys(twelve.layer_types))
    kinds = kinds * 2 if len(kinds) == 1 else kinds
    return {"layer_types": kinds, "num_hidden_layers": len(kinds)}


def _generic(kind: type[PreTrainedConfig]) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(kind):
        if "drop" in field.name and isinstance(field.default, float):
            yield field.name, 0.0
        elif field.name in _SIZES:
            yield field.name, _SIZES[field.name]
    if _has(kind, "qk_rope_head_dim"):  # latent attention: one key head a query head, rotated in part
        yield "head_dim", _SIZES["qk_rope_head_dim"]
        yield "num_key_value_heads", _SIZES["num_attention_heads"]


def _has(kind: type[PreTrainedConfig], name: str) -> bool:
    return any(field.name == name for field in dataclasses.fields(kind))
