"""The names that are known beside the keys that are built: other spellings, groups, planned keys, keys without effect.

Tables only; `gather` reads them. PLANNED and IDLE are sorted by the letter that they send, whose words
stand in `errors.letters.vocabulary` in both languages.

What it deliberately does not do: name a built key's type or help. Those stand in its section.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llama_factory.config.values import UnreadableError, as_bool

ALIASES: Mapping[str, str] = {
    "model_name": "model_name_or_path",
    "model_path": "model_name_or_path",
    "base_model": "model_name_or_path",
    "model": "model_name_or_path",
    "tokenizer_name_or_path": "tokenizer_name",
    "tokenizer": "tokenizer_name",
    "adapter_path": "adapter_name_or_path",
    "adapter_name": "adapter_name_or_path",
    "checkpoint_dir": "adapter_name_or_path",
    "hf_token": "hf_hub_token",
    "revision": "model_revision",
    "flash_attention": "flash_attn",
    "attn_implementation": "flash_attn",
    "torch_dtype": "infer_dtype",
    "finetuning_method": "finetuning_type",
    "lora_r": "lora_rank",
    "lora_modules": "lora_target",
    "lora_target_modules": "lora_target",
    "modules_to_save": "additional_target",
    "num_layer_trainable": "freeze_trainable_layers",
    "name_module_trainable": "freeze_trainable_modules",
    "pre_seq_len": "num_virtual_tokens",
    "prompt_tuning_init_text": "prompt_init_text",
    "dropout": "model_dropout",
    "dropout_rate": "model_dropout",
    "attention_dropout": "model_dropout",
    "noise_alpha": "neftune_noise_alpha",
    "train_data": "dataset",
    "train_dataset": "dataset",
    "train_file": "dataset",
    "eval_data": "eval_dataset",
    "validation_data": "eval_dataset",
    "validation_dataset": "eval_dataset",
    "validation_file": "eval_dataset",
    "cutoff_length": "cutoff_len",
    "max_seq_length": "cutoff_len",
    "max_seq_len": "cutoff_len",
    "system_prompt": "default_system",
    "dev_ratio": "val_size",
    "batch_size": "per_device_train_batch_size",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "optimizer": "optim",
    "lr": "learning_rate",
    "clip_grad": "max_grad_norm",
    "gradient_clipping": "max_grad_norm",
    "lr_scheduler": "lr_scheduler_type",
    "evaluation_strategy": "eval_strategy",
    "resume": "resume_from_checkpoint",
    "bnb_4bit_quant_type": "quantization_type",
    "bnb_4bit_use_double_quant": "double_quantization",
    "modules_to_not_convert": "ignore_layers",
    "loftq_bits": "quantization_bit",
}
"""Another name for the same value."""

Translation = Callable[[Any], Mapping[str, Any]]


def _use_lora(value: Any) -> Mapping[str, Any]:
    return {"finetuning_type": "lora" if as_bool(value) else "full"}


def _disable_gradient_checkpointing(value: Any) -> Mapping[str, Any]:
    return {"gradient_checkpointing": not as_bool(value)}


def _use_cpu(value: Any) -> Mapping[str, Any]:
    return {"device_map": "cpu"} if as_bool(value) else {}


def _mixed_precision(value: Any) -> Mapping[str, Any]:
    word = str(value).strip().lower()
    if word in ("bf16", "fp16"):
        return {word: True}
    if word in ("no", "false", "fp32"):
        return {"bf16": False}
    raise UnreadableError


def _load_in_4bit(value: Any) -> Mapping[str, Any]:
    return {"quantization_bit": 4} if as_bool(value) else {}


def _load_in_8bit(value: Any) -> Mapping[str, Any]:
    return {"quantization_bit": 8} if as_bool(value) else {}


def _init_lora_weights(value: Any) -> Mapping[str, Any]:
    """peft's own key: how A and B begin. Its other words ask for starts that are not built, or for B that is not 0."""
    word = str(value).strip().lower()
    rounds = word.removeprefix("pissa_niter_")
    if word == "loftq":
        return {"loftq_init": True}
    if word == "pissa":
        return {"pissa_init": True, "pissa_iter": -1}
    if rounds != word and rounds.isdecimal():
        return {"pissa_init": True, "pissa_iter": int(rounds)}
    if as_bool(value):
        return {}
    raise UnreadableError


def _early_stopping_steps(value: Any) -> Mapping[str, Any]:
    return {"early_stopping": True, "early_stopping_patience": value}


def _adafactor(value: Any) -> Mapping[str, Any]:
    return {"optim": "adafactor"} if as_bool(value) else {}


