"""A renderer whose tokens are words, and a desk: write files, prepare them, look at what comes out.

The renderer keeps to the contract of `render.Renderer`: template tokens are marked as such, every answer ends with
a stop of *two* tokens that are trained, and the rendering of a dialogue depends on where it ends (answers
before the last lose what stands in `<think>`), as real templates do.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llama_factory.config import from_mapping
from llama_factory.data import Prepared, TokenStore, prepare
from llama_factory.errors import DataError, LlamaFactoryError
from llama_factory.records import FROM_TEMPLATE, Conversation, Rendered, Text

ROLES = {"system": 1, "user": 2, "assistant": 3, "tool": 4}
STOP = (8, 9)


class WordRenderer:
    """`refuses` is a word that this renderer cannot encode; `calls` and `rendered` count what it was asked."""

    def __init__(self, fingerprint: str = "words", refuses: str = "") -> None:
        self.fingerprint = fingerprint
        self.refuses = refuses
        self.calls: list[int] = []
        self.words = {1: "<system>", 2: "<user>", 3: "<assistant>", 4: "<tool>", 8: "<stop", 9: ">"}

    @property
    def rendered(self) -> int:
        return sum(self.calls)

    def render(self, conversation: Conversation) -> Rendered:
        ids: list[int] = []
        weights: list[float] = []
        owners: list[int] = []
        last = len(conversation.messages) - 1
        for at, message in enumerate(conversation.messages):
            content = message.content
            if message.role == "assistant" and at != last:
                content = re.sub(r"<think>.*?</think>", "", content)
            words = [self._id(word) for word in content.split()]
            if self.refuses and self.refuses in content:
                raise DataError("data.nothing-to-learn", where=conversation.origin)
            weight = 0.0
            if message.role == "assistant":
                weight = 1.0 if message.weight is None else message.weight
            ids += [ROLES[message.role], *words, *STOP]
            weights += [0.0, *[weight] * len(words), weight, weight]
            owners += [FROM_TEMPLATE, *[at] * len(words), FROM_TEMPLATE, FROM_TEMPLATE]
        return Rendered(
            text=self.decode(ids),
            ids_T=np.array(ids, dtype=np.int32),
            weight_T=np.array(weights, dtype=np.float32),
            message_T=np.array(owners, dtype=np.int16),
            origin=conversation.origin,
        )

    encoder = "words"

    def announce(self, size: int) -> None:
        """Nothing is made ready for many rows."""

    def render_texts(self, texts: Sequence[Text]) -> list[Rendered | LlamaFactoryError]:
        """Words and a stop of one token; all but the first token learned."""
        found: list[Rendered | LlamaFactoryError] = []
        for text in texts:
            if self.refuses and self.refuses in text.text:
                found.append(DataError("data.nothing-to-learn", where=text.origin))
                continue
            ids = [*(self._id(word) for word in text.text.split()), STOP[0]]
            owners = [0] * (len(ids) - 1) + [FROM_TEMPLATE]
            weight_T = np.ones(len(ids), dtype=np.float32)
            weight_T[0] = 0.0
            arrays = (np.array(ids, dtype=np.int32), weight_T, np.array(owners, dtype=np.int16))
            found.append(Rendered(text.text, *arrays, text.origin))
        return found

    def render_many(
        self, conversations: Sequence[Conversation]
    ) -> list[tuple[tuple[Conversation, Rendered], ...] | LlamaFactoryError]:
        self.calls.append(len(conversations))
        results: list[tuple[tuple[Conversation, Rendered], ...] | LlamaFactoryError] = []
        for conversation in conversations:
            try:
                results.append(((conversation, self.render(conversation)),))
            except LlamaFactoryError as error:
                results.append(error)
        return results

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(self.words[int(token)] for token in ids)

    def _id(self, word: str) -> int:
        token = 10 + zlib.crc32(word.encode()) % 2**30
        self.words[token] = word
        return token


class Desk:
    """A folder with data, a cache and a renderer; `said` holds the lines of the last `prepare`."""

    def __init__(self, folder: Path, renderer: WordRenderer) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.renderer = renderer
        self.said: list[str] = []

    def write(self, name: str, rows: Any) -> Path:
        """rows: bytes as they are, a str as it is, else as .json or .jsonl."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(rows, bytes):
            path.write_bytes(rows)
        elif isinstance(rows, str):
            path.write_text(rows, encoding="utf-8", newline="")
        elif name.endswith(".jsonl"):
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        else:
            path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
        return path

    def register(self, **entries: Any) -> None:
        self.write("dataset_info.json", entries)

    def prepare(self, dataset: str, **keys: Any) -> Prepared:
        self.said = []
        run = from_mapping({"dataset": dataset, "dataset_dir": str(self.folder), **keys}, "test")
        return prepare(run, self.renderer, cache=self.cache, say=self.said.append)

    def store(self, rows: Any, name: str = "train.jsonl", **keys: Any) -> TokenStore:
        self.write(name, rows)
        return self.prepare(name, **keys).train

    def texts(self, store: TokenStore) -> list[str]:
        return [self.renderer.decode(store.row(at).ids_T) for at in range(len(store))]

    def trained(self, store: TokenStore) -> list[str]:
        """What is learned of each row."""
        rows = [store.row(at) for at in range(len(store))]
        return [self.renderer.decode(row.ids_T[row.weight_T != 0]) for row in rows]

    def error(self, rows: Any, name: str = "train.jsonl", **keys: Any) -> LlamaFactoryError:
        """The error that these rows lead to; that its letter can be written in both languages is tested by the way."""
        with pytest.raises(LlamaFactoryError) as caught:
            self.store(rows, name, **keys)
        error = caught.value
        english, chinese = error.letter("en"), error.letter("zh")
        assert "{" not in english.replace("{{", "").replace(str(error.values), "") or error.id in BRACES
        assert re.search(r"[\u4e00-\u9fff]", chinese)
        assert len(english.splitlines()) >= 2
        return error


BRACES = ("data.not-json", "data.registry-shape", "data.entry-shape")


@pytest.fixture
def renderer() -> WordRenderer:
    return WordRenderer()


@pytest.fixture
def desk(tmp_path: Path, renderer: WordRenderer, monkeypatch: pytest.MonkeyPatch) -> Desk:
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Desk(folder, renderer)


@pytest.fixture(scope="session")
def renderer_class() -> type[WordRenderer]:
    return WordRenderer


@pytest.fixture
def question() -> Any:
    """`question(n)`: an alpaca row whose texts say its number."""

    def row(number: int, words: int = 2) -> dict[str, str]:
        return {"instruction": f"q{number}", "input": "", "output": " ".join([f"a{number}"] * words)}

    return row
