"""Every configuration of the five tutorials, and files in the form of the peer's examples, as printed.

Each fragment says what it must become: keys with values, keys without effect, or the planned keys that are
refused by name.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from llama_factory.config import from_mapping, load, require
from llama_factory.errors import LlamaFactoryError, SeveralErrors

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))

ACCEPTED = {
    "train lora": (
        """
model_name_or_path: /username/model/Qwen2-7B
stage: sft
do_train: true
finetuning_type: lora
lora_target: all
dataset: align_anything
template: qwen
cutoff_len: 1024
max_samples: 103505
overwrite_cache: true
preprocessing_num_workers: 16
output_dir: saves/qwen2-7b/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
val_size: 0.1
per_device_eval_batch_size: 1
eval_strategy: steps
eval_steps: 500
""",
        {"learning_rate": 1e-4, "max_samples": 103505, "val_size": 0.1, "template": "qwen", "eval_steps": 500},
        ["overwrite_cache", "preprocessing_num_workers", "ddp_timeout", "per_device_eval_batch_size"],
    ),
    "merge": (
        """
model_name_or_path: /username/model/Qwen2-7B
adapter_name_or_path: saves/qwen2-7b/lora/sft
template: qwen
finetuning_type: lora
export_dir: models/qwen2_lora_sft
export_size: 2
export_device: cpu
export_legacy_format: false
""",
        {"adapter_name_or_path": ["saves/qwen2-7b/lora/sft"], "export_size": 2.0, "export_legacy_format": False},
        [],
    ),
    "inference": (
        "model_name_or_path: models/qwen2_lora_sft\ntemplate: qwen\n",
        {"model_name_or_path": "models/qwen2_lora_sft"},
        [],
    ),
    "architecture": (
        """
model_name_or_path: "tencent/Hunyuan-1.8B-Instruct-GPTQ-Int4"
model_type: "hunyuan_v1_dense"
hidden_size: 2048
num_hidden_layers: 32
num_attention_heads: 16
num_key_value_heads: 4
intermediate_size: 6144
""",
        {"model_type": "hunyuan_v1_dense", "num_key_value_heads": 4, "head_dim": None},
        [],
    ),
    "learning rate": (
        'learning_rate: 2e-5\nlr_scheduler_type: "cosine"\nwarmup_ratio: 0.03\nweight_decay: 0.01\n',
        {"learning_rate": 2e-5, "warmup_ratio": 0.03, "weight_decay": 0.01},
        [],
    ),
    "batches": (
        "per_device_train_batch_size: 2\nper_device_eval_batch_size: 2\ngradient_accumulation_steps: 8\n",
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8},
        ["per_device_eval_batch_size"],
    ),
    "optimizer": (
        'optim: "adamw_torch"\nadam_beta1: 0.9\nadam_beta2: 0.999\nadam_epsilon: 1e-8\nmax_grad_norm: 1.0\n',
        {"optim": "adamw_torch", "adam_epsilon": 1e-8, "max_grad_norm": 1.0},
        [],
    ),
    "duration": (
        "num_train_epochs: 3\nmax_steps: -1\nlogging_steps: 10\neval_steps: 100\nsave_steps: 500\n",
        {"max_steps": -1, "eval_steps": 100},
        ["eval_steps"],
    ),
    "template": (
        'template: "hunyuan"\nsystem_prompt: "You are a helpful assistant."\n',
        {"template": "hunyuan", "default_system": "You are a helpful assistant."},
        ["default_system"],
    ),
    "monitoring": (
        """
report_to: "tensorboard"
logging_dir: "./logs"
debug: false
dataloader_pin_memory: false
dataloader_num_workers: 4
""",
        {"report_to": ["tensorboard"], "logging_dir": "./logs"},
        ["debug", "dataloader_pin_memory", "dataloader_num_workers"],
    ),
    "training_arguments": (
        "training_arguments:\n  per_device_train_batch_size: 2\n  gradient_accumulation_steps: 16\n",
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 16},
        [],
    ),
    "fp16 as a mapping": (
        "fp16:\n  enabled: true\n  loss_scale: 0\n  loss_scale_window: 1000\n  initial_scale_power: 16\n",
        {"fp16": True, "bf16": None},
        ["fp16.loss_scale", "fp16.loss_scale_window", "fp16.initial_scale_power"],
    ),
    "a table of parameters": (
        "learning_rate: 3e-5\nbatch_size: 16\nwarmup_steps: 500\nmax_steps: 5000\nlora_rank: 16\nclip_grad: 1.0\n",
        {"per_device_train_batch_size": 16, "warmup_steps": 500, "max_steps": 5000, "lora_rank": 16},
        ["per_device_train_batch_size", "max_grad_norm"],
    ),
    "hints of the second tutorial": (
        "cutoff_length: 512\ngradient_checkpointing: true\nflash_attention: true\nfp16: true\n",
        {"cutoff_len": 512, "gradient_checkpointing": True, "flash_attn": "auto"},
        ["cutoff_len", "flash_attn"],
    ),
    "an example of the peer: lora sft": (
        """
### model
model_name_or_path: Qwen/Qwen3-4B-Instruct-2507
trust_remote_code: true
### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
### dataset
dataset: identity,alpaca_en_demo
template: qwen3_nothink
cutoff_len: 2048
max_samples: 1000
preprocessing_num_workers: 16
dataloader_num_workers: 4
### output
output_dir: saves/qwen3-4b/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none  # choices: [none, wandb, tensorboard, swanlab, mlflow]
### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
""",
        {"dataset": ["identity", "alpaca_en_demo"], "report_to": ["none"], "resume_from_checkpoint": None},
        ["preprocessing_num_workers", "dataloader_num_workers", "ddp_timeout"],
    ),
    "an example of the peer: export": (
        """
