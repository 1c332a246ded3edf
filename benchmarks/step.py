"""How long is one step of a real fine-tuning, as `train` makes it, and how much memory does it take?

    python benchmarks/step.py MODEL ROWS.json [--repeats 8] [--set KEY=VALUE ...]

In: a model's folder, a file of rows, keys of a run to set otherwise (`fused_layers=false`, `micro_batch_tokens=1024`).
Out: one line: the least and the median time of the second step of eight rows, repeated, its tokens a second, and the
peak of memory. The least is what the machine can do, the median what it did beside its other work. What is set in
the environment before the start counts too: `GOMP_SPINCOUNT=1000 python benchmarks/step.py ...`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from llama_factory import machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--set", nargs="*", default=[], dest="words")
    asked = parser.parse_args()
    machine.keep_memory()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LLAMA_FACTORY_CACHE"] = f"{folder}/cache"
        times, tokens = timed(asked, Path(folder))
    least, middle = min(times), statistics.median(times)
    peak = machine.memory().peak / 1e9
    print(
        f"{tokens} tokens   least {least:.2f} s, {tokens / least:.0f} tokens/s   median {middle:.2f} s   {peak:.2f} GB"
    )


def timed(asked: argparse.Namespace, folder: Path) -> tuple[list[float], int]:
    """Seconds of each repetition of the loop's own work: losses and gradients, clipping, update."""
    from llama_factory import data
    from llama_factory.config import load
    from llama_factory.model.locate import locate_for
    from llama_factory.recipes import sft, wiring
    from llama_factory.render import renderer_for
    from llama_factory.trainer.accumulate import accumulate
    from llama_factory.trainer.masters import Masters
    from llama_factory.trainer.optimizers import Optimizer

    usual = {"model_name_or_path": asked.model, "dataset": asked.rows, "output_dir": folder / "run", "stage": "sft",
             "cutoff_len": 2048, "per_device_train_batch_size": 8, "disable_shuffling": "true"}  # fmt: skip
    run = load(None, [*(f"{key}={value}" for key, value in usual.items()), *asked.words])
    machine.torch_setup()
    folders = locate_for(run)
    bench = wiring.bench_of(run, folders, renderer_for(run, folders.base))
    rows = data.prepare(run, bench.renderer, cache=folder / "cache", say=lambda line: None)
    policy, _ = wiring.policy_of(bench)
    plan, source = wiring.plan_of(run, bench.precision), wiring.source_of(run, rows, sft.TERM)
    policy.module.train()
    _, step = source.next_step(), source.next_step()
    times = []
    with Masters(policy.trainable(), master_dtype=plan.master_dtype) as masters:
        optimizer = Optimizer(masters, policy.module, plan)
        for number in range(asked.repeats + 1):
            began = time.perf_counter()
            accumulate(policy, sft.objective, step, number=number, origin=str)
            masters.clip(masters.gradient_norm(), plan.max_grad_norm)
            optimizer.step(plan.learning_rate)
            masters.forget_gradients()
            masters.to_working()
            times.append(time.perf_counter() - began)
    return times[1:], step.tokens


if __name__ == "__main__":
    main()
