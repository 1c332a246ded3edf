"""Supervised fine-tuning on a processor, ours beside LLaMA-Factory 0.9.5, in turn in one run.

    python benchmarks/sft_cpu.py MODEL ROWS.json [--rounds 3] [--peer-venv FOLDER] [--without-defaults] [--raw FILE]

In: the folder of a small real model (SmolLM2-135M-Instruct) and a file of alpaca rows. Out: a table with medians
over the rounds, and the raw figures with versions and machine as JSON (default: benchmarks/results/sft_cpu.json).
The first run makes a virtual environment for the peer, with the releases that it was published with.

The work: the first 200 rows, LoRA of rank 8 on all linear layers, 8 rows a step in the order of the file, adapters
with float32 masters on every side, 11 steps of which the first is left out of the speed. Each run is a process of
its own with empty caches of tokens; one round is one run of every arm, one after the other.

    ours            as `train` does it when nothing else is said
    peer, best      bf16, no gradient checkpointing, the fastest split of a step that was found (--peer-split)
    peer, defaults  nothing beside what the work needs; all 8 rows at a time, as its default is
    peer, examples  the same with one row at a time and 8 of them accumulated, as its example files are written

Speed counts real tokens, never padding. The share of the peak: operations of the frozen linear layers forward and
towards their input, and of the head at supervised positions, nothing counted twice, over what the fastest of five
products of large bf16 matrices reaches here in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from beside_peer import PEER_VENV, machine, peer_environment

HERE = Path(__file__).resolve().parent
STEPS = 11
ROWS_A_STEP = 8
ROWS = 200

WORK: dict[str, Any] = {
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_rank": 8,
    "lora_target": "all",
    "dataset": "rows",
    "cutoff_len": 2048,
    "max_steps": STEPS,
    "learning_rate": 1e-4,
    "disable_shuffling": True,
    "logging_steps": STEPS,
    "save_strategy": "no",
    "report_to": "none",
}
PEER_WORK = {
    **WORK,
    "template": "smollm2",
    "include_num_input_tokens_seen": "non_padding",
    "overwrite_output_dir": True,
}
PEER_BEST = {"bf16": True, "use_cpu": True, "disable_gradient_checkpointing": True}


def main() -> None:
    asked = arguments()
    peer_python = peer_environment(asked.peer_venv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(asked.rows_file, folder)
        counted = operations(asked.model, folder)
        arms = arms_of(asked, peer_python)
        peaks = [gemm_peak()]
        runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
        found: dict[str, Any] = {}
        for number in range(asked.rounds):
            for arm, (python, side, config) in arms.items():
                figures, versions = one_run(folder / f"{side}-{number}", python, side, config, folder)
                runs[arm].append(figures)
                found[side] = versions
                print(f"round {number + 1}  {arm:15} {line_of(figures)}", flush=True)
            peaks.append(gemm_peak())
    light = {side: version_time(Path(python).parent) for python, side, _ in arms.values()}
    result = {
        "machine": machine(),
        "versions": found,
        "gemm_peak": max(peaks, key=lambda one: float(one["best"])),
        "operations": counted,
        "version_s": light,
        "configs": {arm: config for arm, (_, _, config) in arms.items()},
        "runs": runs,
    }
    asked.raw.parent.mkdir(parents=True, exist_ok=True)
    asked.raw.write_text(json.dumps(without_paths(result), indent=1) + "\n", encoding="utf-8")
    tell(result)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("rows_file", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-venv", type=Path, default=PEER_VENV)
    parser.add_argument("--peer-split", type=int, default=2, help="rows that the peer computes at a time, of 8")
    parser.add_argument("--without-defaults", action="store_true")
    parser.add_argument("--raw", type=Path, default=HERE / "results" / "sft_cpu.json")
    return parser.parse_args()


def arms_of(asked: argparse.Namespace, peer_python: Path) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Name -> the interpreter, the side, the configuration."""
    model = {"model_name_or_path": str(asked.model.resolve())}
    peer = {**PEER_WORK, **model}
    arms: dict[str, tuple[str, str, dict[str, Any]]] = {
        "ours": (sys.executable, "ours", {**WORK, **model, **split(ROWS_A_STEP)}),
        "peer, best": (str(peer_python), "peer", {**peer, **PEER_BEST, **split(asked.peer_split)}),
    }
    if not asked.without_defaults:
        arms["peer, defaults"] = (str(peer_python), "peer", {**peer, **split(ROWS_A_STEP)})
        arms["peer, examples"] = (str(peer_python), "peer", {**peer, **split(1)})
    return arms


