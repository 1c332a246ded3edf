"""Memory while a file is read does not grow with the file: processes that read 4, 50 and 500 MB, and their peaks.
And what the rows of a large set cost afterwards, while they are judged and trained on: some numbers each.
"""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from llama_factory.data import Prepared, TokenStore, batches
from llama_factory.data.audit import audit
from llama_factory.data.store import Part
from llama_factory.data.summary import Summary
from llama_factory.data.writing import PartWriter
from llama_factory.records import Origin, Rendered

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


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """Forty thousand rows of 50 to 149 tokens: row 30,000 equals row 7, and row 30,001 row 30,000."""
    folder = tmp_path_factory.mktemp("many")
    with PartWriter(folder, ["rows.jsonl"]) as writer:
        for start in range(0, 40_000, 4000):
            writer.append([_row(number) for number in range(start, start + 4000)])
        writer.finish({"file": "rows.jsonl"})
    return TokenStore([Part.open(folder)])


def _row(number: int) -> Rendered:
    seed = 7 if number in (30_000, 30_001) else number
    ids_T = ((np.arange(50 + seed % 100) * 31 + seed) % 49_000).astype(np.int32)
    ids_T[0] = seed
    weight_T = np.ones(ids_T.size, dtype=np.float32)
    return Rendered("", ids_T, weight_T, np.zeros(ids_T.size, dtype=np.int16), Origin("rows.jsonl", number + 1))


def test_looking_for_rows_that_come_twice_keeps_some_numbers_of_each(many: TokenStore) -> None:
    rows = Prepared(many, many.select(np.arange(0, 40_000, 4000)), Summary((), (), 40_000, 10))
    tracemalloc.start()
    found = audit(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    twice, leak = found
    assert (twice.id, twice.where) == ("data.duplicates", "rows.jsonl:30001")
    assert twice.values == {"count": 2, "rows": 40_000, "first": "rows.jsonl:8"}
    assert (leak.id, leak.values["count"]) == ("data.leak", 10)
    assert peak / 40_000 < 100


def test_rows_whose_digests_are_equal_by_chance_are_not_taken_for_the_same(
    many: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = many.select(np.arange(100, 140))
    monkeypatch.setattr(TokenStore, "digests", lambda self: np.zeros(len(self), dtype=np.uint64))
    assert audit(Prepared(few, many.select(np.arange(5)), Summary((), (), 40, 5))) == []


def test_last_tokens_and_the_largest_are_found_some_rows_at_a_time(
    many: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llama_factory.data.store.STRETCH_TOKENS", 1000)
    some = many.select(np.array([39_999, 5, 5, 0]))
    assert some.last_trained().tolist() == [int(_row(number).ids_T[-1]) for number in (39_999, 5, 5, 0)]
    assert some.largest_id() == max(int(part.ids_T.max()) for part in many.parts)
    assert some.digests()[1] == some.digests()[2] != some.digests()[0]


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own account is read")
def test_an_epoch_does_not_end_with_all_of_the_files_in_memory(many: TokenStore) -> None:
    def mapped() -> int:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssFile"))

    source = batches(many, rows_per_step=64, micro_batch_tokens=10_000, seed=1, shuffle=True)
    before, most = mapped(), 0
    for _ in range(source.steps_per_epoch):
        source.next_step()
        most = max(most, mapped())
    assert many.tokens * 8 > 20e6
    assert most - before < 5e6
