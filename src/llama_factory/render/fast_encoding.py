"""The ids that `tokenizers` gives, several times faster, and never on trust: fastokens under watch.

In: a tokenizer of the `tokenizers` library, texts. Out: their ids, or None where there is nothing to be faster with.
fastokens is loaded in a thread of its own, once enough text is announced for that to pay. Before its first use
it must encode a fixed set of hard texts as `tokenizers` does; afterwards every 32nd row, and every row with
characters beyond the basic plane, is encoded by both. The first difference ends its use and raises
`StartAgain`: what it encoded before is made again without it. `docs/decisions/0004` has the evidence.

It deliberately knows no templates, and gives no offsets: `render.widths` does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as RustTokenizer

from llama_factory.errors import StartAgain

PACKAGE = "fastokens"

WATCHED_SHARE = 32
"""One row in so many is encoded by both libraries, wherever it stands in the file."""

SHOWN = 60
"""Characters of a row in a message."""

WORTH_IT = 2
"""Loading takes about as long as encoding so many bytes for each byte of tokenizer.json."""

DIGITS_THEN_WORDS = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
AS_ONE_PATTERN = {
    "type": "Sequence",
    "pretokenizers": [
        {
            "type": "Split",
            "pattern": {
                "Regex": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"
            },
            "behavior": "Isolated",
            "invert": False,
        },
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ],
}
"""The same cuts in one pass, which fastokens makes in less than half the time: each digit alone, and white space
before a digit whole, as at the end of a text. SmolLM's family is written the first way."""

PROBES = (
    "", " ", "\n", "a", "  a  b   c    d", "\t\ta\r\n\r\n b\n \n  c\n\n\n", "\u00a0\u2003x\u3000y\u2028z\u200b\ufeff",
    "\x0b\x0c\x1c\x1f\x85 \x00\x01\x7f", "I'LL don't we'Ve can'\u017f x''s 's'T", "1 12 123 1234 12345.678e-9 1,000",
    " Ⅷ ½ ٣٤ १२ 7\u20e3", "e\u0301 é n\u0303 \u1e9b\u0323 ﬁ \u212b 가 \u1100\u1161",
    "中文、字。日本語カタカナ 한국어 हिन्दी ไทย עברית عربي",
    "👨\u200d👩\u200d👧 👍🏿 ❤\ufe0f 🇨🇳", "\U00020000\U0001d54f\U000e0041\U0010ffff \ue000 \ufffd \u0378",
    "def f(x):\n    return {**x, 'a': [1, 2]}  # no\n\n\tif (a != b && c>>=2) { x->y(\"\\n\"); }",
    "https://example.org/a?b=c&d=%20#e <a href='x'>", "The quick brown fox. ¿Qué tal? Ça va ? Žďár İı ßẞ ǅ",
    "a" * 300, " " * 300, "\n" * 70 + " x", "=" * 81, "é" * 80, "aB" * 90, "<|im_start|", "<|>|<s></s>[INST]<bos>",
)  # fmt: skip
"""What tokenizers trip over: runs of white space, digits, marks, scripts, planes, code, long words, half a token."""


