"""Every method's speed and memory on a processor: ours beside LLaMA-Factory 0.9.5, and ours beside itself.

    python benchmarks/methods_cpu.py MODEL ROWS.json [--rounds 3] [--parts lora full memory freeze scale] [--raw FILE]

In: the folder of a small real model (SmolLM2-135M-Instruct) and a file of alpaca rows. Out: a table with medians over
the rounds, and the raw figures as JSON (default: benchmarks/results/methods_cpu.json), each part with its date,
versions and machine. The file is written after every run; parts that were not asked for stay as it has them, and a part
that was cut short says so (`complete: false`). Rules, environment and the way of one run are those of `sft_cpu.py`:
a process of its own for each run with empty caches, the arms of a part in turn, the first step left out of the speed.

    lora     SFT of LoRA adapters, 8 rows a step; the peer in bf16 without checkpointing, in its fastest split
    full     all weights, the same way. Both sides have fp32 masters and compute in bf16: that is `bf16: true` on either
    memory   peak of both, all 8 rows at a time, with and without checkpointing on both sides, three steps each
    freeze   ours: all but the two top layers frozen, with the output of the frozen ones kept and without, 3 and 10
             epochs of FREEZE_ROWS rows (validation off)
    scale    ours: generated sets of 1 thousand to 1 million rows, once and with one thread: processor seconds of all
             that is done with every row (read, check, render, encode, store; the look at all of them; the plan of the
             steps), of reading steps from the store, and of five steps of 8 rows; and the peak before the model is
             loaded and after. Some minutes; --largest makes it end sooner

`--longest 3` leaves the ten epochs of freeze out.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sft_cpu
from beside_peer import PEER_VENV, machine, peer_environment
from sft_cpu import PEER_BEST, PEER_WORK, ROWS_A_STEP, WORK, line_of, one_run, split, without_paths

HERE = Path(__file__).resolve().parent
MEMORY_STEPS = 3
FREEZE_ROWS = 160
EPOCHS = (3, 10)
SCALE_ROWS = (1_000, 10_000, 100_000, 1_000_000)
SCALE_STEPS = 6
WORDS = "the river turns north behind old stone mills where morning bread and winter light wait for music".split()

Arm = tuple[str, str, dict[str, Any]]
"""The interpreter, the side, the configuration."""


def main() -> None:
    asked = arguments()
    peer_python = peer_environment(asked.peer_venv) if {"lora", "full", "memory"} & set(asked.parts) else Path()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sft_cpu.write_rows(asked.rows_file, folder)
        for part in asked.parts:
            print(f"\n{part}", flush=True)
            run_part(part, asked, peer_python, folder)
    for part in asked.parts:
        tell(part, read(asked.raw)["parts"][part]["runs"])


def run_part(part: str, asked: argparse.Namespace, peer_python: Path, folder: Path) -> None:
    """Every arm once a round; what is known is written after each run."""
    arms = PARTS[part](asked, peer_python, folder)
    rounds = 1 if part == "scale" else asked.rounds
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    versions: dict[str, Any] = {}
    configs = without_paths({"configs": {arm: dict(config) for arm, (_, _, config) in arms.items()}})["configs"]
    began = now()
    for number in range(rounds):
        for arm, (python, side, config) in arms.items():
            with tempfile.TemporaryDirectory(dir=folder) as output:
                threads = 1 if part == "scale" else 0
                figures, versions[side] = one_run(Path(output) / "run", python, side, config, folder, threads=threads)
            runs[arm].append(figures)
            print(f"round {number + 1}  {arm:28} {line_of(figures)}", flush=True)
            complete = all(len(some) == rounds for some in runs.values())
            write(asked.raw, part, {
                "began": began, "written": now(), "complete": complete, "machine": machine(), "versions": versions,
                "configs": configs, "runs": runs,
            })  # fmt: skip


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"parts": {}}
    return found


def write(file: Path, part: str, figures: dict[str, Any]) -> None:
    """Beside the parts that the file has; whole or not at all."""
    result = read(file)
    result["parts"][part] = figures
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".part")
    aside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    aside.replace(file)


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("rows_file", type=Path)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=sft_cpu.STEPS, help="of lora and full; the first one is not timed")
    parser.add_argument("--longest", type=int, default=max(EPOCHS), help="epochs of freeze beyond this are left out")
    parser.add_argument("--largest", type=int, default=max(SCALE_ROWS), help="rows of scale beyond this are left out")
    parser.add_argument("--peer-venv", type=Path, default=PEER_VENV)
    parser.add_argument("--peer-split", type=int, default=2, help="rows that the peer computes at a time, of 8")
    parser.add_argument("--raw", type=Path, default=HERE / "results" / "methods_cpu.json")
    return parser.parse_args()


def lora(asked: argparse.Namespace, peer_python: Path, folder: Path) -> dict[str, Arm]:
    return beside_peer(asked, peer_python, {})


def full(asked: argparse.Namespace, peer_python: Path, folder: Path) -> dict[str, Arm]:
    return beside_peer(asked, peer_python, {"finetuning_type": "full", "learning_rate": 1e-5})


def beside_peer(asked: argparse.Namespace, peer_python: Path, method: dict[str, Any]) -> dict[str, Arm]:
    ours, peer = sides(asked, method, asked.steps)
    return {
        "ours": (sys.executable, "ours", {**ours, **split(ROWS_A_STEP)}),
        "peer, best": (str(peer_python), "peer", {**peer, **PEER_BEST, **split(asked.peer_split)}),
    }


def memory(asked: argparse.Namespace, peer_python: Path, folder: Path) -> dict[str, Arm]:
    """The same rows at a time, checkpointing and precision on both sides."""
    arms: dict[str, Arm] = {}
    for kind in ("lora", "full"):
        ours, peer = sides(asked, {"finetuning_type": kind}, MEMORY_STEPS)
        for again in (False, True):
            name = f"{kind}{', checkpointing' if again else ''}"
            at_once = {**split(ROWS_A_STEP), "bf16": True}
            mine = {**ours, **at_once, "micro_batch_tokens": 10**6, "gradient_checkpointing": again}
            theirs = {**peer, **at_once, "use_cpu": True, "disable_gradient_checkpointing": not again}
            arms[f"{name}, ours"] = (sys.executable, "ours", mine)
            arms[f"{name}, peer"] = (str(peer_python), "peer", theirs)
    return arms


def freeze(asked: argparse.Namespace, peer_python: Path, folder: Path) -> dict[str, Arm]:
    rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))[:FREEZE_ROWS]
    (folder / "some.json").write_text(json.dumps(rows), encoding="utf-8")
    add_set(folder, "some", "some.json")
    method = {"finetuning_type": "freeze", "freeze_trainable_layers": 2, "dataset": "some"}
    arms: dict[str, Arm] = {}
    for epochs in (it for it in EPOCHS if it <= asked.longest):
        ours, _ = sides(asked, method, epochs * -(-len(rows) // ROWS_A_STEP))
        for kept in (True, False):
            name = f"{epochs} epochs, {'kept' if kept else 'computed'}"
            config = {**ours, **split(ROWS_A_STEP), "cache_frozen_layers": str(kept).lower()}
            arms[name] = (sys.executable, "ours", config)
    return arms


def scale(asked: argparse.Namespace, peer_python: Path, folder: Path) -> dict[str, Arm]:
    arms: dict[str, Arm] = {}
    chance = random.Random(5)  # noqa: S311  # words, no secrets
    for count in (it for it in SCALE_ROWS if it <= asked.largest):
        name = f"rows{count}"
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(count):
                question, answer = (" ".join(chance.choices(WORDS, k=chance.randint(8, 24))) for _ in range(2))
                file.write(json.dumps({"instruction": f"{number}: {question}", "input": "", "output": answer}) + "\n")
        add_set(folder, name, f"{name}.jsonl")
        ours, _ = sides(asked, {"dataset": name, "disable_shuffling": False}, SCALE_STEPS)
        arms[f"{count:,} rows"] = (sys.executable, "ours", {**ours, **split(ROWS_A_STEP)})
    return arms


def sides(asked: argparse.Namespace, method: dict[str, Any], steps: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The work by this method, for our side and for the peer."""
    kind = method.get("finetuning_type", "lora")
    more = {"model_name_or_path": str(asked.model.resolve()), "max_steps": steps, "logging_steps": steps, **method}
    named = [it for it in WORK if it.startswith("lora_") and kind != "lora"]
    ours, peer = ({key: value for key, value in work.items() if key not in named} for work in (WORK, PEER_WORK))
    return {**ours, **more}, {**peer, **more, "optim": "adamw_torch_fused"}