TRANSLATED: Mapping[str, tuple[str, Translation]] = {
    "adafactor": ("true | false", _adafactor),
    "use_lora": ("true | false", _use_lora),
    "disable_gradient_checkpointing": ("true | false", _disable_gradient_checkpointing),
    "use_cpu": ("true | false", _use_cpu),
    "no_cuda": ("true | false", _use_cpu),
    "early_stopping_steps": ("int >= 1", _early_stopping_steps),
    "mixed_precision": ("no | bf16 | fp16", _mixed_precision),
    "load_in_4bit": ("true | false", _load_in_4bit),
    "load_in_8bit": ("true | false", _load_in_8bit),
    "init_lora_weights": ("true | loftq | pissa | pissa_niter_16", _init_lora_weights),
}
"""Another name and another way to say the value: what the value is, and the keys that it stands for."""

IMPLIED: Mapping[tuple[str, str], tuple[str, Mapping[str, Any]]] = {
    ("finetuning_type", "dora"): ("lora", {"use_dora": True}),
    ("finetuning_type", "qlora"): ("lora", {"quantization_bit": 4}),
}
"""A key's word that stands for a plainer word of it and for values of other keys, where these say nothing."""

GROUPS = frozenset({
    "training_arguments", "training_args", "model_arguments", "model_args", "data_arguments", "data_args",
    "finetuning_arguments", "finetuning_args", "generating_arguments", "generating_args", "generation_args",
    "export_arguments", "export_args", "lora_config", "lora_args", "quantization_config",
})  # fmt: skip
"""Names of mappings whose keys are read as if they stood at the top. A section's own name is one, too."""

PRECISIONS = frozenset({"bf16", "fp16"})
"""Keys that may be mappings as well: `enabled` is the key's value, the rest are keys without effect."""

Off = tuple[Any, ...]
"""Values of a planned key that ask for nothing. Nothing given (null, empty) always does."""

NO: Off = (False,)

