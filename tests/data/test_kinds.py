"""Every kind of file, plain and packed, reads as the same rows; what is broken is named with its place."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import tracemalloc
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_factory.data import arrowfile, kinds, reading
from llama_factory.errors import DataError, LlamaFactoryError

ROWS = [{"text": f"row {number}: “quoted”, 中文 🦙", "label": f"l{number % 3}"} for number in range(700)]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def as_bytes(suffix: str, rows: list[dict[str, Any]]) -> bytes:
    """The rows as a file of that kind, written by other libraries than the readers."""
    out = io.BytesIO()
    if suffix in (".parquet", ".arrow"):
        table = pa.Table.from_pylist(rows)
        if suffix == ".parquet":
            pq.write_table(table, out, row_group_size=300)
        else:
            with pa.ipc.new_file(out, table.schema) as writer:
                writer.write_table(table, max_chunksize=300)
        return out.getvalue()
    if suffix in (".csv", ".tsv"):
        text = io.StringIO(newline="")
        writer_ = csv.DictWriter(text, list(rows[0]), delimiter="," if suffix == ".csv" else "\t")
        writer_.writeheader()
        writer_.writerows(rows)
        return text.getvalue().encode()
    if suffix == ".txt":
        return "".join(row["text"] + "\n" for row in rows).encode()
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    return ("[" + ",\n".join(lines) + "]" if suffix == ".json" else "\n".join(lines)).encode()


def packed(content: bytes, how: str) -> bytes:
    if how == ".gz":
        return gzip.compress(content)
    if how == ".zst":
        out = pa.BufferOutputStream()
        with pa.CompressedOutputStream(out, "zstd") as stream:
            stream.write(content)
        return bytes(out.getvalue().to_pybytes())
    return content


def read(path: Path) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for row in reading.read_rows(path, path.name):
        assert not isinstance(row, DataError), row.letter()
        assert row[0].file == path.name
        found.append((row[0].row, row[1]))
    return found


def refused(path: Path) -> DataError:
    with pytest.raises(LlamaFactoryError) as caught:
        list(reading.read_rows(path, path.name))
    assert caught.value.letter("en")
    assert caught.value.letter("zh")
    assert isinstance(caught.value, DataError)
    return caught.value


@pytest.mark.parametrize("how", ["", ".gz", ".zst"])
@pytest.mark.parametrize("suffix", kinds.KINDS)
def test_every_kind_of_file_reads_as_the_rows_that_were_written(tmp_path, suffix, how) -> None:
    path = tmp_path / f"rows{suffix}{how}"
    path.write_bytes(packed(as_bytes(suffix, ROWS), how))
    found = read(path)
    expected = [{"text": row["text"]} for row in ROWS] if suffix == ".txt" else ROWS
    assert [row for _, row in found] == expected
    first = 2 if suffix in (".csv", ".tsv") else 1
    assert [number for number, _ in found] == list(range(first, first + len(ROWS)))


def test_the_readers_are_those_of_the_known_kinds() -> None:
    assert set(reading.READERS) == set(kinds.KINDS.values())
    assert len(kinds.SUFFIXES) == 21
    for suffix in kinds.SUFFIXES:
        assert kinds.named("A" + suffix.upper()) == kinds.named("a" + suffix)
        assert kinds.named("a" + suffix) is not None
    assert kinds.named("a.gz") is None
    assert kinds.named("a.zip") is None


# --- packed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [".gz", ".zst"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt", ".parquet"])
def test_a_packed_file_that_lost_its_end_is_never_taken_for_a_shorter_one(tmp_path, suffix, how) -> None:
    whole = packed(as_bytes(suffix, ROWS), how)
    for cut in (len(whole) - 1, len(whole) - 9, len(whole) // 2, 12):
        path = tmp_path / f"rows{suffix}{how}"
        path.write_bytes(whole[:cut])
        assert refused(path).id == "data.damaged-packing"


@pytest.mark.parametrize("how", [".gz", ".zst"])
def test_packed_pieces_put_one_after_the_other_are_all_read(tmp_path, how) -> None:
    path = tmp_path / f"rows.jsonl{how}"
    path.write_bytes(packed(b'{"a": 1}\n', how) + packed(b"", how) + packed(b'{"a": 2}\n', how))
    assert [row for _, row in read(path)] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("how", [".gz", ".zst"])
def test_a_file_that_is_not_packed_as_its_name_says_is_refused(tmp_path, how) -> None:
    path = tmp_path / f"rows.jsonl{how}"
    path.write_bytes(b'{"a": 1}\n')
    assert refused(path).id == "data.damaged-packing"


@pytest.mark.parametrize("name", ["rows.jsonl.zst", "rows.parquet", "rows.arrow"])
def test_a_library_that_is_missing_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch, name) -> None:
    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LlamaFactoryError) as caught:
        list(reading.read_rows(tmp_path / name, name))
    assert (caught.value.id, caught.value.exit_code) == ("data.library-needed", 4)
    assert 'pip install "llama-factory[data]"' in caught.value.letter()


@pytest.mark.parametrize("name", ["f.jsonl.gz", "f.json.zst", "f.csv", "f.csv.gz", "f.txt.zst"])
def test_memory_does_not_grow_with_the_file(tmp_path, name) -> None:
    peaks = []
    named = kinds.named(name)
    assert named
    for rows in (20_000, 60_000):
        made = [{"text": "t" * 60, "label": "l" * 60}] * rows
        (tmp_path / name).write_bytes(packed(as_bytes(named.suffix, made), named.packed))
        tracemalloc.start()
        assert sum(1 for _ in reading.read_rows(tmp_path / name, name)) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2
    assert peaks[1] < 6 * 2**20


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_table_of_one_large_piece_is_read_without_holding_it(tmp_path, suffix) -> None:
    peaks = []
    for rows in (20_000, 80_000):
        table = pa.table({"text": [f"{number:08d}" * 40 for number in range(rows)]})
        path = tmp_path / f"rows{suffix}"
        if suffix == ".parquet":
            pq.write_table(table, path, row_group_size=rows, use_dictionary=False)
        else:
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table)
        del table
        pool = pa.default_memory_pool()
        before, peak = pool.bytes_allocated(), 0
        seen = 0
        for _ in reading.read_rows(path, path.name):
            seen += 1
            peak = max(peak, pool.bytes_allocated() - before)
        assert seen == rows
        peaks.append(peak)
    assert peaks[1] < 12 * 2**20  # the larger table is 25 MB
    assert peaks[1] < peaks[0] * 1.5 + 2**20


# --- csv ---------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), ending=st.sampled_from(["\r\n", "\n"]))
def test_whatever_a_csv_writer_writes_is_read_back(rows, ending, tmp_path_factory) -> None:
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if ending == "\n" else csv.QUOTE_MINIMAL  # it leaves a bare return unquoted otherwise
    writer = csv.writer(text, lineterminator=ending, quoting=quoting)
    writer.writerow(("text", "label"))
    writer.writerows(rows)
    path = tmp_path_factory.mktemp("csv") / "f.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    expected = [{"text": one, "label": other} for one, other in rows if one.strip() or other.strip()]
    assert [row for _, row in read(path)] == expected


def test_a_record_is_named_by_the_line_on_which_it_starts(tmp_path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b'\xef\xbb\xbftext,label\r\n"one\r\ntwo\r\n",a\r\n\r\nthree,b\r\n')
    assert read(path) == [(2, {"text": "one\r\ntwo\r\n", "label": "a"}), (6, {"text": "three", "label": "b"})]


def test_values_stay_the_words_that_they_are_and_empty_cells_are_empty(tmp_path) -> None:
    path = tmp_path / "f.csv"
    path.write_text('text,label,more\n007,NULL,\n1e5,"",nan\n5" pipe,a,b\n')
    assert [tuple(row.values()) for _, row in read(path)] == [
        ("007", "NULL", ""), ("1e5", "", "nan"), ('5" pipe', "a", "b"),
    ]  # fmt: skip


def test_the_column_of_row_numbers_without_a_name_is_not_read(tmp_path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(",text\n0,one\n1,two\n")
    assert [row for _, row in read(path)] == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize(
    ("content", "id", "says"),
    [
        ("text,label\na,b\nc,d,e\n", "data.csv-cells", "expected 2 cells, as in the header, found 3"),
        ("text,label\na,b\nc\n", "data.csv-cells", "found 1"),
    ],
)
def test_a_record_with_another_number_of_cells_is_a_bad_row(tmp_path, content, id, says) -> None:
    path = tmp_path / "f.csv"
    path.write_text(content)
    found = list(reading.read_rows(path, "f.csv"))
    assert not isinstance(found[0], DataError)
    assert isinstance(found[1], DataError)
    assert (found[1].id, found[1].where) == (id, "f.csv:3")
    assert says in found[1].letter()


@pytest.mark.parametrize(
    ("name", "content", "id", "where"),
    [
        ("f.csv", 'text,label\n"one,a\ntwo,b\n', "data.broken-csv", "f.csv:2"),
        ("f.csv", 'text,label\na,b\n"he said "hi"",b\n', "data.broken-csv", "f.csv:3"),
        ("f.csv", "text;label\na;b\n", "data.csv-separator", "f.csv:1"),
        ("f.csv", "text\tlabel\na\tb\n", "data.csv-separator", "f.csv:1"),
        ("f.tsv", "text,label\na,b\n", "data.csv-separator", "f.tsv:1"),
        ("f.csv", "text,text\na,b\n", "data.duplicate-key", "f.csv:1"),
        ("f.csv", "text,,label\na,b,c\n", "data.csv-no-name", "f.csv:1"),
        ("f.csv", "", "data.empty-file", "f.csv"),
        ("f.csv", "\n \n", "data.empty-file", "f.csv"),
        ("f.csv", b"\xff\xfea\0", "data.utf16", "f.csv"),
        ("f.csv", b"te\xffxt,label\n", "data.not-utf8", "f.csv:1"),
        ("f.txt", '{"text": "a"}\n{"text": "b"}\n', "data.json-in-txt", "f.txt"),
        ("f.txt", '[\n  {"text": "a"}]', "data.json-in-txt", "f.txt"),
        ("f.txt", b"\xfe\xff\0a", "data.utf16", "f.txt"),
        ("f.txt", "", "data.empty-file", "f.txt"),
        ("f.parquet", "", "data.empty-file", "f.parquet"),
        ("f.parquet", "PAR1 and no more", "data.damaged-table", "f.parquet"),
        ("f.arrow", "ARROW1 and no more", "data.damaged-table", "f.arrow"),
        ("f.arrow", '{"a": 1}', "data.damaged-table", "f.arrow"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_with_its_place(tmp_path, name, content, id, where) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    error = refused(path)
    assert (error.id, error.where) == (id, where)


def test_a_line_that_is_no_text_spoils_its_own_record_and_no_other(tmp_path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b'text,label\na,b\n"c\n\xe4x",d\ne\0,f\ng,h\n')
    found = list(reading.read_rows(path, "f.csv"))
    wrong = [one for one in found if isinstance(one, DataError)]
    assert [(one.id, one.values["offset"]) for one in wrong] == [("data.not-utf8", 18), ("data.nul", 25)]
    assert [one[1]["text"] for one in found if not isinstance(one, DataError)] == ["a", "g"]


@pytest.mark.parametrize("name", ["f.csv", "f.txt", "f.jsonl.gz"])
def test_a_row_without_an_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, name) -> None:
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 50_000)
    head = {"f.csv": 'text\n"', "f.txt": "", "f.jsonl.gz": '{"a": "'}[name]
    content = (head + "line of it\n" * 100_000 if name == "f.csv" else head + "x" * 1_000_000).encode()
    (tmp_path / name).write_bytes(packed(content, ".gz" if name.endswith("gz") else ""))
    assert refused(tmp_path / name).id == "data.row-too-large"


# --- txt ---------------------------------------------------------------------------------------------------


def test_a_line_is_a_row_as_it_stands_and_blank_ones_are_none(tmp_path) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes("\ufefffirst \r\n\n   \n  indented\u2028still\n{not json\nlast".encode())
    assert read(path) == [
        (1, {"text": "first "}),
        (4, {"text": "  indented\u2028still"}),
        (5, {"text": "{not json"}),
        (6, {"text": "last"}),
    ]


# --- tables ------------------------------------------------------------------------------------------------


def test_what_json_does_not_know_becomes_what_a_person_would_write(tmp_path) -> None:
    table = pa.table(
        {
            "when": pa.array([datetime(2024, 5, 6, 7, 8)]),
            "price": pa.array([Decimal("1.50")]),
            "score": pa.array([float("nan")]),
            "raw": pa.array([b"\x89PNG"]),
            "pairs": pa.array([[("a", "1")]], pa.map_(pa.string(), pa.string())),
            "inner": pa.array([{"x": [1.5, None], "y": True}]),
            "word": pa.array(["w"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "f.parquet")
    assert read(tmp_path / "f.parquet") == [
        (1, {"when": "2024-05-06T07:08:00", "price": "1.50", "score": None, "raw": b"\x89PNG", "pairs": [["a", "1"]],
             "inner": {"x": [1.5, None], "y": True}, "word": "w"})
    ]  # fmt: skip


def test_an_arrow_stream_is_read_as_an_arrow_file_is(tmp_path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_stream(tmp_path / "f.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    assert [row for _, row in read(tmp_path / "f.arrow")] == ROWS
    whole = (tmp_path / "f.arrow").read_bytes()
    (tmp_path / "f.arrow").write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path / "f.arrow").id == "data.damaged-table"


def test_two_columns_of_one_name_are_refused_wherever_they_stand(tmp_path) -> None:
    inner = pa.StructArray.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["x", "x"])
    for columns, names in (([pa.array(["a"]), pa.array(["b"])], ["text", "text"]), ([inner], ["inner"])):
        table = pa.Table.from_arrays(columns, names=names)
        with pa.ipc.new_file(tmp_path / "f.arrow", table.schema) as writer:
            writer.write_table(table)
        assert refused(tmp_path / "f.arrow").id == "data.duplicate-key"


def test_a_text_that_is_not_utf8_or_holds_a_nul_is_a_bad_row_of_its_own(tmp_path) -> None:
    raw = pa.array([b"good", b"\xff\xfe", b"a\0b", b"fine"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": raw}), tmp_path / "f.parquet")
    found = list(reading.read_rows(tmp_path / "f.parquet", "f.parquet"))
    assert [one.id if isinstance(one, DataError) else one[1]["text"] for one in found] == [
        "good", "data.table-not-utf8", "data.nul-escape", "fine",
    ]  # fmt: skip
    assert [one.where for one in found if isinstance(one, DataError)] == ["f.parquet:2", "f.parquet:3"]


def test_a_row_of_a_table_that_is_too_large_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 1000)
    pq.write_table(pa.table({"text": ["x" * 1001]}), tmp_path / "f.parquet")
    assert refused(tmp_path / "f.parquet").id == "data.row-too-large"


# --- anything ----------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(
    content=st.binary(max_size=60),
    lead=st.sampled_from([b"", b"text,label\n", b'text\n"', b"\xef\xbb\xbfa,b\n", b"[", b"{"]),
    suffix=st.sampled_from([".csv", ".tsv", ".txt", ".csv.gz", ".jsonl.zst", ".txt.gz"]),
    honest=st.booleans(),
)
def test_no_bytes_at_all_lead_to_anything_but_rows_or_letters(content, lead, suffix, honest, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("fuzz") / f"f{suffix}"
    named = kinds.named(path.name)
    path.write_bytes(packed(lead + content, named.packed if honest and named else ""))
    assert_rows_or_letters(path)


@settings(max_examples=150, deadline=None)
@given(suffix=st.sampled_from([".parquet", ".arrow"]), at=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_a_table_with_a_changed_byte_leads_to_rows_or_letters(suffix, at, byte, tmp_path_factory) -> None:
    content = bytearray(as_bytes(suffix, ROWS[:20]))
    content[at % len(content)] = byte
    path = tmp_path_factory.mktemp("fuzz") / f"f{suffix}"
    path.write_bytes(content)
    assert_rows_or_letters(path)


def assert_rows_or_letters(path: Path) -> None:
    found: list[object] = []
    try:
        found.extend(reading.read_rows(path, path.name))
    except DataError as error:
        found.append(error)
    for one in found:
        if isinstance(one, DataError):
            assert one.letter("en")
            assert one.letter("zh")
        else:
            assert isinstance(one, tuple)
            assert isinstance(one[1], dict)


def test_tables_are_taken_some_hundred_rows_at_a_time() -> None:
    assert 100 <= arrowfile.ROWS <= 1000
