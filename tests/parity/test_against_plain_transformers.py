"""The whole training loop beside plain transformers, peft and PyTorch: the same losses, gradients and weights.

The plain side is written here with nothing of ours but the rows and the starting weights: padded batches with an
attention mask, full logits, `cross_entropy`, `torch.optim.AdamW`, the schedule of transformers.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from llama_factory import data, recipes
from llama_factory.config import from_mapping
from llama_factory.model import adapters, load, norm
from llama_factory.model.methods import Start
from llama_factory.render import load_renderer

STEPS = 10
ROWS = 6

pytestmark = pytest.mark.parity


def write_rows(folder: Path) -> Path:
    words = "what is the answer to a question about rivers mountains bread music winter and light".split()
    generator = np.random.default_rng(5)
    rows = []
    for number in range(40):
        question = " ".join(generator.choice(words, size=int(generator.integers(2, 14))))
        answer = " ".join(generator.choice(words, size=int(generator.integers(1, 20))))
        row = {"instruction": question, "input": "", "output": f"{answer} {number}"}
        if number % 5 == 0:
            row["history"] = [["first " + question, "so " + answer]]
        rows.append(row)
    file = folder / "rows.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file


def settings(model: Path, file: Path, output: Path, method: str) -> dict:
    return {
        "model_name_or_path": str(model),
        "stage": "sft",
        "finetuning_type": method,
        "lora_rank": 4,
        "freeze_trainable_layers": 1,
        "dataset": str(file),
        "cutoff_len": 512,
        "output_dir": str(output),
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": ROWS // 2,
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 3,
        "max_steps": STEPS,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "bf16": False,
        "seed": 3,
    }


def given(settings: dict, method: str) -> dict:
    unused = {"lora": "freeze_", "freeze": "lora_"}.get(method, ("freeze_", "lora_"))
    return {key: value for key, value in settings.items() if not key.startswith(unused)}


def plain_losses_and_first_gradients(run, model_folder: Path, cache: Path):
    """Ten updates with the libraries alone, on the rows of our source."""
    from transformers import AutoModelForCausalLM, get_scheduler

    renderer = load_renderer(model_folder)
    store = data.prepare(run, renderer, cache=cache, say=lambda line: None).train
    source = data.batches(store, rows_per_step=ROWS, micro_batch_tokens=10**6, seed=run.training.seed, shuffle=True)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    adapters.attach(model, run.method, Start("float32", run.training.seed))
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    no_decay = [n for n in trained if n.endswith("bias") or "norm" in n.lower()]
    groups = [
        {"params": [p for n, p in trained.items() if n not in no_decay], "weight_decay": 0.1},
        {"params": [p for n, p in trained.items() if n in no_decay], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=3, num_training_steps=STEPS)
    model.train()
    losses, first = [], {}
    for step in range(STEPS):
        (batch,) = source.next_step().batches
        ids_BT, mask_BT, label_BT = padded(batch)
        logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT).logits.float()
        loss = torch.nn.functional.cross_entropy(
            logits_BTV[:, :-1].flatten(0, 1), label_BT[:, 1:].flatten(), ignore_index=-100
        )
        loss.backward()
        if step == 0:
            first = {name: value.grad.clone() for name, value in trained.items() if value.grad is not None}
        losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return losses, first, {name: value.detach().clone() for name, value in trained.items()}


def padded(batch):
    lengths = batch.lengths_R.tolist()
    ids_BT = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    label_BT = torch.full_like(ids_BT, -100)
    for row, (start, end) in enumerate(zip(batch.offsets[:-1], batch.offsets[1:], strict=True)):
        ids = torch.from_numpy(batch.ids_T[start:end].astype(np.int64))
        ids_BT[row, : end - start] = ids
        mask_BT[row, : end - start] = 1
        trained = torch.from_numpy(batch.weight_T[start:end] > 0)
        label_BT[row, : end - start][trained] = ids[trained]
    return ids_BT, mask_BT, label_BT


@pytest.mark.parametrize("method", ["lora", "freeze", "full"])
@pytest.mark.parametrize("budget", [64, 100_000])
def test_ten_steps_are_the_plain_ones(tiny_model, tmp_path, monkeypatch, method, budget) -> None:
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    compare(tiny_model, tmp_path, method, budget)


@pytest.mark.real
@pytest.mark.slow
def test_ten_steps_of_the_real_model_are_the_plain_ones(real_model, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    compare(real_model, tmp_path, "lora", 300)


def compare(model: Path, tmp_path: Path, method: str, budget: int) -> None:
    wanted = given(settings(model, write_rows(tmp_path), tmp_path / "run", method), method)
    run = from_mapping({**wanted, "micro_batch_tokens": budget}, "test")
    losses, first, weights = plain_losses_and_first_gradients(run, model, tmp_path / "cache")
    recipes.train(run, say=lambda line: None)
    log = [json.loads(line) for line in (tmp_path / "run" / "trainer_log.jsonl").read_text().splitlines()]
    ours = [entry["loss"] for entry in log if "loss" in entry]
    assert len(ours) == STEPS
    assert max(abs(a - b) for a, b in zip(ours, losses, strict=True)) < 1e-5
    gradients = our_first_gradients(run, model, tmp_path)
    assert gradients.keys() == first.keys()
    for name, wanted_gradient in first.items():
        difference = (gradients[name] - wanted_gradient).norm() / wanted_gradient.norm().clamp(min=1e-12)
        assert difference < 1e-5, name
    assert weights


def our_first_gradients(run, model_folder: Path, tmp_path: Path) -> dict[str, torch.Tensor]:
    """The gradients of the first step, as the loop makes them, for the run's own split into micro-batches."""
    from llama_factory.model.policy import LOGPROBS, Policy

    renderer = load_renderer(model_folder)
    store = data.prepare(run, renderer, cache=tmp_path / "cache", say=lambda line: None).train
    budget = run.training.micro_batch_tokens
    source = data.batches(store, rows_per_step=ROWS, micro_batch_tokens=budget, seed=run.training.seed, shuffle=True)
    module = load.load(model_folder, dtype="float32")
    adapters.attach(module, run.method, Start("float32", run.training.seed, True))
    assert norm.replace(module) > 0
    policy = Policy(module)
    module.train()
    step = source.next_step()
    assert len(step.batches) > 1 or budget > 1000
    for batch in step.batches:
        output = policy.forward(batch, LOGPROBS)
        (-output.logprob_S.sum() / step.counts["sft"]).backward()
    return {name: value.grad for name, value in module.named_parameters() if value.grad is not None}
