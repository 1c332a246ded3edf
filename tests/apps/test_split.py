"""Which word of a command is a file, and which are keys."""

from pathlib import Path

from llama_factory.apps.work import split


def test_a_first_word_whose_value_ends_like_a_file_is_still_a_key(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("dataset=rows/train.json", "seed=1")
    assert split(words) == (None, words)
    (tmp_path / "a=b.yaml").touch()
    assert split(("a=b.yaml", "seed=1")) == (Path("a=b.yaml"), ("seed=1",))
    assert split(("train.yaml",)) == (Path("train.yaml"), ())
