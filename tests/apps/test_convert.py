"""`convert`: every form into every other that can hold it, read back to the same records; the rest is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from data_commands import Told, in_process, write

from llama_factory.apps.words import USAGE
from llama_factory.data import registry, sources
from llama_factory.data.formats import choose
from llama_factory.data.outward import FORMATS
from llama_factory.data.sources import fetch
from llama_factory.errors import DataError
from llama_factory.records import Origin, Record

ALPACA = [
    {"instruction": "Who?", "input": "Say it.", "output": "A model.", "system": "Be kind."},
    {"instruction": "And now?", "input": "", "output": "你好", "history": [["One?", "1"], ["Two?", "2"]]},
]
TURNS = [
    {"turns": [{"role": "human", "content": "什么是机器学习"}, {"role": "assistant", "content": "一个分支。"}]},
    {
        "turns": [
            {"role": "human", "content": "1+1?"},
            {"role": "assistant", "content": "2", "requires_reasoning": True, "thinking": "one and one"},
        ]
    },
]
PAIRS = [
    {
        "conversations": [{"from": "human", "value": "Which?"}],
        "chosen": {"from": "gpt", "value": "This."},
        "rejected": {"from": "gpt", "value": "That."},
    }
]
JUDGED = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "label": False}]
TEXTS = [{"text": "Plain words."}]
CLASSES = [{"text": "Plain words.", "label": "good"}]
INPUTS: dict[str, tuple[list[dict[str, Any]], tuple[str, ...]]] = {
    "alpaca": (ALPACA, ("openai", "sharegpt", "alpaca")),
    "turns": (TURNS, ("openai", "sharegpt", "alpaca")),
    "pairs": (PAIRS, ("openai", "sharegpt", "alpaca")),
    "judged": (JUDGED, ("openai", "sharegpt", "alpaca")),
    "questions": ([{"prompt": "Who?", "response": "Me."}], ("openai", "sharegpt", "alpaca", "prompt_response")),
    "texts": (TEXTS, ("text",)),
    "classes": (CLASSES, ("classification",)),
}


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLAMA_FACTORY_LANG", "en")
    for name, (rows, _) in INPUTS.items():
        write(f"{name}.jsonl", rows)

    return in_process("convert", tmp_path, capsys)


def records(name: str, folder: str = "data") -> list[Record]:
    """What a run would learn from, by path or by name; every origin the same, for comparing."""
    entry = fetch(registry.find(name, folder), Path("cache"))
    rows = list(sources.rows(entry))
    good = [row for row in rows if not isinstance(row, DataError)]
    assert len(good) == len(rows) > 0
    converter = choose(entry, good)
    return [converter.convert(row, Origin("-", number)) for number, (_, row) in enumerate(good, 1)]


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize("name", INPUTS)
def test_what_is_written_is_read_back_as_the_same_records(told: Told, name: str, suffix: str) -> None:
    before = Path(f"{name}.jsonl").read_bytes()
    for to in INPUTS[name][1]:
        code, out, err = told(f"{name}.jsonl", f"to-{to}{suffix}", "--to", to)
        assert (code, err) == (0, "")
        count = len(INPUTS[name][0])
        assert f"{count} rows read, {count} written to to-{to}{suffix}, 0 left out" in out
        assert records(f"to-{to}{suffix}") == records(f"{name}.jsonl")
        back, _, err = told(f"to-{to}{suffix}", f"back-{to}.jsonl", "--to", INPUTS[name][1][0])
        assert back == 0, err
        assert records(f"back-{to}.jsonl") == records(f"{name}.jsonl")
    assert Path(f"{name}.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", INPUTS)
def test_the_printed_entry_finds_the_result_and_reads_it_as_it_was_written(told: Told, name: str) -> None:
    for to in INPUTS[name][1]:
        os.makedirs("data", exist_ok=True)
        _, out, _ = told(f"{name}.jsonl", f"{to}.json", "--to", to)
        entry = out.splitlines()[-1].strip()
        Path("data/dataset_info.json").write_text("{" + entry + "}", encoding="utf-8")
        assert records(to) == records(f"{name}.jsonl")


def test_pairs_are_entered_as_pairs(told: Told) -> None:
    _, out, _ = told("pairs.jsonl", "out.json", "--to", "sharegpt")
    assert '"ranking": true' in out


def test_the_tutorial_s_turns_become_slow_and_fast_thoughts(told: Told) -> None:
    assert told("turns.jsonl", "out.json", "--to", "openai")[0] == 0
    fast, slow = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert fast["messages"][0] == {"role": "system", "content": "你是一个有帮助的AI助手"}
    assert fast["messages"][2]["content"] == "<think>\n\n</think>\n<answer>\n一个分支。\n</answer>"
    assert slow["messages"][2]["content"] == "<think>\none and one\n</think>\n<answer>\n2\n</answer>"


def test_csv_holds_what_is_flat_and_refuses_the_rest(told: Told) -> None:
    rows = [{"instruction": "a", "output": 'b, "c"\nd'}, {"instruction": "e", "output": "f", "system": "s"}]
    write("flat.jsonl", rows)
    assert told("flat.jsonl", "out.csv", "--to", "alpaca")[0] == 0
    assert Path("out.csv").read_text() == 'instruction,input,output,system\na,,"b, ""c""\nd",\ne,,f,s\n'
    code, _, err = told("alpaca.jsonl", "nested.csv", "--to", "alpaca")
    assert code == 3
    assert "alpaca.jsonl:2: `history`" in err
    assert not Path("nested.csv").exists()


def test_a_system_text_goes_before_dialogues_that_have_none(told: Told) -> None:
    assert told("alpaca.jsonl", "out.jsonl", "--to", "openai", "--system", "Be brief.")[0] == 0
    systems = [record.messages[0].content for record in records("out.jsonl")]  # type: ignore[union-attr]
    assert systems == ["Be kind.", "Be brief."]


def test_a_result_is_entered_beside_what_is_there(told: Told) -> None:
    os.makedirs("data")
    Path("data/dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}}', encoding="utf-8")
    words = ("alpaca.jsonl", "results/out.jsonl", "--to", "openai", "--register", "new")
    code, out, _ = told(*words)
    assert code == 0
    assert "Added to data/dataset_info.json" in out
    known = json.loads(Path("data/dataset_info.json").read_text())
    assert list(known) == ["mine", "new"]
    assert known["new"]["file_name"] == "../results/out.jsonl"
    assert records("new") == records("alpaca.jsonl")
    code, _, err = told("new", "again.jsonl", "--to", "sharegpt", "--register", "new")
    assert code == 2
    assert "`new`" in err
    assert not Path("again.jsonl").exists()
    assert told("new", "again.jsonl", "--to", "sharegpt")[0] == 0
    assert records("again.jsonl") == records("alpaca.jsonl")


def test_rows_that_cannot_be_held_stop_the_work_or_are_left_out_and_listed(told: Told) -> None:
    good = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    weighed = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 1}]}
    bad = {"messages": [{"role": "user", "content": "a"}]}
    write("mixed.jsonl", [good, weighed, bad])
    code, _, err = told("mixed.jsonl", "out.jsonl", "--to", "alpaca")
    assert code == 3
    assert "mixed.jsonl:2: the format `alpaca` has no place for what this row says in: weight" in err
    assert not Path("out.jsonl").exists()
    code, out, _ = told("mixed.jsonl", "out.jsonl", "--to", "alpaca", "--on-bad-row", "skip")
    assert code == 0
    assert "3 rows read, 1 written to out.jsonl, 2 left out" in out
    assert "    mixed.jsonl:2: " in out
    assert "    mixed.jsonl:3: " in out


def test_keys_that_no_form_reads_are_named(told: Told) -> None:
    write("more.jsonl", [{"instruction": "a", "output": "b", "mood": "gay"}])
    code, _, err = told("more.jsonl", "out.jsonl", "--to", "openai")
    assert code == 0
    assert "mood" in err


def test_rows_of_two_kinds_are_not_put_into_one_file(told: Told) -> None:
    write("kinds.jsonl", [{key: JUDGED[0][key] for key in ("messages",)}, JUDGED[0]])
    code, _, err = told("kinds.jsonl", "out.jsonl", "--to", "openai")
    assert code == 3
    assert "kinds.jsonl:2" in err


WRONG: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no file": ((), 2, "needs a file"),
    "one file": (("alpaca.jsonl", "--to", "openai"), 2, "IN OUT"),
    "no format": (("alpaca.jsonl", "out.jsonl"), 2, "openai, prompt_response, text"),
    "an unknown format": (("alpaca.jsonl", "out.jsonl", "--to", "sharegtp"), 2, "(`sharegpt`?)"),
    "in place": (("alpaca.jsonl", "./alpaca.jsonl", "--to", "openai", "--overwrite"), 2, "never changed"),
    "a file that is there": (("alpaca.jsonl", "texts.jsonl", "--to", "openai"), 2, "--overwrite"),
    "a name that says no form": (("alpaca.jsonl", "out.parquet", "--to", "openai"), 2, ".jsonl, .json, .csv"),
    "no such file": (("nowhere.jsonl", "out.jsonl", "--to", "openai"), 2, "nowhere.jsonl"),
    "another kind of record": (("texts.jsonl", "out.jsonl", "--to", "openai"), 3, "texts.jsonl:1"),
    "nothing that can be held": (
        ("texts.jsonl", "out.jsonl", "--to", "openai", "--on-bad-row", "skip"), 3, "none of the 1 rows",
    ),
    "an unknown option": (("alpaca.jsonl", "out.jsonl", "--to", "openai", "--regster", "x"), 2, "`register`"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(told: Told, name: str) -> None:
    words, wanted, hint = WRONG[name]
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    code, out, err = told(*words)
    assert (code, out) == (wanted, "")
    assert hint in err
    assert len(err.strip().splitlines()) <= 3
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


def test_help_names_every_format() -> None:
    assert all(name in USAGE["convert"][0] for name in FORMATS)


def test_the_shared_data_sets_go_into_openai_and_back(told: Told, shared_data: Path) -> None:
    done = 0
    ways = {"alpaca_zh_demo.json": "alpaca", "dpo_en_demo.json": "sharegpt", "kto_en_demo.json": "alpaca"}
    for name, to in ways.items():
        assert told(str(shared_data / name), f"{done}.jsonl", "--to", "openai")[0] == 0
        assert told(f"{done}.jsonl", f"{done}-back.json", "--to", to)[0] == 0
        assert records(f"{done}-back.json") == records(str(shared_data / name))
        done += 1
    assert done == 3


def test_it_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ALPACA[0]) + "\n", encoding="utf-8")
    words = ["convert", "rows.jsonl", "out.jsonl", "--to", "openai"]
    code = (
        f"import sys\nfrom llama_factory.apps.cli import main\nassert main({words!r}) == 0\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
