"""What does it cost to compute log-probabilities and their gradients, by which way?

In: the folder of a real model. Out: one line per arm with the medians over rounds, and the raw numbers as
JSON lines in a file if one is named.

    python benchmarks/policy.py models/SmolLM2-135M-Instruct [--rounds 7] [--threads 2] [--dtype bfloat16] [--raw FILE]

LoRA of rank 8 on all linear layers. Eight rows of 60 to 300 tokens, half of each supervised; one round is
one forward and backward of all rows in each arm, strictly in turn (A B C D A B C D ...), so that what else
the machine does falls on all alike. Ratios are to the plain arm of the same round.

    plain    transformers and peft as everybody uses them: padded, attention mask, all logits, `labels`
    packed, padded, rows    the policy's layouts; `one pad` is `padded` with all rows in one forward
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from llama_factory.machine import torch_setup
from llama_factory.model import layouts
from llama_factory.model.layouts import Layout
from llama_factory.model.policy import Policy
from llama_factory.records import Batch

LENGTHS = (60, 300, 95, 130, 170, 205, 240, 75)
ROUND = Callable[[], float]


def batch_of(vocabulary: int) -> Batch:
    """Random ids; the second half of every row is supervised."""
    chance = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    weight_T = np.concatenate([np.repeat([0.0, 1.0], [n - n // 2, n // 2]) for n in LENGTHS]).astype(np.float32)
    ids_T = chance.integers(0, vocabulary, offsets[-1]).astype(np.int32)
    return Batch(ids_T, weight_T, offsets, np.arange(len(LENGTHS)))


def model_of(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """A model of its own for each arm, with the same adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    return get_peft_model(model, config, autocast_adapter_dtype=False).train()


def plain_arm(model: torch.nn.Module, batch: Batch) -> ROUND:
    shape = (len(LENGTHS), max(LENGTHS))
    ids_BT, mask_BT = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels_BT = torch.full(shape, -100)
    for r, (start, end) in enumerate(zip(batch.offsets[:-1], batch.offsets[1:], strict=True)):
        ids = torch.from_numpy(batch.ids_T[start:end].astype(np.int64))
        ids_BT[r, : end - start], mask_BT[r, : end - start] = ids, 1
        labels_BT[r, : end - start] = torch.where(torch.from_numpy(batch.weight_T[start:end]) > 0, ids, -100)

    def once() -> float:
        loss = model(input_ids=ids_BT, attention_mask=mask_BT, labels=labels_BT, use_cache=False).loss
        loss.backward()
        model.zero_grad()
        return float(loss.detach())

    return once


def policy_arm(model: torch.nn.Module, batch: Batch, layout: Layout, waste: float = layouts.MAX_WASTE) -> ROUND:
    policy = Policy(model, layout=layout)

    def once() -> float:
        layouts.MAX_WASTE = waste
        loss = -policy.forward(batch).logprob_S.mean()
        loss.backward()
        model.zero_grad()
        return float(loss.detach())

    return once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--raw", type=Path)
    asked = parser.parse_args()
    torch_setup()
    torch.set_num_threads(asked.threads)
    dtype = torch.bfloat16 if asked.dtype == "bfloat16" else torch.float32
    models = [model_of(asked.model, dtype) for _ in range(5)]
    batch = batch_of(models[0].get_input_embeddings().weight.shape[0])
    arms: dict[str, ROUND] = {
        "plain": plain_arm(models[0], batch),
        "packed": policy_arm(models[1], batch, Layout.PACKED),
        "padded": policy_arm(models[2], batch, Layout.PADDED),
        "one pad": policy_arm(models[3], batch, Layout.PADDED, waste=1.0),
        "rows": policy_arm(models[4], batch, Layout.ROWS),
    }
    losses = {name: once() for name, once in arms.items()}
    rounds = [{name: timed(once) for name, once in arms.items()} for _ in range(asked.rounds)]
    tokens = sum(LENGTHS)
    print(f"{tokens} tokens, {int(batch.weight_T.sum())} supervised, {asked.threads} threads, {asked.dtype}")
    for name in arms:
        wall, cpu = (statistics.median(one[name][kind] for one in rounds) for kind in (0, 1))
        ratio = statistics.median(one["plain"][1] / one[name][1] for one in rounds)
        print(
            f"{name:8} {tokens / wall:7.0f} tokens/s   wall {wall:6.3f} s   processor {cpu:6.3f} s   "
            f"x{ratio:.2f} of plain (processor)   loss {losses[name]:.4f}"
        )
    if asked.raw:
        lines = (json.dumps({name: list(pair) for name, pair in one.items()}) for one in rounds)
        asked.raw.write_text("\n".join(lines) + "\n", encoding="utf-8")


def timed(once: ROUND) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    once()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
