"""Does tuning glibc's allocator and torch's huge pages pay in a training loop on a processor?

In: nothing. Out: one line per arm with medians over rounds, and the raw numbers as JSON lines in a
file if one is named.

    python benchmarks/allocator.py [--rounds 15] [--threads 2] [--work "bf16 frozen"] [--raw FILE]

Each arm is a process of its own, all of them alive at once and working strictly in turn (A B C A B C ...),
each for four steps: what else the machine does then falls on all arms alike. Ratios are to the plain
arm of the same round. The work is that of a LoRA run: a decoder with SmolLM2-135M's sizes (fewer
layers, smaller vocabulary), most weights frozen, batches of changing length, more than 1 GB of activations
made and freed in every step.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
KEEP = (M_TRIM_THRESHOLD, 2**31 - 1)
ARMS: dict[str, dict[str, Any]] = {
    "plain": {"thp": "0", "mallopt": ()},
    "keep": {"thp": "0", "mallopt": (KEEP, (M_MMAP_MAX, 0))},
    "huge pages": {"thp": "1", "mallopt": ()},
    "huge pages, keep": {"thp": "1", "mallopt": (KEEP, (M_MMAP_MAX, 0))},
    "huge pages, keep < 32 MB": {"thp": "1", "mallopt": (KEEP, (M_MMAP_THRESHOLD, 2**25))},
}
TOKENS = (2048, 1536, 1792, 1024)


def worker(arm: str, work: str, threads: int) -> None:
    """One round for every line on the standard input."""
    os.environ["THP_MEM_ALLOC_ENABLE"] = ARMS[arm]["thp"]
    for option, value in ARMS[arm]["mallopt"]:
        assert ctypes.CDLL(None).mallopt(option, value)
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from llama_factory.machine import describe

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=10, num_attention_heads=9,
        num_key_value_heads=3, vocab_size=16384, max_position_embeddings=2048, attn_implementation="sdpa",
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(torch.bfloat16 if work == "bf16 frozen" else torch.float32)
    if work == "bf16 frozen":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("q_proj" in name or "v_proj" in name)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    for _ in sys.stdin:
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        for tokens in TOKENS:
            ids_BT = torch.randint(0, config.vocab_size, (1, tokens))
            model(input_ids=ids_BT, labels=ids_BT).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        after, end = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        system = after.ru_stime - before.ru_stime
        result = {
            "arm": arm, "work": work, "threads": threads, "torch": torch.__version__, "cpu": describe().cpu,
            "wall_s": end - start, "system_s": system, "cpu_s": after.ru_utime - before.ru_utime + system,
            "faults": after.ru_minflt - before.ru_minflt, "peak_mb": after.ru_maxrss / 1024,
        }  # fmt: skip
        print(json.dumps(result), flush=True)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=15)
    words.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    words.add_argument("--work", default="bf16 frozen", choices=("bf16 frozen", "float32 full"))
    words.add_argument("--arms", default=";".join(ARMS), help="by name, with ; between; `plain` always takes part")
    words.add_argument("--raw")
    words.add_argument("--arm", choices=ARMS)
    given = words.parse_args()
    if given.arm:
        worker(given.arm, given.work, given.threads)
        return
    arms = ["plain", *(arm for arm in given.arms.split(";") if arm != "plain")]
    common = [sys.executable, __file__, "--threads", str(given.threads), "--work", given.work]
    running = {
        arm: subprocess.Popen([*common, "--arm", arm], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for arm in arms
    }
    results: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for round_ in range(given.rounds + 1):
        for arm, process in running.items():
            assert process.stdin
            assert process.stdout
            process.stdin.write("go\n")
            process.stdin.flush()
            text = process.stdout.readline()
            if round_:  # the first round warms up
                results[arm].append(json.loads(text))
                if given.raw:
                    with open(given.raw, "a") as file:
                        file.write(text)
    for process in running.values():
        process.communicate()
    report(given.work, given.threads, results)


def report(work: str, threads: int, results: dict[str, list[dict[str, Any]]]) -> None:
    rounds = len(results["plain"])
    print(f"{work}, {threads} threads, {rounds} rounds of {len(TOKENS)} steps; medians, and medians of ratios to plain")
    for arm, runs in results.items():
        said = [f"  {arm:25}"]
        for key, form in (
            ("wall_s", "6.2f"),
            ("cpu_s", "6.2f"),
            ("system_s", "5.2f"),
            ("faults", "7.0f"),
            ("peak_mb", "5.0f"),
        ):
            said.append(f"{key} {statistics.median(run[key] for run in runs):{form}}")
            if key in ("wall_s", "cpu_s", "peak_mb"):
                pairs = zip(runs, results["plain"], strict=True)
                said.append(f"x{statistics.median(run[key] / plain[key] for run, plain in pairs):.3f}")
        print(" ".join(said), flush=True)


if __name__ == "__main__":
    main()
