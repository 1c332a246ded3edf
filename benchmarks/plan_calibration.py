"""The plan against what a training then takes: growth of memory over what there was before loading, and time.

    python benchmarks/plan_calibration.py [NAME ...] [--keep FOLDER] [--again]

In: SmolLM2-135M-Instruct in models/ and three models of other shapes with random weights, made on the spot; rows of
random words. Each case trains some steps through `recipes.train` in a process of its own, which says itself what it had
foreseen: memory from the shape alone, time from a probe of the machine made just before. Out: a table, the worst
errors, and benchmarks/results/plan_calibration.json. With names, only these cases, and nothing is written. --again
trains nothing: memory is planned anew and stands beside what that file has as measured.

The bounds are 10 % for memory and 25 % for time. Nothing in the plan knows these cases.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from installed import versions

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT / "models" / "SmolLM2-135M-Instruct"
RESULT = ROOT / "benchmarks" / "results" / "plan_calibration.json"
PACKAGES = ("llama-factory", "torch", "transformers", "peft")
MEMORY_BOUND, TIME_BOUND = 0.10, 0.25
STEPS = 4
MICRO_BATCHES = 2

WORDS = (
    "the river runs past an old mill where people used to bring their grain and talk about weather and prices".split()
)
ROWS = {"short": (40, 160), "middle": (150, 420), "long": (500, 900)}
"""Words in a row: from, to."""

SHAPES: dict[str, dict[str, Any]] = {
    "small": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 8, "num_attention_heads": 4,
              "num_key_value_heads": 4, "tie_word_embeddings": True},
    "flat": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 12, "num_attention_heads": 14,
             "num_key_value_heads": 2, "tie_word_embeddings": True},
    "wide": {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 16, "num_attention_heads": 16,
             "num_key_value_heads": 4, "tie_word_embeddings": False},
}  # fmt: skip


def case(model: str, rows: str, tokens: int, method: str, **keys: Any) -> dict[str, Any]:
    return {"model": model, "rows": rows, "micro_batch_tokens": tokens, "finetuning_type": method, **keys}


CASES: dict[str, dict[str, Any]] = {
    "lora 8": case("135M", "middle", 1024, "lora", lora_rank=8),
    "lora 64, 4096 tokens": case("135M", "middle", 4096, "lora", lora_rank=64),
    "lora 8, checkpointing": case("135M", "middle", 4096, "lora", gradient_checkpointing=True),
    "lora 16, fp32": case("135M", "middle", 2048, "lora", lora_rank=16, bf16=False),
    "lora 8, long rows": case("135M", "long", 2048, "lora"),
    "full": case("135M", "middle", 1024, "full"),
    "full, fp32": case("135M", "middle", 1024, "full", bf16=False),
    "full, checkpointing": case("135M", "middle", 4096, "full", gradient_checkpointing=True),
    "freeze 2": case("135M", "middle", 2048, "freeze", freeze_trainable_layers=2),
    "freeze 8, fp32": case("135M", "middle", 2048, "freeze", freeze_trainable_layers=8, bf16=False),
    "small, lora 8": case("small", "short", 2048, "lora"),
    "small, full, fp32": case("small", "short", 1024, "full", bf16=False),
    "flat, lora 8, long rows": case("flat", "long", 1024, "lora"),
    "flat, freeze 4": case("flat", "middle", 2048, "freeze", freeze_trainable_layers=4),
    "wide, lora 16": case("wide", "middle", 2048, "lora", lora_rank=16),
    "wide, full": case("wide", "middle", 1024, "full"),
}


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="*", help="cases; all if none is named")
    words.add_argument("--one", help=argparse.SUPPRESS)
    words.add_argument("--keep", type=Path, help="a folder for the models and rows, to be used again")
    words.add_argument("--again", action="store_true", help="plan memory anew, beside what was measured before")
    given = words.parse_args()
    if given.one:
        print(json.dumps(train(given.one, given.keep)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        room = given.keep or Path(folder)
        room.mkdir(parents=True, exist_ok=True)
        prepare(room)
        if given.again:
            again(given.names or list(CASES), room)
            return 0
        found = [measured(name, room) for name in given.names or CASES]
    report(found)
    if not given.names:
        about = {"versions": versions(PACKAGES), "cpu": cpu(), "cores": os.cpu_count(), "steps": STEPS}
        RESULT.write_text(json.dumps({**about, "cases": found}, indent=1) + "\n")
    return 0


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def prepare(room: Path) -> None:
    """Rows and models that are not there yet."""
    draw = random.Random(1)  # noqa: S311
    for name, (least, most) in ROWS.items():
        rows = []
        for number in range(400):
            text = [draw.choice(WORDS) for _ in range(draw.randint(least, most))]
            asked = len(text) // 3
            turns = (("user", [str(number), *text[:asked]]), ("assistant", text[asked:]))
            rows.append({"messages": [{"role": role, "content": " ".join(said)} for role, said in turns]})
        (room / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if not (room / "135M").is_dir():
        shutil.copytree(REAL, room / "135M")  # a file that other programs have open stays longer in memory
    for name, shape in SHAPES.items():
        if not (room / name).is_dir():
            make_model(room / name, shape)


def make_model(folder: Path, shape: dict[str, Any]) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152, max_position_embeddings=2048, bos_token_id=1, eos_token_id=2, pad_token_id=2, **shape
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for file in REAL.iterdir():
        if file.name.startswith(("tokenizer", "vocab", "merges", "special", "chat_template", "generation")):
            shutil.copy(file, folder / file.name)


def measured(name: str, room: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, "--keep", str(room)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(line_of(found), flush=True)
    return found


def run_of(name: str, room: Path, output: str) -> Any:
    """The configuration of a case."""
    from llama_factory.config import from_mapping

    keys = dict(CASES[name])
    model, rows, tokens = keys.pop("model"), keys.pop("rows"), keys["micro_batch_tokens"]
    mean = sum(ROWS[rows]) / 2 * 1.1
    return from_mapping(
        {
            "model_name_or_path": str(room / model), "dataset": str(room / f"{rows}.jsonl"), "cutoff_len": 2048,
            "output_dir": output, "overwrite_output_dir": True, "max_steps": STEPS, "save_strategy": "no",
            "report_samples": 0, "report_to": "none", "learning_rate": 1e-5, "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": max(1, round(MICRO_BATCHES * tokens / mean)), **keys,
        },
        "benchmark",
    )  # fmt: skip


def train(name: str, room: Path) -> dict[str, Any]:
    """One case, in this process."""
    from llama_factory import recipes

    with tempfile.TemporaryDirectory() as output:
        outcome = recipes.train(run_of(name, room, output), say=lambda line: None)
    found = outcome.foreseen
    if found is None or not (found.train_s and found.measured_s and found.measured_memory):
        raise SystemExit(f"{name}: there is no plan")
    return {
        "case": name,
        **CASES[name],
        "memory_planned": found.memory - found.before,
        "memory_measured": found.measured_memory - found.before,
        "seconds_planned": found.train_s,
        "seconds_measured": found.measured_s,
    }


def again(names: list[str], room: Path) -> None:
    """What `check` plans of each case now, measured memory beside it, and how far they are apart."""
    from llama_factory.recipes.check import check

    known = {one["case"]: one["memory_measured"] for one in json.loads(RESULT.read_text())["cases"]}
    errors = []
    for name in names:
        with tempfile.TemporaryDirectory() as output:
            planned = check(partial(run_of, name, room, output), cache=room / "cache").summary["planned_bytes"]
        errors.append(planned / known[name] - 1)
        print(f"{name:26} {planned / 1e9:6.2f} GB {known[name] / 1e9:6.2f} GB {errors[-1]:+6.1%}", flush=True)
    outside = sum(abs(one) > MEMORY_BOUND for one in errors)
    print(f"memory: worst {max(errors, key=abs):+.1%}, {outside} of {len(errors)} beyond {MEMORY_BOUND:.0%}")


def errors_of(found: dict[str, Any]) -> tuple[float, float]:
    """Planned over measured, less one."""
    memory, seconds = (found[f"{what}_planned"] / found[f"{what}_measured"] - 1 for what in ("memory", "seconds"))
    return memory, seconds


def line_of(found: dict[str, Any]) -> str:
    memory, seconds = errors_of(found)
    sizes = f"{found['memory_planned'] / 1e9:6.2f} GB {found['memory_measured'] / 1e9:6.2f} GB {memory:+6.1%}"
    times = f"{found['seconds_planned']:7.1f} s {found['seconds_measured']:7.1f} s {seconds:+7.1%}"
    return f"{found['case']:26} {sizes}   {times}"


def report(found: list[dict[str, Any]]) -> None:
    print(f"\n{'case':26} {'planned':>9} {'measured':>9} {'error':>6}   {'planned':>9} {'measured':>9} {'error':>7}")
    for one in found:
        print(line_of(one))
    sizes = [one["memory_measured"] for one in found]
    print(f"\nmeasured memory spans {max(sizes) / min(sizes):.1f} times, over {len(found)} cases")
    for what, at, bound in (("memory", 0, MEMORY_BOUND), ("time", 1, TIME_BOUND)):
        worst = max(found, key=lambda one: abs(errors_of(one)[at]))
        outside = sum(abs(errors_of(one)[at]) > bound for one in found)
        print(f"{what}: worst {errors_of(worst)[at]:+.1%} ({worst['case']}), {outside} beyond {bound:.0%}")


if __name__ == "__main__":
    sys.exit(main())
