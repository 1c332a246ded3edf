"""From a file of rows to the first batch, ours beside LLaMA-Factory 0.9.5, in turn in one run; and memory by size.

    python benchmarks/data_cpu.py MODEL ROWS.json [--rounds 5] [--peer-venv FOLDER] [--memory-mb 50 500] [--raw FILE]

In: the folder of a small real model (SmolLM2-135M-Instruct) and a file of alpaca rows. Out: a table with medians over
the rounds, and the raw figures with versions and machine as JSON (default: benchmarks/results/data_cpu.json).

The work: the file's first 999 rows ten times, each made distinct by its number in front of its instruction, template
and tokenizer of SmolLM2, cutoff_len 2048, up to the first batch of 8 rows. Each run is a process of its own with empty
caches, but for `ours, again`, which finds what `ours` left. Imports, the configuration and the opening of the tokenizer
come before the clock on both sides; everything else, the loading of our faster encoder too, comes after.

    ours            as `train` does it when nothing else is said
    ours, plainly   with use_fast_tokenizer: false
    peer, 2         preprocessing_num_workers: 2
    peer, 1         preprocessing_num_workers: 1

Both sides must make the same number of tokens, but for a full stop in the peer's default system prompt. Memory: the
peak of a process that prepares a JSON Lines file of so many MB of such rows, each size once; one row shows what
imports take.
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
from pathlib import Path
from typing import Any

from beside_peer import PEER_VENV, machine, peer_environment

HERE = Path(__file__).resolve().parent
ROWS, TIMES = 999, 10
WORK: dict[str, Any] = {
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_target": "all",
    "dataset": "rows",
    "cutoff_len": 2048,
    "per_device_train_batch_size": 8,
    "report_to": "none",
}
PEER_WORK = {**WORK, "template": "smollm2", "overwrite_cache": True, "use_cpu": True, "bf16": True}
Run = dict[str, Any]


def main() -> None:
    asked = arguments()
    model = {"model_name_or_path": str(asked.model.resolve())}
    peer = str(peer_environment(asked.peer_venv))
    arms: dict[str, tuple[str, str, dict[str, Any]]] = {
        "ours": (sys.executable, "ours", {**WORK, **model}),
        "ours, again": (sys.executable, "ours", {**WORK, **model}),
        "ours, plainly": (sys.executable, "ours", {**WORK, **model, "use_fast_tokenizer": False}),
        "peer, 2": (peer, "peer", {**PEER_WORK, **model, "preprocessing_num_workers": 2}),
        "peer, 1": (peer, "peer", {**PEER_WORK, **model, "preprocessing_num_workers": 1}),
    }
    rows = json.loads(asked.rows_file.read_text(encoding="utf-8"))[:ROWS]
    runs: dict[str, list[Run]] = {arm: [] for arm in arms}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(rows, folder)
        for number in range(asked.rounds):
            for arm, (python, side, config) in arms.items():
                found = one_run(python, side, config, folder, keep=arm == "ours, again")
                runs[arm].append(found)
                print(f"round {number + 1}  {arm:14} {found['seconds']:6.2f} s  load {found['load']:.1f}", flush=True)
        same_work(runs)
        memory = [peak(mb, rows, arms["ours"][2], folder) for mb in (0, *asked.memory_mb)]
    result = {
        "machine": machine(),
        "versions": {arm: some[0]["versions"] for arm, some in runs.items() if some},
        "runs": {arm: [without_versions(one) for one in some] for arm, some in runs.items()},
        "memory": memory,
    }
    asked.raw.parent.mkdir(parents=True, exist_ok=True)
    asked.raw.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    tell(result)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("rows_file", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-venv", type=Path, default=PEER_VENV)
    parser.add_argument("--memory-mb", type=int, nargs="*", default=[50, 500])
    parser.add_argument("--raw", type=Path, default=HERE / "results" / "data_cpu.json")
    return parser.parse_args()


def write_rows(rows: list[dict[str, str]], folder: Path) -> None:
    distinct = [
        {**row, "instruction": f"{turn * len(rows) + at}. {row['instruction']}"}
        for turn in range(TIMES)
        for at, row in enumerate(rows)
    ]
    (folder / "rows.json").write_text(json.dumps(distinct, ensure_ascii=False, indent=2), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))


def one_run(python: str, side: str, config: dict[str, Any], data: Path, *, keep: bool = False) -> Run:
    caches = data / "caches"
    if not keep:
        shutil.rmtree(caches, ignore_errors=True)
    config_file, result_file = data / "config.json", data / "result.json"
    config_file.write_text(json.dumps({**config, "dataset_dir": str(data), "output_dir": str(data / "output")}))
    environment = os.environ | {
        "LLAMA_FACTORY_CACHE": str(caches / "ours"), "HF_DATASETS_CACHE": str(caches / "theirs"),
        "HF_HUB_OFFLINE": "1", "DISABLE_VERSION_CHECK": "1",
    }  # fmt: skip
    command = [python, str(HERE / "data_run.py"), side, str(config_file), str(result_file)]
    load = os.getloadavg()[0]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-4000:])
    found: Run = json.loads(result_file.read_text())
    result_file.unlink()
    return {**found, "load": load}


def peak(mb: int, rows: list[dict[str, str]], config: dict[str, Any], folder: Path) -> Run:
    """0 MB: the same process with one row, which shows what imports take."""
    file = folder / "large.jsonl"
    number = 0
    with file.open("w", encoding="utf-8") as out:
        while out.tell() < mb * 1e6 or number == 0:
            row = rows[number % len(rows)]
            out.write(json.dumps({**row, "instruction": f"{number}. {row['instruction']}"}, ensure_ascii=False) + "\n")
            number += 1
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "large.jsonl"}}))
    found = one_run(sys.executable, "ours", {**config, "per_device_train_batch_size": 1}, folder)
    file.unlink()
    print(
        f"{mb:5} MB  {found['rows']:8} rows  {found['seconds']:7.1f} s  peak {found['peak_bytes'] / 1e6:6.0f} MB",
        flush=True,
    )
    return {"mb": mb, **without_versions(found)}


def same_work(runs: dict[str, list[Run]]) -> None:
    """Its default system prompt ends with a full stop that the model's own has not."""
    made = {(one["rows"], one["tokens"] + (arm[0] == "o") * one["rows"]) for arm, some in runs.items() for one in some}
    assert len(made) <= 1, made
    assert all(one["store"] == "hit" for one in runs["ours, again"])
    assert all(one["store"] == "new" for one in runs["ours"])


def without_versions(found: Run) -> Run:
    return {name: value for name, value in found.items() if name != "versions"}


def tell(result: dict[str, Any]) -> None:
    medians = {arm: statistics.median(one["seconds"] for one in some) for arm, some in result["runs"].items() if some}
    print("\n| | seconds to the first batch | rows/s | ours is faster by |\n|---|---|---|---|")
    for arm, seconds in medians.items():
        ratios = [
            theirs["seconds"] / ours["seconds"]
            for ours, theirs in zip(result["runs"]["ours"], result["runs"][arm], strict=True)
        ]
        rows = result["runs"][arm][0]["rows"]
        print(f"| {arm} | {seconds:.2f} | {rows / seconds:,.0f} | ×{statistics.median(ratios):.1f} |")
    for one in result["memory"]:
        print(f"{one['mb']} MB: peak {one['peak_bytes'] / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