def add_set(folder: Path, name: str, file: str) -> None:
    listed = folder / "dataset_info.json"
    listed.write_text(json.dumps({**json.loads(listed.read_text()), name: {"file_name": file}}))


def tell(part: str, runs: dict[str, list[dict[str, float]]]) -> None:
    """Medians, and the ratio of each pair of arms that stand side by side, as the median of the rounds' ratios."""
    print(f"\n{part}: medians")
    if part == "scale":
        tell_scale({arm: some[0] for arm, some in runs.items()})
        return
    arms = list(runs)
    for arm, figures in runs.items():
        middle = {name: statistics.median(one[name] for one in figures) for name in figures[0]}
        print(f"{arm:28} {line_of(middle)}")
    for mine, theirs in zip(arms[::2], arms[1::2], strict=True):
        pairs = list(zip(runs[mine], runs[theirs], strict=True))
        speed, work, peak, first = (
            statistics.median(one[name] / other[name] for one, other in pairs)
            for name in ("tokens_per_second", "tokens_per_processor_s", "peak_gb", "first_step_s")
        )
        print(
            f"{mine} / {theirs}: x{speed:.2f} tokens/s, x{work:.2f} tokens a second of the processor, "
            f"memory x{peak:.2f}, first step after x{first:.2f} of the time"
        )


def tell_scale(figures: dict[str, dict[str, float]]) -> None:
    """Microseconds of the processor for each token, and how much of the peak comes with each row more."""
    print("| rows | tokens | made | looked at | planned | read | trained | peak of the rows | a row more | peak |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    before: dict[str, float] = {}
    for one in figures.values():
        each = [1e6 * one[name] / one["data_tokens"] for name in ("data_s", "audit_s", "plan_s")]
        each += [1e6 * one["read_s"] / one["read_tokens"], 1e6 / one["tokens_per_processor_s"]]
        more = ""
        if before:
            more = f"{1e9 * (one['rows_peak_gb'] - before['rows_peak_gb']) / (one['rows'] - before['rows']):.0f} B"
        print(
            f"| {one['rows']:,.0f} | {one['data_tokens']:,.0f} | "
            + " | ".join(f"{us:.2f}" for us in each[:4])
            + f" | {each[4]:.0f} | {one['rows_peak_gb']:.3f} GB | {more} | {one['peak_gb']:.3f} GB |"
        )
        before = one


PARTS = {"lora": lora, "full": full, "memory": memory, "freeze": freeze, "scale": scale}


if __name__ == "__main__":
    main()
