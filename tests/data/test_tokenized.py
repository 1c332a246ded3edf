"""`tokenized_path`: written once, read without the data files, refused when this run would make other rows."""

from __future__ import annotations

import shutil

import pytest

from llama_factory.errors import InputError, LlamaFactoryError, MachineError


@pytest.fixture
def filled(desk, question, tmp_path):
    """A folder that a run with two data sets and one for validation has filled, and the keys of that run."""
    for name, first in (("a.jsonl", 0), ("b.jsonl", 10), ("c.jsonl", 20)):
        desk.write(name, [question(at) for at in range(first, first + 4)])
    keys = {"dataset": "a.jsonl,b.jsonl", "eval_dataset": "c.jsonl", "tokenized_path": str(tmp_path / "tokens")}
    first = desk.prepare(**keys)
    assert any("are now in" in text for text in desk.said)
    return first, keys


def refused(desk, **keys) -> LlamaFactoryError:
    with pytest.raises(LlamaFactoryError) as caught:
        desk.prepare(**keys)
    assert caught.value.letter("en") != caught.value.letter("zh")
    return caught.value


def test_a_second_run_takes_its_rows_from_there_without_the_files_and_without_the_cache(desk, filled) -> None:
    first, keys = filled
    calls = desk.renderer.rendered
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        (desk.folder / name).unlink()
    shutil.rmtree(desk.cache)
    for names in (keys, {**keys, "dataset": "", "eval_dataset": ""}):
        again = desk.prepare(**names)
        assert desk.texts(again.train) == desk.texts(first.train)
        assert again.train.fingerprint == first.train.fingerprint
        assert again.validation is not None
        assert desk.texts(again.validation) == desk.texts(first.validation)
        assert [one.name for one in again.summary.train] == ["a.jsonl", "b.jsonl"]
        assert any("are taken from" in text for text in desk.said)
    assert desk.renderer.rendered == calls


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cutoff_len": 99}, "cutoff_len 2048 -> 99"),
        ({"mask_history": True}, "what is learned answers -> last answer"),
        ({"max_samples": 2}, "max_samples None -> 2"),
        ({"dataset": "a.jsonl"}, "dataset a.jsonl, b.jsonl -> a.jsonl"),
        ({"eval_dataset": ""}, "eval_dataset c.jsonl -> -"),
    ],
)
@pytest.mark.parametrize("with_files", [True, False])
def test_rows_that_this_run_would_make_otherwise_are_refused_by_name(desk, filled, changes, said, with_files) -> None:
    _, keys = filled
    if not with_files:
        for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
            (desk.folder / name).unlink()
    error = refused(desk, **{**keys, **changes})
    assert error.id == "data.tokenized-differs"
    assert said in error.letter()


def test_another_template_or_tokenizer_is_refused(desk, filled) -> None:
    desk.renderer.fingerprint = "other words"
    assert "a.jsonl: template or tokenizer" in refused(desk, **filled[1]).letter()


def test_a_data_file_that_was_changed_since_is_refused(desk, filled, question) -> None:
    desk.write("b.jsonl", [question(99)])
    assert "b.jsonl: file" in refused(desk, **filled[1]).letter()


def test_a_folder_of_something_else_is_left_alone(desk, question, tmp_path) -> None:
    desk.write("a.jsonl", [question(1)])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "state.json").write_text("{}")
    assert refused(desk, dataset="a.jsonl", tokenized_path=str(tmp_path / "other")).id == "data.tokenized-foreign"
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["state.json"]
    (tmp_path / "empty").mkdir()
    assert len(desk.prepare("a.jsonl", tokenized_path=str(tmp_path / "empty")).train) == 1


def test_changed_bytes_are_refused(desk, filled, tmp_path) -> None:
    file = tmp_path / "tokens" / "train-1" / "ids.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    error = refused(desk, **filled[1])
    assert isinstance(error, MachineError)
    assert error.id == "storage.wrong-hash"


def test_rows_that_were_skipped_when_it_was_written_are_still_refused_later(desk, question, tmp_path) -> None:
    desk.write("a.jsonl", [question(1), {"instruction": "q", "output": ""}])
    keys = {"dataset": "a.jsonl", "tokenized_path": str(tmp_path / "tokens")}
    desk.prepare(**keys, on_bad_row="skip")
    assert refused(desk, **keys).where.endswith("a.jsonl:2")
    assert len(desk.prepare(**keys, on_bad_row="skip").train) == 1


def test_a_run_that_names_no_data_and_has_no_folder_is_refused(desk, tmp_path) -> None:
    error = refused(desk, dataset="", tokenized_path=str(tmp_path / "tokens"))
    assert isinstance(error, InputError)
    assert error.id == "data.no-dataset"
    assert not (tmp_path / "tokens").exists()
