"""Does attention written for processors beat torch's own kernel on one document, forward and backward?

In: nothing. Out: one line per length with the medians of processor time over rounds, in turn: torch's kernel, ours
written in torch (`model/isolated.py`), ours compiled (`model/native/`), and how many times as fast as the first.

    python benchmarks/attention.py [--rounds 7] [--threads 1] [--dtype bfloat16] [--heads 9] [--groups 3]

Sizes are SmolLM2-135M's: 9 heads of 64 in 3 groups.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.functional import scaled_dot_product_attention

from llama_factory.machine import torch_setup
from llama_factory.model.isolated import isolated_attention
from llama_factory.model.native.attention import native_attention
from llama_factory.model.native.calls import Rows
from llama_factory.model.native.library import NATIVE

WIDTH = 64


def arms(length: int, heads: int, groups: int, dtype: torch.dtype) -> dict[str, Callable[[], None]]:
    """Queries, keys and values as a model has them: views of (T, H, D)."""
    leaves = [
        torch.randn(1, length, n, WIDTH).to(dtype).transpose(1, 2).requires_grad_()
        for n in (heads, heads // groups, heads // groups)
    ]
    grad = torch.randn(1, length, heads, WIDTH).to(dtype)

    rows = Rows([length], WIDTH**-0.5, None, 0)
    if native_attention(*leaves, rows) is None:
        raise SystemExit(f"no compiled kernels here: {NATIVE.why}")

    def compiled() -> None:
        torch.autograd.grad(native_attention(*leaves, rows), leaves, grad)

    def isolated() -> None:
        torch.autograd.grad(isolated_attention(*leaves, [length], WIDTH**-0.5, None), leaves, grad)

    def torchs() -> None:
        out = scaled_dot_product_attention(*leaves, is_causal=True, enable_gqa=True)
        torch.autograd.grad(out.transpose(1, 2), leaves, grad)

    return {"torch": torchs, "isolated": isolated, "compiled": compiled}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--heads", type=int, default=9)
    parser.add_argument("--groups", type=int, default=3)
    asked = parser.parse_args()
    torch_setup()
    torch.set_num_threads(asked.threads)
    dtype = torch.bfloat16 if asked.dtype == "bfloat16" else torch.float32
    for length in (60, 150, 300, 600, 1200, 2400):
        once = arms(length, asked.heads, asked.groups, dtype)
        times: dict[str, list[float]] = {name: [] for name in once}
        for turn in range(asked.rounds + 1):
            for name, run in once.items():
                start = time.process_time()
                for _ in range(max(1, 1200 // length)):
                    run()
                if turn:  # the first warms up
                    times[name].append((time.process_time() - start) / max(1, 1200 // length))
        shown = "   ".join(
            f"{name} {1e3 * statistics.median(seen):7.2f} ms x{beside(times['torch'], seen):.2f}"
            for name, seen in times.items()
        )
        print(f"{length:5} tokens   {shown}")


def beside(theirs: list[float], ours: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(theirs, ours, strict=True))


if __name__ == "__main__":
    main()
