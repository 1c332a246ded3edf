"""Say how transformers' AutoTokenizer cuts texts, as a program that knows nothing of this project would.

Run as `python -I peer.py FOLDER CODE`, never imported: loading transformers takes seconds and torch. In: a JSON list of
texts on stdin; CODE is `trust` where the user trusts code that comes with the model. Out: one JSON object on the last
line of stdout: the class, and the token ids of every text.
"""

import json
import sys

from transformers import AutoTokenizer


def main(folder: str, code: str) -> None:
    trusted = {"trust_remote_code": True} if code == "trust" else {}
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **trusted)
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in json.load(sys.stdin)]
    print(json.dumps({"kind": type(tokenizer).__name__, "ids": ids}))  # noqa: T201 - stdout is its answer


if __name__ == "__main__":
    main(*sys.argv[1:])
