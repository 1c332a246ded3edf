"""Do the rendered rows teach the model to stop, and will other programs cut texts into the same tokens?

In: a `Renderer`, the last trained token of every row, where each row came from; or a tokenizer and a cache folder.
Out: findings `render.*`. What was found while the template was chosen stands in `renderer.notices`. Deliberately no
reading of rows: `data` has done that.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama_factory import storage
from llama_factory.errors import MachineError
from llama_factory.records import Finding
from llama_factory.render.renderer import Renderer
from llama_factory.render.tokenizer import TOKENIZER_FILES, Tokenizer

AS_IT_STANDS = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes by which transformers reads tokenizer.json as it stands. By any other it puts parts of it together anew."""

PROBES = (
    "Hello world 12345", "  two spaces,\n\n\ta tab and 1,000,000.50", "你好，世界！今天是2024年。",
    "def f(x):\n    return x + 1", "It's the naïve café's 3.14%…", "🙂🧑\u200d🚀 Ünïcödé", " leading", "trailing ",
    "日本語と한국어 и русский", "a  b   c\r\nd",
)  # fmt: skip
"""Texts in which tokenizers that are read in two ways have been seen to differ: spaces, line ends, digits, signs."""

PATIENCE_S = 120.0


def audit(renderer: Renderer, last_R: NDArray[np.int32], origin: Callable[[int], object]) -> list[Finding]:
    """last_R: the last token of every row that has a weight."""
    found: list[Finding] = []
    stops = renderer.stop_ids
    endless = np.flatnonzero(~np.isin(last_R, stops))
    shown = renderer.decode(stops[:1], skip_control=False)
    if endless.size:
        values = {"count": int(endless.size), "rows": int(last_R.size), "stop": shown}
        if endless.size == last_R.size:
            found.append(Finding("render.stop-never-trained", "error", str(origin(0)), values))
        else:
            found.append(Finding("render.stop-not-trained", "warning", str(origin(int(endless[0]))), values))
    if renderer.tokenizer.id_of("pad_token") in stops:
        pad = renderer.tokenizer.names["pad_token"]
        found.append(Finding("render.pad-is-stop", "note", str(renderer.tokenizer.folder), {"pad": pad}))
    if stops[0] not in renderer.end_ids:
        ends = " ".join(renderer.decode([id], skip_control=False) for id in renderer.end_ids) or "-"
        folder = str(renderer.tokenizer.folder)
        found.append(Finding("render.stop-not-in-config", "note", folder, {"stop": shown, "ends": ends}))
    return found


def audit_tokenizer(tokenizer: Tokenizer, *, cache: Path, trust_remote_code: bool = False) -> list[Finding]:
    """Compared with transformers' own reading, in a process of its own: seconds, once for a tokenizer and a release."""
    file = tokenizer.folder / "tokenizer.json"
    if not file.is_file() or tokenizer.config.get("tokenizer_class") in AS_IT_STANDS:
        return []
    theirs = _remembered(tokenizer.folder, cache, trust_remote_code)
    if "reason" in theirs:
        return [Finding("render.tokenizer-not-compared", "note", str(file), {"reason": theirs["reason"]})]
    ours = [encoded.ids for encoded in tokenizer.rust.encode_batch(list(PROBES), add_special_tokens=False)]
    new = set(tokenizer.new.values())  # which the folder's own does not have
    differ = [at for at in range(len(PROBES)) if ours[at] != theirs["ids"][at] and new.isdisjoint(ours[at])]
    if not differ:
        return []
    at = differ[0]
    values = {
        "kind": theirs["kind"], "count": len(differ), "probes": len(PROBES), "text": repr(PROBES[at]),
        "ours": _cut(tokenizer, ours[at]), "theirs": _cut(tokenizer, theirs["ids"][at]),
    }  # fmt: skip
    return [Finding("render.tokenizer-differs", "warning", str(file), values)]


def _cut(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The first tokens as they stand in the vocabulary, apart."""
    return " ".join(str(tokenizer.rust.id_to_token(id)) for id in ids[:8])


def _remembered(folder: Path, cache: Path, trust: bool) -> Mapping[str, Any]:
    parts: dict[str, str | bytes | int | float | None] = {
        name: storage.file_digest(folder / name, cache=cache)
        for name in ("config.json", *TOKENIZER_FILES)
        if (folder / name).is_file()
    }
    key = storage.digest(
        {**parts, "transformers": version("transformers"), "probes": json.dumps(PROBES), "code": trust}
    )
    memory = cache / "tokenizers" / f"{key}.json"
    try:
        found = json.loads(memory.read_bytes())
        if isinstance(found, dict) and "ids" in found:
            return found
    except (OSError, ValueError):
        pass
    asked = _asked(folder, trust)
    if "ids" in asked:
        try:
            storage.write_file(memory, json.dumps(asked))
        except MachineError:
            return asked  # a cache that cannot be written costs time, nothing else
    return asked


def _asked(folder: Path, trust: bool) -> Mapping[str, Any]:
    command = [sys.executable, "-I", str(Path(__file__).with_name("peer.py")), str(folder), "trust" if trust else "-"]
    try:
        done = subprocess.run(  # noqa: S603 - our own script, and paths as arguments of their own
            command, input=json.dumps(PROBES), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"reason": type(error).__name__}
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode != 0 or not lines:
        return {"reason": lines[-1][:200] if lines else f"exit code {done.returncode}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found
