"""How many operations the timed steps of `sft_cpu.py` take at least.

    python benchmarks/operations.py MODEL ROWS.json STEPS ROWS_A_STEP

In: a model's folder and the rows. Out: one JSON object: tokens, supervised tokens and operations of all steps
but the first. Counted: every frozen linear layer forward (2 operations a weight and token) and towards its input
(2 more), the head the same at supervised positions alone. Adapters, attention and all else count nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path


def main() -> None:
    model, rows, steps, rows_a_step = sys.argv[1:]
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from llama_factory import data
    from llama_factory.config import from_mapping
    from llama_factory.model.methods.names import linear_names
    from llama_factory.render import load_renderer

    run = from_mapping({"model_name_or_path": model, "stage": "sft", "dataset": rows, "cutoff_len": 2048}, "benchmark")
    with tempfile.TemporaryDirectory() as cache:
        store = data.prepare(run, load_renderer(Path(model)), cache=Path(cache), say=lambda line: None).train
        timed = range(int(rows_a_step), int(steps) * int(rows_a_step))
        tokens = int(sum(store.lengths[row] for row in timed))
        supervised = float(sum(store.supervised[row] for row in timed))
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model))
    layers = sum(module.get_submodule(name).weight.numel() for name in linear_names(module))
    head = module.get_output_embeddings().weight.numel()
    timed_operations = 4.0 * (layers * tokens + head * supervised)
    print(json.dumps({"tokens": tokens, "supervised": supervised, "layers": layers, "timed": timed_operations}))


if __name__ == "__main__":
    main()
