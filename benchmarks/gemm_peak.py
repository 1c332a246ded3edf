"""The most that this processor does in bf16: five products of matrices, 20 times each; the best one counts.

    python benchmarks/gemm_peak.py

In: nothing. Out: one JSON object on the standard output, operations a second for each shape and the best of them.
The shapes (rows, inner, columns) are those of a small decoder's layers and head, and two square ones.
"""

from __future__ import annotations

import json
import time

from llama_factory import machine

SHAPES = {
    "gate of SmolLM2-135M": (2048, 576, 1536),
    "down of SmolLM2-135M": (2048, 1536, 576),
    "head of SmolLM2-135M": (512, 576, 49152),
    "square, 1024": (1024, 1024, 1024),
    "square, 2048": (2048, 2048, 2048),
}
REPEATS = 20


def main() -> None:
    machine.torch_setup()
    import torch

    found = {}
    for name, (rows, inner, columns) in SHAPES.items():
        left = torch.randn(rows, inner, dtype=torch.bfloat16)
        right = torch.randn(columns, inner, dtype=torch.bfloat16)
        out = torch.empty(rows, columns, dtype=torch.bfloat16)
        torch.mm(left, right.t(), out=out)
        best = float("inf")
        for _ in range(REPEATS):
            began = time.perf_counter()
            torch.mm(left, right.t(), out=out)
            best = min(best, time.perf_counter() - began)
        found[name] = 2 * rows * inner * columns / best
    print(json.dumps({"best": max(found.values()), "shapes": found}))


if __name__ == "__main__":
    main()