model_name_or_path: Qwen/Qwen3-4B-Instruct-2507
adapter_name_or_path: saves/qwen3-4b/lora/sft
template: qwen3_nothink
trust_remote_code: true
export_dir: saves/qwen3_sft_merged
export_size: 5
export_device: cpu  # choices: [cpu, auto]
export_legacy_format: false
""",
        {"export_size": 5.0, "trust_remote_code": True},
        [],
    ),
    "an example of the peer: chat": (
        """
model_name_or_path: Qwen/Qwen3-4B-Instruct-2507
adapter_name_or_path: saves/qwen3-4b/lora/sft
template: qwen3_nothink
infer_backend: huggingface  # choices: [huggingface, vllm, sglang]
trust_remote_code: true
""",
        {"template": "qwen3_nothink"},
        [],
    ),
}

ACCEPTED["early stopping, with rows to measure"] = (
    """
early_stopping: true
early_stopping_patience: 3
metric_for_best_model: "eval_loss"
greater_is_better: false
val_size: 0.1
""",
    {"early_stopping": True, "early_stopping_patience": 3, "greater_is_better": False, "eval_strategy": "epoch"},
    [],
)

GPTQ = {
    "quant_method": "gptq",
    "bits": 4,
    "group_size": 128,
    "desc_act": True,
    "ignore_layers": ["lm_head", "model.embed_tokens", "mlp.gate.wg"],
}
for name, inside in (("indented", "  "), ("as printed", "")):
    ACCEPTED[f"quantisation, {name}"] = (
        "\nquantization_config:\n"
        + "".join(
            f"{inside}{line}\n"
            for line in (
                "bits: 4",
                "group_size: 128",
                "desc_act: true",
                'quant_method: "gptq"',
                'ignore_layers: ["lm_head", "model.embed_tokens", "mlp.gate.wg"]',
            )
        ),
        GPTQ,
        [],
    )

REFUSED = {
    "fsdp": (
        """
fp16: true
bf16: false
gradient_checkpointing: true
fsdp: "full_shard auto_wrap"
fsdp_config:
  transformer_auto_wrap_policy:
    transformer_layer_cls:
      - "HunYuanDenseV1Layer"
  limit_all_gathers: true
""",
        ["fsdp", "fsdp_config"],
    ),
    "deepspeed": (
        """
deepspeed:
  zero_optimization:
    stage: 3
    offload_optimizer:
      device: cpu
  optimizer:
    type: AdamW
    params:
      lr: 2e-5
""",
        ["deepspeed"],
    ),
}


def test_all_fragments_are_here():
    assert (len(ACCEPTED), len(REFUSED)) == (20, 2)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_fragment_is_read_as_its_tutorial_means_it(given, name):
    text, values, noticed = ACCEPTED[name]
    run = given(text)
    resolved = run.resolved()
    assert {key: resolved[key] for key in values} == values
    assert [notice.values["key"] for notice in run.notices] == noticed


@pytest.mark.parametrize("name", REFUSED)
def test_a_fragment_that_needs_what_is_planned_is_refused_by_name(refused, name):
    text, keys = REFUSED[name]
    problems = refused(text)
    assert [one.values["key"] for one in problems] == keys
    lines = text.split("\n")
    for one, key in zip(problems, keys, strict=True):
        assert "not built yet" in one.letter()
        assert lines[int(one.where.partition(":")[2]) - 1].startswith(f"{key}:")


def test_the_keyword_arguments_of_the_python_class_are_read():
    made = {
        "model_name": "meta-llama/Llama-2-7b-hf",
        "tokenizer_name": "meta-llama/Llama-2-7b-hf",
        "device_map": "auto",
    }
    trained = {
        "train_data": "train.jsonl",
        "eval_data": "eval.jsonl",
        "output_dir": "./output",
        "num_train_epochs": 3,
        "per_device_train_batch_size": 2,
        "learning_rate": 3e-6,
        "gradient_accumulation_steps": 4,
        "save_strategy": "steps",
        "save_steps": 1000,
        "logging_steps": 100,
        "fp16": True,
    }
    run = from_mapping({**made, **trained, "use_lora": True, "lora_rank": 16, "lora_alpha": 32}, "LLaMATuner.train")
    assert (run.model.model_name_or_path, run.model.device_map) == ("meta-llama/Llama-2-7b-hf", "auto")
    assert (run.data.dataset, run.data.eval_dataset) == (("train.jsonl",), ("eval.jsonl",))
    assert (run.method.finetuning_type, run.method.lora.lora_rank, run.method.lora.alpha) == ("lora", 16, 32)
    assert run.training.fp16 is True
    require(run, "train")
    medical = {"train_data": "m.jsonl", "eval_data": "e.jsonl", "learning_rate": 2e-6, "batch_size": 1, "lora_rank": 8}
    assert from_mapping({**made, **medical, "num_train_epochs": 4}, "x").training.num_train_epochs == 4.0


def test_every_example_of_this_repository_loads():
    assert len(EXAMPLES) >= 5
    for path in EXAMPLES:
        try:
            load(path)
        except (LlamaFactoryError, SeveralErrors) as error:
            pytest.fail(str(error))
