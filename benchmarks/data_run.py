"""From a file of rows to the first batch, once, in a process of its own: ours or the peer's, by the interpreter.

    python data_run.py ours|peer CONFIG.json RESULT.json

In: a flat configuration. Out: seconds from opening the data set to the first batch (imports, the configuration and
the tokenizer's own loading happened before on both sides), rows and tokens that were made, the peak of the memory,
versions. It is started by `data_cpu.py` and imports nothing of ours on the peer's side.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from installed import versions

PACKAGES = ("llamafactory", "llama-factory", "tokenizers", "fastokens", "transformers", "datasets", "jinja2", "numpy")


def main() -> None:
    side, config_file, result_file = sys.argv[1:]
    config = json.loads(Path(config_file).read_text())
    found = (ours if side == "ours" else peer)(config)
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    Path(result_file).write_text(json.dumps({**found, "versions": versions(PACKAGES)}))


def ours(config: dict[str, Any]) -> dict[str, Any]:
    """What `train` does between the configuration and the model, as `recipes.sft` writes it down."""
    from llama_factory import data, storage
    from llama_factory.config import from_mapping
    from llama_factory.recipes.wiring import source_of
    from llama_factory.render import renderer_for

    run = from_mapping(config, "benchmark")
    renderer = renderer_for(run, Path(config["model_name_or_path"]))
    began, processor = time.perf_counter(), time.process_time()
    rows = data.prepare(run, renderer, cache=storage.cache_folder(os.environ), say=lambda line: None)
    step = source_of(run, rows, "sft").next_step()
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    return {
        "seconds": seconds, "processor_s": processor, "rows": len(rows.train), "tokens": rows.train.tokens,
        "batch": step.rows, "store": rows.summary.train[0].store,
    }  # fmt: skip


def peer(config: dict[str, Any]) -> dict[str, Any]:
    """What the peer's own workflow does between its arguments and the model, then one batch of its collator."""
    from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer
    from torch.utils.data import DataLoader

    model_args, data_args, training_args, _, _ = get_train_args(config)
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    began = time.perf_counter()
    rows = get_dataset(template, model_args, data_args, training_args, stage="sft", **module)["train_dataset"]
    collator = SFTDataCollatorWith4DAttentionMask(template=template, pad_to_multiple_of=8, **module)
    size = training_args.per_device_train_batch_size
    loader = DataLoader(rows, batch_size=size, shuffle=True, collate_fn=collator)
    batch = next(iter(loader))
    seconds = time.perf_counter() - began
    tokens = sum(len(ids) for ids in rows["input_ids"])
    return {"seconds": seconds, "rows": len(rows), "tokens": tokens, "batch": len(batch["input_ids"])}


if __name__ == "__main__":
    main()