class FastEncoding:
    """fastokens for one tokenizer. It starts idle; `announce` may start it, a difference ends it."""

    def __init__(self, rust: RustTokenizer, name: str) -> None:
        self.name = name
        self._rust = rust
        self._native: Any = None
        self._thread: threading.Thread | None = None
        self._rows = 0
        self._off = False

    def announce(self, size: int) -> None:
        """So many bytes of text are about to come. Returns at once."""
        if self._thread is not None or self._off:
            return
        definition = self._rust.to_str()
        if size >= WORTH_IT * len(definition):
            self._thread = threading.Thread(target=self._load, args=(definition,), daemon=True)
            self._thread.start()

    @property
    def ready(self) -> bool:
        return self._native is not None and not self._off

    def wait(self) -> None:
        """Until it is loaded, if it is being loaded."""
        if self._thread is not None:
            self._thread.join()

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]] | None:
        """All ids end to end and where each text's ids begin, one more than texts. Raises StartAgain.

        While it is being loaded this waits: so much was announced that what is encoded meanwhile costs more.
        """
        self.wait()
        if not self.ready:
            return None
        try:
            ids_T, offsets_R = _flat(self._native, texts)
        except BaseException as error:  # noqa: BLE001 - its panics are no `Exception`
            self._fail(error)  # nothing wrong came out: what was encoded before stays
            return None
        watched = self._watched(texts)
        for row, encoding in zip(watched, self._plainly([texts[row] for row in watched]), strict=True):
            if not np.array_equal(ids_T[offsets_R[row] : offsets_R[row + 1]], encoding):
                self._off = True
                raise self._differs(texts[row])
        return ids_T, offsets_R

    # -- inside ------------------------------------------------------------------------------------------

    def _load(self, definition: str) -> None:
        try:
            import fastokens

            native = fastokens.Tokenizer.from_json_str(_with_one_pattern(self._rust, definition))
            texts = [*PROBES, *_around_added_tokens(self._rust)]
            ids_T, offsets_R = _flat(native, texts)
        except BaseException as error:  # noqa: BLE001 - the same
            self._fail(error)
            return
        expected = self._plainly(texts)
        same = (np.array_equal(ids_T[offsets_R[at] : offsets_R[at + 1]], ids) for at, ids in enumerate(expected))
        if all(same):
            self._native = native
        else:
            self._off = True

    def _fail(self, error: BaseException) -> None:
        """Off; what the user or the system asks for is passed on."""
        self._off = True
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise error

    def _watched(self, texts: Sequence[str]) -> list[int]:
        first = -self._rows % WATCHED_SHARE
        self._rows += len(texts)
        chosen = set(range(first, len(texts), WATCHED_SHARE))
        chosen.update(at for at, text in enumerate(texts) if not text.isascii() and max(text) > "\uffff")
        return sorted(chosen)

    def _plainly(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        found = self._rust.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in found]

    def _differs(self, text: str) -> StartAgain:
        shown = text if len(text) <= SHOWN else text[:SHOWN] + " …"
        return StartAgain("render.fast-encoding-differs", library=self.name, text=repr(shown))


def fast_encoding(rust: RustTokenizer) -> FastEncoding | None:
    """None where the library is not installed."""
    try:
        return FastEncoding(rust, f"{PACKAGE} {version(PACKAGE)}")
    except PackageNotFoundError:
        return None


def _flat(native: Any, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    ids, offsets = native.encode_batch_flat(list(texts), False)
    ids_T = np.frombuffer(ids, dtype="<u4").astype(np.int32)
    offsets_R = np.frombuffer(offsets, dtype="<u8").astype(np.int64)
    if offsets_R.size != len(texts) + 1 or offsets_R[-1] != ids_T.size:
        raise ValueError("encode_batch_flat")
    return ids_T, offsets_R


def _with_one_pattern(rust: RustTokenizer, definition: str) -> str:
    """Only where the cuts are exactly those that the one pattern was written for."""
    state = rust.pre_tokenizer.__getstate__() if rust.pre_tokenizer else b"null"
    old = f'"pre_tokenizer":{state.decode()}'
    if json.loads(state) != DIGITS_THEN_WORDS or definition.count(old) != 1:
        return definition
    return definition.replace(old, f'"pre_tokenizer":{json.dumps(AS_ONE_PATTERN)}')


def _around_added_tokens(rust: RustTokenizer) -> list[str]:
    """Control tokens and other added ones, between words, blanks and each other; at most some hundred of them."""
    added = [token.content for token in rust.get_added_tokens_decoder().values()]
    some = added[:: max(1, len(added) // 200)]
    return [f"a {one} b\n{one}{one}user\n {one}\n\n" for one in some] + [one[:-1] + " " + one[1:] for one in some]