def split(rows: int) -> dict[str, int]:
    """A step of ROWS_A_STEP rows, so many of them at a time."""
    return {"per_device_train_batch_size": rows, "gradient_accumulation_steps": ROWS_A_STEP // rows}


def write_rows(file: Path, folder: Path) -> None:
    rows = json.loads(file.read_text(encoding="utf-8"))[:ROWS]
    (folder / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))


def one_run(
    output: Path, python: str, side: str, config: dict[str, Any], data: Path, *, threads: int = 0
) -> tuple[dict[str, float], dict[str, str]]:
    """One process from nothing to the end of its last step. threads: 0 as the machine has them."""
    config = {**config, "dataset_dir": str(data), "output_dir": str(output)}
    config_file, result_file = data / "config.json", data / "result.json"
    config_file.write_text(json.dumps(config))
    caches = data / "caches"
    shutil.rmtree(caches, ignore_errors=True)
    environment = os.environ | {
        "LLAMA_FACTORY_CACHE": str(caches / "ours"), "HF_DATASETS_CACHE": str(caches / "theirs"),
        "HF_HUB_OFFLINE": "1", "DISABLE_VERSION_CHECK": "1",
    }  # fmt: skip
    if threads:
        environment |= {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    command = [python, str(HERE / "one_run.py"), side, str(config_file), str(result_file)]
    began, processor = time.time(), os.times()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-4000:])
    after = os.times()
    told = json.loads(result_file.read_text())
    result_file.unlink()
    steps = told["steps"]
    assert len(steps) == config["max_steps"], steps
    tokens, seconds = steps[-1]["tokens"] - steps[0]["tokens"], steps[-1]["at"] - steps[0]["at"]
    return {
        "tokens_per_second": tokens / seconds,
        "tokens": tokens,
        "seconds": seconds,
        "first_step_s": steps[0]["at"] - began,
        "tokens_per_processor_s": tokens / (steps[-1]["processor_s"] - steps[0]["processor_s"]),
        "peak_gb": told["peak_bytes"] / 1e9,
        "processor_s": after.children_user
        + after.children_system
        - processor.children_user
        - processor.children_system,
        **told.get("data", {}),
    }, told["versions"]


def gemm_peak() -> dict[str, Any]:
    """Operations a second of the best of five products in bf16, 20 times each, in a process of its own."""
    done = subprocess.run([sys.executable, str(HERE / "gemm_peak.py")], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def operations(model: Path, data: Path) -> dict[str, float]:
    """What the timed steps of our side have to compute, in a process of its own, since it loads torch."""
    command = [sys.executable, str(HERE / "operations.py"), str(model), str(data / "rows.json")]
    done = subprocess.run([*command, str(STEPS), str(ROWS_A_STEP)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def version_time(folder: Path) -> float:
    """Seconds of `llamafactory-cli version`; the median of five, after one that warms the disk's cache."""
    times = []
    for _ in range(6):
        began = time.perf_counter()
        subprocess.run([str(folder / "llamafactory-cli"), "version"], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def without_paths(result: dict[str, Any]) -> dict[str, Any]:
    for config in result["configs"].values():
        config["model_name_or_path"] = Path(config["model_name_or_path"]).name
    return result


def line_of(figures: dict[str, float]) -> str:
    return (
        f"{figures['tokens_per_second']:6.0f} tokens/s   first step {figures['first_step_s']:5.1f} s   "
        f"peak {figures['peak_gb']:.2f} GB   processor {figures['processor_s']:4.0f} s"
    )


def tell(result: dict[str, Any]) -> None:
    """Medians of each arm, the ratios of the same rounds, and the share of the machine's peak."""
    runs, ours = result["runs"], result["runs"]["ours"]
    print("\nmedians")
    for arm, figures in runs.items():
        middle = {name: statistics.median(one[name] for one in figures) for name in figures[0]}
        ratio = {
            name: statistics.median(mine[name] / their[name] for mine, their in zip(ours, figures, strict=True))
            for name in middle
        }
        print(f"{arm:15} {line_of(middle)}")
        if arm != "ours":
            print(
                f"{'':15} ours: x{ratio['tokens_per_second']:.2f} tokens/s, first step after "
                f"x{ratio['first_step_s']:.2f} of the time, memory x{ratio['peak_gb']:.2f}"
            )
    for side, seconds in result["version_s"].items():
        print(f"{side:15} version in {seconds:.2f} s")
    seconds = statistics.median(one["seconds"] for one in ours)
    peak, needed = result["gemm_peak"]["best"], result["operations"]["timed"]
    print(
        f"{needed / seconds / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s: {needed / seconds / peak:.0%} of the bf16 peak "
        f"({result['operations']['supervised']:.0f} of {result['operations']['tokens']:.0f} tokens supervised)"
    )


if __name__ == "__main__":
    main()
