"""Files are streamed: any cut into chunks reads the same, and memory does not grow with the file."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_factory.data import jsonarray, reading
from llama_factory.data.jsonarray import array_rows
from llama_factory.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=4), inside, max_size=3),
    max_leaves=8,
).filter(lambda value: "\0" not in json.dumps(value, ensure_ascii=False) and "\\u0000" not in json.dumps(value))


def read_array(content: bytes, chunk: int, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setattr(jsonarray, "CHUNK_BYTES", chunk)
    found = list(array_rows(io.BytesIO(content), "f.json", 10**6))
    assert not [one for one in found if isinstance(one, DataError)]
    assert [one[0].row for one in found if not isinstance(one, DataError)] == list(range(1, len(found) + 1))
    return [one[1] for one in found if not isinstance(one, DataError)]


@settings(max_examples=300, deadline=None)
@given(
    values=st.lists(VALUES, max_size=5),
    chunk=st.integers(1, 9),
    indent=st.sampled_from([None, 1, 20]),
    plain=st.booleans(),
)
def test_an_array_reads_the_same_for_any_size_of_chunk(values, chunk, indent, plain) -> None:
    content = json.dumps(values, indent=indent, ensure_ascii=plain).encode("utf-8")
    with pytest.MonkeyPatch.context() as patch:
        assert read_array(content, chunk, patch) == json.loads(content)


@settings(max_examples=300, deadline=None)
@given(values=st.lists(VALUES, min_size=1, max_size=4), chunk=st.integers(1, 9), at=st.integers(0, 10**6))
def test_an_array_that_lost_its_end_is_always_refused(values, chunk, at) -> None:
    whole = json.dumps(values, ensure_ascii=False).encode("utf-8")
    content = whole[: 1 + at % (len(whole) - 1)]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DataError) as caught:
        read_array(content, chunk, patch)
    assert caught.value.id in ("data.broken-array", "data.not-utf8")


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=60), lead=st.sampled_from([b"", b"[", b'[{"a": ', b'{"a": "', b"\xef\xbb\xbf["]))
def test_no_bytes_at_all_lead_to_anything_but_rows_or_letters(content, lead, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "f.jsonl"
    path.write_bytes(lead + content)
    for found in rows_and_letters(path):
        if isinstance(found, DataError):
            assert found.letter("en")
            assert found.letter("zh")
        else:
            assert isinstance(found[1], dict)


def rows_and_letters(path: Path) -> list[object]:
    found: list[object] = []
    try:
        found.extend(reading.read_rows(path, path.name))
    except DataError as error:
        found.append(error)
    # An array of nothing is read as nothing; that it has no rows is for `building` to say.
    assert found or json.loads(path.read_bytes().decode("utf-8-sig")) == []
    return found


def test_a_broken_array_is_not_read_to_its_end(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(jsonarray, "CHUNK_BYTES", 1000)
    path = tmp_path / "f.json"
    path.write_text("[" + '{"a" 1},\n' + ",\n".join(['{"a": 1}'] * 100_000) + "]")
    with path.open("rb") as file:
        with pytest.raises(DataError):
            list(array_rows(file, "f.json", 10**6))
        assert file.tell() < 10_000


@pytest.mark.parametrize("name", ["f.json", "f.jsonl"])
def test_memory_does_not_grow_with_the_file(tmp_path, name) -> None:
    peaks = []
    for rows in (20_000, 80_000):
        row = json.dumps({"instruction": "q" * 60, "output": "a" * 60})
        text = "[" + ",\n".join([row] * rows) + "]" if name == "f.json" else "\n".join([row] * rows)
        (tmp_path / name).write_text(text)
        del text
        tracemalloc.start()
        assert sum(1 for _ in reading.read_rows(tmp_path / name, name)) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2
    assert peaks[1] < 6 * 2**20


@pytest.mark.parametrize("name", ["f.json", "f.jsonl"])
def test_a_row_without_an_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, name) -> None:
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 100_000)
    monkeypatch.setattr(jsonarray, "CHUNK_BYTES", 1000)
    path = tmp_path / name
    path.write_text(("[" if name == "f.json" else "") + '{"a": "' + "x" * 10**6)
    with pytest.raises(DataError) as caught:
        list(reading.read_rows(path, name))
    assert caught.value.id == "data.row-too-large"


def test_a_long_row_costs_time_in_proportion(tmp_path, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(jsonarray, "CHUNK_BYTES", 1000)
    original = jsonarray.Parser.at
    monkeypatch.setattr(
        jsonarray.Parser, "at", lambda self, text, at: (calls.append(len(text)), original(self, text, at))[1]
    )
    path = tmp_path / "f.json"
    path.write_text('[{"a": "' + "x" * 500_000 + '"}]')
    assert sum(1 for _ in reading.read_rows(path, "f.json")) == 1
    assert sum(calls) < 5 * 500_000


def test_the_shared_data_reads_as_plain_json_does(shared_data) -> None:
    seen = 0
    for path in sorted(shared_data.glob("*.json*")):
        rows = [row for row in reading.read_rows(path, path.name) if not isinstance(row, DataError)]
        text = path.read_text(encoding="utf-8")
        expected = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
        assert [row[1] for row in rows] == expected
        seen += 1
    assert seen >= 9


@pytest.mark.parametrize("chunk", range(1, 12))
def test_the_byte_of_wrong_text_is_exact_wherever_a_chunk_ends(chunk) -> None:
    content = '["中文"'.encode() + b', "\xe4\xb8x"]'
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DataError) as caught:
        read_array(content, chunk, patch)
    assert caught.value.values["offset"] == content.index(b"\xe4\xb8x")