PLANNED: Mapping[str, Mapping[str, Off]] = {
    "config.planned-fp8": {
        "fp8": NO, "fp8_backend": ("auto",), "fp8_enable_fsdp_float8_all_gather": NO,
    },
    "config.planned-quantised-export": {
        "export_quantization_bit": (), "export_quantization_dataset": (), "export_quantization_nsamples": (128,),
        "export_quantization_maxlen": (1024,),
    },
    "config.planned-hub": {
        "push_to_hub": NO, "push_to_hub_model_id": (), "push_to_hub_organization": (), "push_to_hub_token": (),
        "hub_model_id": (), "hub_token": (), "hub_strategy": ("every_save",), "hub_private_repo": NO,
        "hub_always_push": NO, "hub_revision": (), "export_hub_model_id": (), "ms_hub_token": (), "om_hub_token": (),
    },
    "config.planned-media": {
        "media_dir": (), "image_max_pixels": (768 * 768,), "image_min_pixels": (32 * 32,),
        "image_do_pan_and_scan": NO, "crop_to_patches": NO, "video_max_pixels": (256 * 256,),
        "video_min_pixels": (16 * 16,), "video_fps": (2.0,), "video_maxlen": (128,), "use_audio_in_video": NO,
        "audio_sampling_rate": (16000,), "freeze_vision_tower": (True,), "freeze_multi_modal_projector": (True,),
        "freeze_language_model": NO,
    },
    "config.planned-engines": {
        "infer_backend": ("huggingface", "hf", "transformers"), "vllm_maxlen": (4096,), "vllm_gpu_util": (0.7,),
        "vllm_enforce_eager": NO, "vllm_max_lora_rank": (32,), "vllm_config": (), "sglang_maxlen": (4096,),
        "sglang_mem_fraction": (0.7,), "sglang_tp_size": (-1,), "sglang_config": (),
        "sglang_lora_backend": ("triton",), "use_kt": NO, "kt_config": (), "kt_cpu_activation": (),
        "kt_weight_path": (), "kt_non_expert_weight_path": (), "kt_expert_checkpoint_path": (),
        "kt_use_lora_experts": NO, "kt_lora_expert_num": (), "kt_lora_expert_intermediate_size": (),
    },
    "config.planned-surgery": {
        "shift_attn": NO, "mixture_of_depths": (), "train_from_scratch": NO,
        "moe_aux_loss_coef": (0,), "upcast_layernorm": NO, "upcast_lmhead_output": NO, "use_unsloth": NO,
    },
    "config.planned-adapters": {
        "adapter_folder": (),
    },
    "config.planned-preferences": {
        "pref_beta": (0.1,), "pref_ftx": (0,), "pref_bco_weight": (0,), "pref_loss": ("sigmoid",),
        "dpo_beta": (0.1,), "dpo_loss": ("sigmoid",), "dpo_ftx": (0,), "dpo_label_smoothing": (0,), "ld_alpha": (),
        "kto_beta": (0.1,), "kto_chosen_weight": (1.0,), "kto_rejected_weight": (1.0,), "simpo_gamma": (0.5,),
        "ppo_buffer_size": (1,), "ppo_epochs": (4,), "ppo_score_norm": NO, "ppo_target": (6.0,),
        "ppo_whiten_rewards": NO, "ranking": NO, "ref_model": (), "ref_model_adapters": (),
        "ref_model_quantization_bit": (), "reward_model": (), "reward_model_adapters": (),
        "reward_model_quantization_bit": (), "reward_model_type": ("lora",),
    },
    "config.planned-losses": {
        "compute_accuracy": NO,
    },
    "config.planned-mixing": {
        "dataloader_drop_last": NO, "train_sampling_strategy": ("random", "group_by_length"),
    },
    "config.planned-thinking": {
        "preserve_thinking": NO, "tool_format": (),
    },
    "config.planned-distributed": {
        "deepspeed": (), "fsdp": NO, "fsdp_config": (), "fsdp_min_num_params": (0,),
        "fsdp_transformer_layer_cls_to_wrap": (), "accelerator_config": (), "parallelism_config": (),
        "tpu_num_cores": (), "use_ray": NO, "ray_num_workers": (1,), "ray_run_name": (), "ray_storage_path": (),
        "ray_init_kwargs": (), "placement_strategy": (), "resources_per_worker": (), "use_mca": NO,
        "use_megatron_bridge": NO, "megatron_bridge_args": (), "use_hyper_parallel": NO, "hyper_parallel_args": (),
        "hyper_parallel_cp_size": (1,), "tensor_model_parallel_size": (1,), "pipeline_model_parallel_size": (1,),
        "expert_model_parallel_size": (1,), "context_parallel_size": (1,),
        "virtual_pipeline_model_parallel_size": (), "sequence_parallel": NO, "num_gpus": (0, 1),
        "recompute_granularity": (), "recompute_method": (), "recompute_num_layers": (),
        "account_for_embedding_in_pipeline_split": NO, "account_for_loss_in_pipeline_split": NO,
        "bias_activation_fusion": NO, "apply_rope_fusion": NO, "masked_softmax_fusion": NO,
        "cross_entropy_loss_fusion": NO, "moe_grouped_gemm": NO, "moe_token_dispatcher_type": (),
        "calculate_per_token_loss": NO, "use_distributed_optimizer": (True, False),
        "overlap_param_gather": (True, False), "overlap_grad_reduce": (True, False), "use_packed_sequences": NO,
        "megatron_pretrained_checkpoint": (), "export_hf_on_finish": NO, "extra_config": (),
    },
    "config.planned-trackers": {
        "use_swanlab": NO, "swanlab_project": ("llamafactory",), "swanlab_workspace": (), "swanlab_run_name": (),
        "swanlab_mode": ("cloud",), "swanlab_api_key": (), "swanlab_logdir": (), "swanlab_lark_webhook_url": (),
        "swanlab_lark_secret": (), "trackio_space_id": ("trackio",), "trackio_bucket_id": (),
        "trackio_static_space_id": (),
    },
    "config.planned-prediction": {
        "do_predict": NO, "predict_with_generate": NO, "generation_max_length": (), "generation_num_beams": (1,),
        "generation_config": (), "sortish_sampler": NO, "eval_num_beams": (1,), "task": (), "task_dir": (),
        "n_shot": (), "lang": (), "save_dir": (), "download_mode": (),
    },
    "config.planned-profiling": {
        "enable_torch_profiler": NO, "profiler_output_dir": (), "profiler_wait_steps": (1,),
        "profiler_warmup_steps": (1,), "profiler_active_steps": (1,), "profiler_repeat": (1,),
        "profiler_record_shapes": (True, False), "profiler_profile_memory": (True, False),
        "profiler_with_stack": (True, False), "profile_modules": (), "print_param_status": NO,
    },
    "config.planned-loop": {
        "save_only_model": NO, "ignore_data_skip": NO, "auto_find_batch_size": NO, "torch_compile": NO,
        "torch_compile_backend": (), "torch_compile_mode": (), "full_determinism": NO, "tf32": NO,
        "logging_strategy": ("steps",), "logging_first_step": NO, "eval_on_start": NO,
        "eval_delay": (0,), "enable_jit_checkpoint": NO,
    },
    "config.planned-sampling": {
        "num_beams": (1,), "length_penalty": (1.0,), "skip_special_tokens": (True,), "use_kv_cache": (True,),
        "min_p": (0,), "typical_p": (1.0,), "no_repeat_ngram_size": (0,),
    },
}  # fmt: skip
"""By feature: keys that are known and not built yet, with the values at which they ask for nothing."""

