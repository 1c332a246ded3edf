"""Memory while a file is read does not grow with the file: processes that read 4, 50 and 500 MB, and their peaks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PEAK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from llama_factory.config import from_mapping
from llama_factory.data import prepare
from llama_factory.render import load_renderer

run = from_mapping({"dataset": sys.argv[2]}, "test")
prepared = prepare(run, load_renderer(Path(sys.argv[3])), cache=Path("cache"), say=lambda line: None)
print(len(prepared.train), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak_mb(folder: Path, model: Path, size_mb: float) -> float:
    """Of one process that reads so many MB of rows of about a thousand characters."""
    file = folder / f"rows-{size_mb}.jsonl"
    with file.open("w", encoding="utf-8") as out:
        number = 0
        while out.tell() < size_mb * 1e6:
            number += 1
            words = " ".join(f"word{(number * at) % 997}" for at in range(120))
            out.write(json.dumps({"instruction": f"{number}. {words[:400]}", "output": words}) + "\n")
    command = [sys.executable, "-c", PEAK, str(Path(__file__).parent), file.name, str(model)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    rows, megabytes = done.stdout.split()
    assert int(rows) == number
    return float(megabytes)


@pytest.mark.real
def test_ten_times_the_file_takes_no_tenth_more_memory(tmp_path, real_model) -> None:
    assert peak_mb(tmp_path, real_model, 40) <= 1.1 * peak_mb(tmp_path, real_model, 4)


@pytest.mark.slow
@pytest.mark.real
def test_500_mb_take_no_tenth_more_memory_than_50(tmp_path, real_model) -> None:
    assert peak_mb(tmp_path, real_model, 500) <= 1.1 * peak_mb(tmp_path, real_model, 50)
