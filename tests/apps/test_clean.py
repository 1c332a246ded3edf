"""`clean`: a new file whole or absent, a report of every row, and nothing that nobody asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from data_commands import Told, in_process, write

from llama_factory.apps import cleaning
from llama_factory.recipes import clean as recipe

ROWS: list[dict[str, Any]] = [
    {"id": 1, "prompt": "What is the capital of France?", "response": "It is Paris, on the river Seine.  "},
    {"id": 2, "prompt": "What is the capital of France?", "response": "It is Paris, on the river Seine.  "},
    {"id": 3, "prompt": "What is the capital of France?", "response": "It is Paris, on the river Seine!"},
    {"id": 4, "prompt": "cafe\u0301?", "response": "As an AI, I cannot."},
    {"id": 5, "prompt": "你好", "response": "你好！"},
]


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLAMA_FACTORY_LANG", "en")
    write("rows.jsonl", ROWS)

    return in_process("clean", tmp_path, capsys)


def rows_in(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def test_without_a_rule_it_says_what_there_is_and_writes_nothing(told: Told, tmp_path: Path) -> None:
    code, out, err = told("rows.jsonl")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("  --")}
    assert "1 rows, the first at rows.jsonl:2" in lines["--duplicates"]
    assert "1 rows, the first at rows.jsonl:3" in lines["--near-duplicates"]
    assert "2 rows, the first at rows.jsonl:1" in lines["--whitespace"]
    assert "1 rows, the first at rows.jsonl:4" in lines["--unicode"]
    assert "en 3" in lines["--language"]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_the_survey_goes_on_past_a_broken_row(told: Told) -> None:
    with open("rows.jsonl", "a") as file:
        file.write("{broken\n")
    code, out, _ = told("rows.jsonl")
    assert code == 0
    assert "--on-bad-row skip  1 rows, the first at rows.jsonl:6" in out


def test_rules_write_a_new_file_and_a_report_that_names_every_row(told: Told) -> None:
    code, out, err = told(
        "rows.jsonl", "out.jsonl", "--duplicates", "--near_duplicates", "--whitespace", "--drop=As an AI",
        "--report", "report.json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "5 rows read, 2 kept (1 of them changed), 3 left out" in out
    assert [row["id"] for row in rows_in("out.jsonl")] == [1, 5]
    assert rows_in("out.jsonl")[0]["response"] == "It is Paris, on the river Seine."
    assert "你好！" in Path("out.jsonl").read_text(encoding="utf-8")
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert {row["where"]: row.get("rule", row.get("changed")) for row in report["rows"]} == {
        "rows.jsonl:1": ["whitespace"],
        "rows.jsonl:2": "duplicates",
        "rows.jsonl:3": "near-duplicates",
        "rows.jsonl:4": "drop",
    }
    assert report["rows"][1]["like"] == "rows.jsonl:1"
    assert report["dropped"] == {"duplicates": 1, "near-duplicates": 1, "drop": 1}
    assert report["read"] == report["kept"] + sum(report["dropped"].values())
    assert rows_in("rows.jsonl") == ROWS


def test_a_dry_run_writes_the_report_alone(told: Told) -> None:
    code, out, _ = told("rows.jsonl", "--duplicates", "--dry-run", "--report", "report.json")
    assert code == 0
    assert "No rows were written." in out
    assert json.loads(Path("report.json").read_text())["out"] is None
    assert sorted(path.name for path in Path().iterdir()) == ["report.json", "rows.jsonl"]


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_the_name_of_the_new_file_says_its_form(told: Told, suffix: str) -> None:
    assert told("rows.jsonl", f"out{suffix}", "--duplicates")[0] == 0
    if suffix == ".json":
        assert [row["id"] for row in json.loads(Path("out.json").read_text(encoding="utf-8"))] == [1, 3, 4, 5]
    else:
        import csv

        with open("out.csv", encoding="utf-8", newline="") as file:
            assert [row["response"] for row in csv.DictReader(file)][-1] == "你好！"


def test_validation_rows_are_taken_out_of_the_training_rows(told: Told) -> None:
    write(
        "judged.jsonl",
        [{"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "你好！"}]}],
    )
    code, out, _ = told("rows.jsonl", "out.jsonl", "--against", "judged.jsonl")
    assert code == 0
    assert "--against  1 rows left out, the first at rows.jsonl:5" in out
    assert len(rows_in("out.jsonl")) == 4


def test_tokens_are_counted_by_the_model_s_tokenizer(told: Told, tiny_model: Path) -> None:
    code, out, err = told("rows.jsonl", "out.jsonl", "--max-tokens", "12", f"model_name_or_path={tiny_model}")
    assert code == 0, err
    assert "--max-tokens" in out
    assert 0 < len(rows_in("out.jsonl")) < 5


def test_a_text_that_a_replacement_empties_is_told(told: Told) -> None:
    code, out, _ = told("rows.jsonl", "out.jsonl", "--replace", "As an AI.*", "")
    assert code == 0
    assert "1 rows have lost a whole text, the first at rows.jsonl:4" in out


def test_a_bad_row_stops_the_work_or_is_skipped_and_listed(told: Told) -> None:
    with open("rows.jsonl", "a") as file:
        file.write("{broken\n")
    code, _, err = told("rows.jsonl", "out.jsonl", "--duplicates")
    assert code == 3
    assert "rows.jsonl:6" in err
    assert not Path("out.jsonl").exists()
    code, out, _ = told("rows.jsonl", "out.jsonl", "--duplicates", "--on-bad-row", "skip", "--report", "report.json")
    assert code == 0
    assert "bad-row" in out
    assert json.loads(Path("report.json").read_text())["rows"][-1]["where"] == "rows.jsonl:6"


WRONG: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no file": ((), 2, "needs a file to read"),
    "a file that is not there": (("nowhere.jsonl", "out.jsonl", "--duplicates"), 3, "nowhere.jsonl"),
    "three files": (("rows.jsonl", "a.jsonl", "b.jsonl"), 2, "b.jsonl"),
    "no rule": (("rows.jsonl", "out.jsonl"), 2, "no rule was named"),
    "no target": (("rows.jsonl", "--duplicates"), 2, "--dry-run"),
    "in place": (("rows.jsonl", "rows.jsonl", "--duplicates", "--overwrite"), 2, "never changed"),
    "in place by a link": (("rows.jsonl", "link.jsonl", "--duplicates", "--overwrite"), 2, "never changed"),
    "over the validation file": (
        ("rows.jsonl", "judged.jsonl", "--against", "judged.jsonl", "--overwrite"), 2, "never changed",
    ),
    "report over the result": (
        ("rows.jsonl", "out.json", "--duplicates", "--report", "out.json"), 2, "never changed",
    ),
    "an unknown option": (("rows.jsonl", "out.jsonl", "--duplicate"), 2, "`duplicates`"),
    "a form that is not written": (("rows.jsonl", "out.parquet", "--duplicates"), 2, ".jsonl, .json, .csv"),
    "a folder": ((".", "out.jsonl", "--duplicates"), 2, "reads one file"),
    "a column that is nowhere": (
        ("rows.jsonl", "out.jsonl", "--whitespace", "--fields", "respons,id"), 2, "`respons` (`response`?)",
    ),
    "an expression": (("rows.jsonl", "out.jsonl", "--drop", "("), 2, "cannot be read"),
    "a likeness above 1": (("rows.jsonl", "out.jsonl", "--near-duplicates=80"), 2, "80"),
    "lengths the wrong way round": (
        ("rows.jsonl", "out.jsonl", "--min-words", "9", "--max-words", "3"), 2, "no row could stay",
    ),
    "tokens without a model": (("rows.jsonl", "out.jsonl", "--max-tokens", "9"), 2, "--model_name_or_path"),
    "nothing left": (("rows.jsonl", "out.jsonl", "--max-characters", "1"), 3, "all of the 5 rows"),
    "half a replacement": (("rows.jsonl", "out.jsonl", "--replace", "a"), 2, "REGEX TEXT"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(told: Told, name: str) -> None:
    words, wanted, hint = WRONG[name]
    os.symlink("rows.jsonl", "link.jsonl")
    write("judged.jsonl", ROWS[:1])
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    code, out, err = told(*words)
    assert (code, out) == (wanted, "")
    assert hint in err
    assert len(err.strip().splitlines()) <= 3
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


def test_a_second_run_needs_to_be_told_to_write_over_the_first(told: Told) -> None:
    assert told("rows.jsonl", "out.jsonl", "--duplicates")[0] == 0
    before = Path("out.jsonl").read_bytes()
    code, _, err = told("rows.jsonl", "out.jsonl", "--whitespace")
    assert code == 2
    assert "--overwrite" in err
    assert Path("out.jsonl").read_bytes() == before
    assert told("rows.jsonl", "out.jsonl", "--whitespace", "--overwrite")[0] == 0
    assert len(rows_in("out.jsonl")) == 5


@pytest.mark.parametrize("library", ["rensa", "py3langid"])
def test_a_missing_library_is_named_with_its_pip_line(
    told: Told, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    option = {"rensa": "--near-duplicates", "py3langid": "--language=en"}[library]
    code, _, err = told("rows.jsonl", "out.jsonl", option)
    assert code == 4
    assert f"`pip install {library}`" in err
    code, out, _ = told("rows.jsonl")
    assert code == 0
    assert f"not looked for: `pip install {library}`" in out


def test_latin_1_is_a_bad_row_and_a_byte_order_mark_is_none(told: Told) -> None:
    Path("latin.jsonl").write_bytes('{"text": "Grüße"}\n'.encode("latin-1"))
    code, _, err = told("latin.jsonl", "out.jsonl", "--duplicates")
    assert code == 3
    assert "latin.jsonl:1" in err
    Path("marked.jsonl").write_bytes('\ufeff{"text": "Grüße"}\n'.encode())
    assert told("marked.jsonl", "out.jsonl", "--duplicates")[0] == 0
    assert rows_in("out.jsonl") == [{"text": "Grüße"}]


def test_the_two_tables_of_likeness_agree() -> None:
    assert cleaning.NEARLY == recipe.NEARLY


# --- large, full, stopped -------------------------------------------------------------------------------------

PEAK = """
import resource, sys
from llama_factory.apps.cli import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(code)
"""


def many(count: int) -> Iterator[str]:
    filler = "some words that go on and on " * 30
    for number in range(count):
        yield json.dumps({"prompt": f"Question {number}?", "response": f"{number} {filler} {number * 7919}"}) + "\n"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for name, count in (("small.jsonl", 2_000), ("large.jsonl", 40_000)):
        with (tmp_path / name).open("w") as file:
            file.writelines(many(count))
        words = ["clean", name, f"out-{name}", "--duplicates", "--whitespace", "--report", f"{name}.json"]
        done = subprocess.run([sys.executable, "-c", PEAK, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.split("peak ")[1]))
    assert (tmp_path / "large.jsonl").stat().st_size > 35e6
    assert peaks[1] - peaks[0] < 20, peaks  # MB; a digest a row


@pytest.mark.faults
def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    with (tmp_path / "large.jsonl").open("w") as file:
        file.writelines(many(60_000))
    words = ["clean", "large.jsonl", "out.jsonl", "--whitespace", "--drop", "never met", "--report", "report.json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "llama_factory", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".writing-*/files/out.jsonl")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["large.jsonl"]


@pytest.mark.faults
def test_a_full_disk_is_a_letter_and_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with (tmp_path / "large.jsonl").open("w") as file:
            file.writelines(many(5_000))
        words = ["clean", "large.jsonl", "disk/out.jsonl", "--whitespace"]
        command = [sys.executable, "-m", "llama_factory", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 4, done.stderr
        assert "Traceback" not in done.stderr
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_it_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    words = ["clean", "rows.jsonl", "out.jsonl", "--duplicates", "--near-duplicates", "--language", "en,zh"]
    code = (
        f"import sys\nfrom llama_factory.apps.cli import main\nassert main({words!r}) == 0\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