IDLE: Mapping[str, tuple[str, ...]] = {
    "config.idle-no-loader": (
        "dataloader_num_workers", "dataloader_pin_memory", "dataloader_prefetch_factor",
        "dataloader_persistent_workers", "dataloader_multiprocessing_context", "dataloader_in_order",
    ),
    "config.idle-own-threads": ("preprocessing_num_workers", "preprocessing_batch_size"),
    "config.idle-keyed": ("overwrite_cache",),
    "config.idle-always-converted": ("pissa_convert",),
    "config.idle-one-process": (
        "ddp_timeout", "ddp_find_unused_parameters", "ddp_backend", "ddp_bucket_cap_mb", "ddp_broadcast_buffers",
        "ddp_static_graph", "local_rank", "master_addr", "master_port", "save_on_each_node", "log_on_each_node",
        "data_shared_file_system", "average_tokens_across_devices",
    ),
    "config.idle-no-debug": ("debug", "logging_nan_inf_filter"),
    "config.idle-loss-scale": (
        "loss_scale", "loss_scale_window", "initial_scale_power", "hysteresis", "min_loss_scale",
        "consecutive_hysteresis", "auto_cast", "immediate_grad_update",
    ),
    "config.idle-no-padding": (
        "ignore_pad_token_for_loss", "group_by_length", "length_column_name", "pad_to_multiple_of",
    ),
    "config.idle-eval-batch": ("per_device_eval_batch_size", "per_gpu_eval_batch_size", "eval_batch_size"),
    "config.idle-counted": (
        "include_num_input_tokens_seen", "include_tokens_per_second", "include_effective_tokens_per_second",
    ),
    "config.idle-speed": (
        "low_cpu_mem_usage", "enable_liger_kernel", "use_liger_kernel", "liger_kernel_config", "use_unsloth_gc",
        "use_reentrant_gc", "gradient_checkpointing_kwargs", "use_v1_kernels", "torch_empty_cache_steps",
        "jit_mode_eval", "use_ipex", "offload_folder", "eval_accumulation_steps", "use_cache",
    ),
    "config.idle-precision": (
        "half_precision_backend", "fp16_backend", "fp16_opt_level", "bf16_full_eval", "fp16_full_eval",
    ),
    "config.idle-own-loop": (
        "remove_unused_columns", "label_names", "prediction_loss_only", "include_for_metrics",
        "include_inputs_for_metrics", "batch_eval_metrics", "eval_do_concat_batches", "eval_use_gather_object",
        "past_index", "skip_memory_metrics", "use_legacy_prediction_loop", "dispatch_batches", "split_batches",
        "restore_callback_states_from_checkpoint", "use_mps_device", "mp_parameters", "torchdynamo", "ray_scope",
    ),
    "config.idle-screen": ("disable_tqdm", "log_level", "log_level_replica", "run_name", "project"),
    "config.idle-safetensors": ("save_safetensors",),
    "config.idle-device-map": ("quantization_device_map",),
    "config.idle-compute-format": ("bnb_4bit_compute_dtype", "bnb_4bit_quant_storage"),
    "config.idle-untrusted": ("split_special_tokens",),
}  # fmt: skip
"""By reason: keys that are accepted, and change nothing."""

NEVER: Mapping[str, tuple[Any, ...]] = {"save_safetensors": (False,)}
"""Values of keys without effect that ask for what this program will not do."""

FEATURE_OF: Mapping[str, str] = {key: feature for feature, keys in PLANNED.items() for key in keys}
REASON_OF: Mapping[str, str] = {key: reason for reason, keys in IDLE.items() for key in keys}


def asks_for_nothing(key: str, meant: object) -> bool:
    """Whether a planned key stands at a value that changes nothing."""
    if meant is None or (isinstance(meant, (str, tuple, list, dict)) and not meant):
        return True
    offs = PLANNED[FEATURE_OF[key]][key]
    if isinstance(meant, str):
        return meant.lower() in offs
    return isinstance(meant, (bool, int, float)) and meant in offs
