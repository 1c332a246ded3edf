"""The plan against what a training then takes: growth of memory over what there was before loading, and time.

    python benchmarks/plan_calibration.py [NAME ...] [--raw FILE] [--keep FOLDER] [--again [--rates R]] [--kernels]

In: SmolLM2-135M-Instruct in models/ and three models of other shapes with random weights, made on the spot; rows of
random words. Each case trains some steps through `recipes.train` in a process of its own, which says itself what it had
foreseen: memory from the shape alone, time from a probe of the machine made just before. Out: a table, the worst
errors, what the constants of the planner would have to be for these measurements, and
benchmarks/results/plan_calibration.json, written after each case: what was measured replaces what stood there for it.

    NAME ...   only these cases; those of QUANTISED are trained only when they are named, and need their libraries
    --again    trains nothing: plans memory and time anew, for the raw figures that are there
    --kernels  only what a kernel of oneDNN takes, in seconds of the processor

All of it takes about ten minutes on two cores. The bounds are 10 % for memory and 25 % for time. Nothing in the plan
knows these cases. A case holds: what was planned and measured; `rates`, of the machine by the probe of that run;
`step_seconds`, each step by itself; `tensors`, the most that was in use by the count of glibc, above what was there
before loading: what remains of the measured growth lies between tensors, in libraries and in mapped files.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from installed import versions
from plan_constants import memory_constants, time_constants

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


QUANTISED: dict[str, dict[str, Any]] = {
    "bitsandbytes 4, lora 8": case("135M", "middle", 1024, "lora", quantization_bit=4),
    "bitsandbytes 8, lora 8": case("135M", "middle", 1024, "lora", quantization_bit=8),
    "hqq 4, lora 8": case("135M", "middle", 1024, "lora", quantization_bit=4, quantization_method="hqq"),
    "wide, bitsandbytes 4, lora 8": case("wide", "middle", 1024, "lora", quantization_bit=4),
    "wide, hqq 4, lora 8": case("wide", "middle", 1024, "lora", quantization_bit=4, quantization_method="hqq"),
}
EVERY = {**CASES, **QUANTISED}


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="*", help="cases; all of CASES if none is named")
    words.add_argument("--one", help=argparse.SUPPRESS)
    words.add_argument("--raw", type=Path, default=RESULT, help="the file of the raw figures")
    words.add_argument("--keep", type=Path, help="a folder for the models and rows, to be used again")
    words.add_argument("--again", action="store_true", help="plan anew, for what was measured before")
    words.add_argument("--rates", type=_rates, help="BF16,FP32,BYTES a second, for raw figures that have none")
    words.add_argument("--kernels", action="store_true", help="only time the making of kernels")
    given = words.parse_args()
    if unknown := set(given.names) - set(EVERY):
        words.error(f"no case {', '.join(sorted(unknown))}; there are: {'; '.join(EVERY)}")
    if given.one:
        print(json.dumps(train(given.one, given.keep)))
        return 0
    if given.kernels:
        time_kernels()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        room = given.keep or Path(folder)
        room.mkdir(parents=True, exist_ok=True)
        prepare(room)
        known = {one["case"]: one for one in read(given.raw)}
        names = given.names or list(known if given.again else CASES)
        if not given.again:
            for name in names:
                known[name] = measured(name, room)
                write(given.raw, known)
        if given.rates:
            known = {name: {"rates": given.rates[one.get("bf16", True)], **one} for name, one in known.items()}
        report([{**known[name], **planned(name, known[name], room)} for name in names])
    return 0


def _rates(text: str) -> dict[bool, dict[str, float]]:
    """By whether a case computes in bf16."""
    half, single, moved = map(float, text.split(","))
    return {
        is_half: {"products": rate, "head": rate, "bytes": moved} for is_half, rate in ((True, half), (False, single))
    }


def read(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text())["cases"] if file.is_file() else []
    return found


def write(file: Path, known: Mapping[str, dict[str, Any]]) -> None:
    """After each case, whole or not at all."""
    about = {"versions": versions(PACKAGES), "cpu": cpu(), "cores": os.cpu_count(), "steps": STEPS}
    cases = [known[name] for name in EVERY if name in known]
    aside = file.with_suffix(".part")
    aside.write_text(json.dumps({**about, "cases": cases}, indent=1) + "\n")
    aside.replace(file)


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
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(line_of(found), flush=True)
    return found


def run_of(name: str, room: Path, output: str) -> Any:
    """The configuration of a case."""
    from llama_factory.config import from_mapping

    keys = dict(EVERY[name])
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
    from llama_factory.model.native import library as native
    from llama_factory.recipes import foresight
    from llama_factory.trainer.update import Updater

    rates, steps = list[Any](), list[float]()
    usage = InUse()

    def probed(*given: Any) -> Any:
        rates.append(probe(*given))
        usage.begin()
        return rates[-1]

    def stepped(*given: Any) -> Any:
        began = time.perf_counter()
        done = make(*given)
        steps.append(round(time.perf_counter() - began, 3))
        return done

    probe, make = foresight.rates_here, Updater.make
    with (
        tempfile.TemporaryDirectory() as output, patch.object(foresight, "rates_here", probed),
        patch.object(Updater, "make", lambda *given: stepped(*given)), usage.watched(),
    ):  # fmt: skip
        outcome = recipes.train(run_of(name, room, output), say=lambda line: None)
    found = outcome.foreseen
    if found is None or not (found.train_s and found.measured_s and found.measured_memory):
        raise SystemExit(f"{name}: there is no plan")
    return {
        "case": name,
        **EVERY[name],
        "memory_planned": found.memory - found.before,
        "memory_measured": found.measured_memory - found.before,
        "tensors": usage.grown,
        "seconds_planned": found.train_s,
        "seconds_measured": found.measured_s,
        "step_seconds": steps,
        "native": native.NATIVE.library() is not None,
        "rates": {"products": rates[-1].products, "head": rates[-1].head, "bytes": rates[-1].bytes},
    }


class _Counts(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


class InUse:
    """The most bytes that `malloc` had given out at a time, looked at a hundred times a second; 0 without glibc."""

    def __init__(self) -> None:
        self._ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
        if self._ask is not None:
            self._ask.restype = _Counts
        self._before = self._most = 0

    @property
    def grown(self) -> int:
        return self._most - self._before

    def begin(self) -> None:
        self._before = self._most = self._now()

    def _now(self) -> int:
        if self._ask is None:
            return 0
        found = self._ask()
        return int(found.uordblks + found.hblkhd)

    @contextmanager
    def watched(self) -> Iterator[None]:
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(0.01):
                self._most = max(self._most, self._now())

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def planned(name: str, known: Mapping[str, Any], room: Path) -> dict[str, Any]:
    """What is planned of a case now, by the rates that were measured then, and what it is made of."""
    from llama_factory import data, machine
    from llama_factory.model.locate import locate_for
    from llama_factory.planner import choice
    from llama_factory.planner.memory import widest
    from llama_factory.planner.setup import at_once
    from llama_factory.planner.speed import Rates, work
    from llama_factory.recipes import foresight
    from llama_factory.recipes.sources import source_of
    from llama_factory.render import renderer_for

    with tempfile.TemporaryDirectory() as output:
        run = run_of(name, room, output)
        folders = locate_for(run)
        renderer = renderer_for(run, folders.base)
        rows = data.prepare(run, renderer, cache=room / "cache", say=lambda line: None, language="en")
        compute = machine.pick_precision(run.training.bf16, run.training.fp16, run.training.pure_bf16).compute
        shape, way = foresight.largest_way(run, folders.base, source_of(run, rows, run.stage), compute)
    then = replace(way.setup, native=known.get("native", False))  # raw figures from before there were such kernels
    way = choice.of(shape, then, choice.Room(memory=0))
    usual, steps = foresight.typical(run, rows, then)
    memory, setup, done = way.memory, way.setup, work(shape, usual)
    passing = memory.activations + memory.logits + memory.buffers
    found = {
        "memory_planned": way.total,
        "number": setup.number,
        "between": known["memory_measured"] - (way.total - memory.holes),
        "passing": passing,
        "widest": widest(shape, setup),
        "sums": setup.master * at_once(shape, setup) if memory.masters else 0,
        "work": {
            "products": steps * done.operations, "head": steps * done.head, "moved": steps * done.moved,
            "rest": steps * done.rest, "kernels": steps * done.kernels,
        },
    }  # fmt: skip
    if "rates" in known:
        found["seconds_planned"] = steps * done.seconds(Rates(**known["rates"]))
    return found


def time_kernels() -> None:
    """What the first product of a shape takes beyond the second, by the clock of the processor."""
    from llama_factory.machine import torch_setup

    torch_setup()
    import torch

    torch.set_num_threads(1)
    for inputs, outputs in ((576, 576), (576, 1536), (1536, 576), (1024, 2816), (576, 8)):
        weight = torch.ones(outputs, inputs, dtype=torch.bfloat16)
        found = []
        for tokens in range(300, 400):
            x = torch.ones(tokens, inputs, dtype=torch.bfloat16)
            first, second = (_processor_seconds(lambda x=x, w=weight: x @ w.t()) for _ in range(2))
            found.append(first - second)
        print(f"{inputs:5} x {outputs:5}  {1e3 * statistics.median(found):5.2f} ms a kernel")


def _processor_seconds(of: Callable[[], object]) -> float:
    began = time.thread_time()
    of()
    return time.thread_time() - began


def errors_of(found: dict[str, Any]) -> tuple[float, float]:
    """Planned over measured, less one."""
    memory, seconds = (found[f"{what}_planned"] / found[f"{what}_measured"] - 1 for what in ("memory", "seconds"))
    return memory, seconds


def line_of(found: dict[str, Any]) -> str:
    memory, seconds = errors_of(found)
    sizes = f"{found['memory_planned'] / 1e9:6.2f} GB {found['memory_measured'] / 1e9:6.2f} GB {memory:+6.1%}"
    times = f"{found['seconds_planned']:7.1f} s {found['seconds_measured']:7.1f} s {seconds:+7.1%}"
    return f"{found['case']:28} {sizes}   {times}"


def report(found: list[dict[str, Any]]) -> None:
    print(f"\n{'case':28} {'planned':>9} {'measured':>9} {'error':>6}   {'planned':>9} {'measured':>9} {'error':>7}")
    for one in found:
        print(line_of(one))
    sizes = [one["memory_measured"] for one in found]
    print(f"\nmeasured memory spans {max(sizes) / min(sizes):.1f} times, over {len(found)} cases")
    for what, at, bound in (("memory", 0, MEMORY_BOUND), ("time", 1, TIME_BOUND)):
        worst = max(found, key=lambda one: abs(errors_of(one)[at]))
        outside = sum(abs(errors_of(one)[at]) > bound for one in found)
        print(f"{what}: worst {errors_of(worst)[at]:+.1%} ({worst['case']}), {outside} beyond {bound:.0%}")
    memory_constants(found)
    time_constants(found)


if __name__ == "__main__":
    sys.exit(main())
