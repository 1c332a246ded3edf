"""What do oneDNN's caches of kernels cost when nearly every batch has a length of its own?

In: nothing. Out: for every capacity the memory after 10, 30 and 60 steps and the CPU seconds, as JSON
lines; the runs take turns (A B C A B C ...), each a process of its own.

    python benchmarks/kernel_cache.py [--rounds 3] [--capacities 1024,64,16]

The work is that of a LoRA run in bf16 without padding: 60 steps of a small decoder on 64 to 768
tokens. One thread: CPU seconds are what is compared, other people may use the other cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from typing import Any

CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def one_run(capacity: str) -> dict[str, Any]:
    os.environ.update(dict.fromkeys(CACHES, capacity))
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from llama_factory.machine import describe, keep_memory, memory

    keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dice = random.Random(0)  # noqa: S311
    config = LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=3, num_attention_heads=9,
        num_key_value_heads=3, vocab_size=8192,
    )  # fmt: skip
    base = LlamaForCausalLM(config).to(torch.bfloat16)
    model = get_peft_model(base, LoraConfig(r=8, target_modules="all-linear"))
    current_mb, start = [], time.process_time()
    for step in range(1, 61):
        ids_BT = torch.randint(0, config.vocab_size, (1, dice.randrange(64, 768)))
        model(input_ids=ids_BT, labels=ids_BT).loss.backward()
        model.zero_grad()
        if step in (10, 30, 60):
            current_mb.append(memory().current >> 20)
    return {
        "capacity": capacity, "cpu_s": time.process_time() - start, "current_mb": current_mb,
        "torch": torch.__version__, "cpu": describe().cpu,
    }  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--capacities", default="1024,64,16")
    words.add_argument("--run")
    given = words.parse_args()
    if given.run:
        print(json.dumps(one_run(given.run)))
        return
    capacities = given.capacities.split(",")
    results: dict[str, list[dict[str, Any]]] = {capacity: [] for capacity in capacities}
    for _ in range(given.rounds):
        for capacity in capacities:
            command = [sys.executable, __file__, "--run", capacity]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results[capacity].append(json.loads(text))
            print(text, end="", flush=True)
    for capacity, runs in results.items():
        pairs = zip(runs, results[capacities[0]], strict=True)
        ratio = statistics.median(run["cpu_s"] / first["cpu_s"] for run, first in pairs)
        print(f"capacity {capacity}: cpu x{ratio:.3f}, {[run['current_mb'][-1] for run in runs]} MB after 60 steps")


if __name__ == "__main__":
    main()
