"""A tokenizer that is given tokens it does not have.

In: a tokenizer, the tokens that were asked for, what the template writes. Out: the same with them, the files of it, and
what to tell; or the letter for a token that could not be kept apart from the template's own.

Each token is taken as it stands, before any normalisation, so it is one wherever its letters occur. A special token
that the template writes is a control token like the tokenizer's own; any other is a token of texts, and remembered as
such in tokenizer_config.json: messages may spell it, now and whenever the tokenizer is opened again.

It knows no model: whether there is a row for a token is `model.vocabulary`'s to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer

from llama_factory.errors import InputError, LlamaFactoryError, SeveralErrors
from llama_factory.records import Finding
from llama_factory.render.fast_encoding import fast_encoding
from llama_factory.render.provenance import Traced, plain
from llama_factory.render.templates import TEMPLATES
from llama_factory.render.tokenizer import TEXT_TOKENS, Tokenizer, made_ready

if TYPE_CHECKING:
    from llama_factory.config import Run

SHOWN = 8
"""Tokens that a letter names at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """described: words on special tokens, whose rows may begin from them."""

    tokens: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    described: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self.tokens, *self.special, *self.described)))

    def is_special(self, token: str) -> bool:
        return token in self.special or token in self.described


def asked_of(run: Run) -> Asked:
    """Raises InputError where the file of descriptions is not one."""
    from llama_factory.config.descriptions import read_descriptions

    keys = run.model.vocabulary
    return Asked(keys.add_tokens, keys.add_special_tokens, read_descriptions(keys.new_special_tokens_config))


def grown(tokenizer: Tokenizer, asked: Asked, template: str) -> tuple[Tokenizer, list[Finding]]:
    """template: all that it might write. Raises InputError `render.token-*` for each token that cannot be."""
    known = [token for token in asked if tokenizer.rust.token_to_id(token) is not None]
    said = [Finding("render.token-known", "note", str(tokenizer.folder), {"found": listed(known)})] if known else []
    new = [token for token in asked if token not in known]
    _keep_apart(new, tokenizer, [token for token in new if asked.is_special(token) and token in template])
    if not new:
        return tokenizer, said
    file = tokenizer.folder / "tokenizer.json"
    if not file.is_file():
        raise InputError("render.no-tokenizer-json", where=tokenizer.folder)
    rust = RustTokenizer.from_file(str(file))
    for token in new:
        made = AddedToken(token, normalized=False, special=asked.is_special(token))
        (rust.add_special_tokens if asked.is_special(token) else rust.add_tokens)([made])
    written = rust.to_str(pretty=True)
    texts = [token for token in new if asked.is_special(token) and token not in template]
    found = replace(
        tokenizer,
        rust=made_ready(RustTokenizer.from_str(written)),
        texts=tokenizer.texts | frozenset(texts),
        new={token: id for token in new if (id := rust.token_to_id(token)) is not None},
    )
    found = replace(
        found,
        files={"tokenizer.json": written.encode(), **_config(found)},
        fast=fast_encoding(found.rust) if tokenizer.fast else None,
    )
    return found, said


def spoken(own: str | None, named: str | None) -> str:
    """All that the model's own template, or the named one, might write of control tokens."""
    variants = TEMPLATES.get(named, ()) if named else ()
    return "\n".join((own or "", *(marker for variant in variants for marker in (*variant.markers, *variant.stops))))


def require_apart(tokenizer: Tokenizer, written: Iterable[Traced]) -> None:
    """Refuse a new token of texts that occurs in what the template itself writes. written: some conversations."""
    texts = [token for token in tokenizer.new if token not in tokenizer.control]
    wrong = [token for token in texts if any(_outside(text, token) for text in written)]
    _refuse([InputError("render.token-in-template", where=tokenizer.folder, token=repr(token)) for token in wrong])


def listed(tokens: Sequence[str]) -> str:
    shown = ", ".join(map(repr, tokens[:SHOWN]))
    return shown if len(tokens) <= SHOWN else f"{shown} … ({len(tokens)})"


def _keep_apart(new: Sequence[str], tokenizer: Tokenizer, control: Sequence[str]) -> None:
    """No token of texts may hold, or run into, a token that the template writes. control: those among the new ones."""
    marks = [*tokenizer.control, *control]
    wrong = []
    for token in new:
        met = next((mark for mark in marks if token not in control and _meet(token, mark)), None)
        if met is not None:
            values = {"token": repr(token), "mark": repr(met)}
            wrong.append(InputError("render.token-takes-control", where=tokenizer.folder, **values))
    _refuse(wrong)


def _meet(token: str, mark: str) -> bool:
    """Whether a text could hold both on some of the same characters, and the token would win: it begins first."""
    if mark in token:
        return True
    return any(token.endswith(mark[:size]) for size in range(1, min(len(mark), len(token))))


def _outside(text: Traced, token: str) -> bool:
    """Whether the token occurs anywhere but inside the words of one message."""
    whole, at = plain(text), -1
    while (at := whole.find(token, at + 1)) >= 0:
        end = at + len(token)
        if not any(span.start <= at and end <= span.end for span in text.spans):
            return True
    return False


def _refuse(wrong: Sequence[LlamaFactoryError]) -> None:
    if wrong:
        raise wrong[0] if len(wrong) == 1 else SeveralErrors(list(wrong))


def _config(tokenizer: Tokenizer) -> dict[str, bytes]:
    """tokenizer_config.json, where it has something to say about new tokens."""
    file = tokenizer.folder / "tokenizer_config.json"
    said = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if "added_tokens_decoder" in said:
        added = tokenizer.rust.get_added_tokens_decoder()
        for id in tokenizer.new.values():
            one = added[id]
            said["added_tokens_decoder"][str(id)] = {
                "content": one.content, "lstrip": one.lstrip, "normalized": one.normalized, "rstrip": one.rstrip,
                "single_word": one.single_word, "special": one.special,
            }  # fmt: skip
    if tokenizer.texts:
        said[TEXT_TOKENS] = sorted(tokenizer.texts)
    if not said:
        return {}
    return {"tokenizer_config.json": (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()}
