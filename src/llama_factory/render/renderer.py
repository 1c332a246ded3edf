"""Messages to tokens with a weight and an origin each: one renderer for training, chat, serving and export.

In: a `Conversation`. Out: a `Rendered` whose mask follows from where each character came from: the
words of every trained assistant turn, and all up to and including the control token with which the
template ends the turn, so that the model learns to stop. Nothing is searched for in the text and
nothing is guessed: what a template loses or rewrites is refused, with the reason.

Not here: reading rows, cutting long ones, batching (`data`); what the loss does with a weight (`losses`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import numpy as np

from llama_factory.errors import DataError, InputError, LlamaFactoryError
from llama_factory.records import FROM_TEMPLATE, Conversation, Finding, Message, Origin, Rendered
from llama_factory.render.choose import Chosen, choose, variables
from llama_factory.render.jinja import TemplateRefused, compile_template, run
from llama_factory.render.provenance import ProvenanceLost, Traced, plain
from llama_factory.render.tokenizer import TOKENIZER_FILES, Encoded, Tokenizer, open_tokenizer

if TYPE_CHECKING:
    from llama_factory.config import Run

VERSION = 1
"""Goes up when the same conversation would become other tokens or weights: stores made before are not reused."""

_PROBE = Conversation(
    (
        Message("user", "What is 12 plus 30?"),
        Message("assistant", "It is 42."),
        Message("user", "And twice\n\nthat?"),
        Message("assistant", "  84,\nof course. "),
    ),
    Origin("the template's own check", 1),
)


@dataclass(frozen=True)
class Renderer:
    """One tokenizer and one template, ready to render. Make it with `load_renderer`."""

    tokenizer: Tokenizer
    template_name: str
    template_text: str
    end_ids: tuple[int, ...]
    """What the model's own configuration stops at, before the template's end-of-turn token joins them."""
    notices: tuple[Finding, ...] = field(default=())
    borders_always: bool = False
    """Cut every row where an answer starts: this tokenizer joins the template's last words to what follows."""

    # -- messages to tokens --------------------------------------------------------------------------

    def render(self, conversation: Conversation) -> Rendered:
        """Raises DataError `render.*` with the row's origin."""
        (rendered,) = self.render_many([conversation])
        if isinstance(rendered, LlamaFactoryError):
            raise rendered
        return rendered

    def render_many(self, conversations: Sequence[Conversation]) -> list[Rendered | LlamaFactoryError]:
        """One result a conversation, in order; a row that cannot be rendered comes back as its error."""
        results: list[Rendered | LlamaFactoryError | Traced] = []
        for conversation in conversations:
            try:
                results.append(self._trace(conversation))
            except LlamaFactoryError as error:
                results.append(error)
        encodings = iter(self.tokenizer.encode([result for result in results if isinstance(result, Traced)]))
        for number, conversation in enumerate(conversations):
            text = results[number]
            if isinstance(text, Traced):
                try:
                    results[number] = self._weighed(conversation, text, next(encodings))
                except LlamaFactoryError as error:
                    results[number] = error
        return results  # type: ignore[return-value]  # every Traced has been replaced

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids up to where the model speaks next. Raises InputError `render.*`."""
        text = self._text(messages, "", add_generation_prompt=True)
        (encoded,) = self.tokenizer.encode([text])
        answers = [number for number, message in enumerate(messages) if message.role == "assistant"]
        encoded = self._separated("", text, encoded, _starts(text, answers))
        return [int(id) for id in encoded.ids_T]

    def decode(self, ids: Sequence[int], *, skip_control: bool = True) -> str:
        return self.tokenizer.decode(ids, skip_control=skip_control)

    # -- what others need to know about it -------------------------------------------------------------

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """Where generation ends: the model's own end tokens and the one that the template writes after a turn."""
        rendered = self.render(_PROBE)
        last = int(rendered.ids_T[np.flatnonzero(rendered.weight_T)[-1]])
        return tuple(dict.fromkeys((last, *self.end_ids)))

    @property
    def vocabulary_size(self) -> int:
        return self.tokenizer.vocabulary_size

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the same conversation might become other tokens or weights."""
        parts = [
            str(VERSION),
            str(self.borders_always),
            self.template_text,
            json.dumps(dict(self.tokenizer.names), sort_keys=True),
        ]
        parts.append(self.tokenizer.rust.to_str())
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def files(self) -> dict[str, bytes]:
        """The tokenizer's files and the template, as they are to lie beside the weights."""
        folder = self.tokenizer.folder
        found = {name: (folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file()}
        found["chat_template.jinja"] = self.template_text.encode()
        if "tokenizer_config.json" in found:
            config = json.loads(found["tokenizer_config.json"])
            config.pop("chat_template", None)
            found["tokenizer_config.json"] = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
        return found

    # -- inside ------------------------------------------------------------------------------------------

    @cached_property
    def _template(self) -> jinja2.Template:
        return compile_template(self.template_text)

    @cached_property
    def _pieces_are_exact(self) -> bool:
        """Does encoding piece by piece give the same ids as encoding whole? Asked once, of a text without traps."""
        text = self._text(_PROBE.messages, "", add_generation_prompt=False)
        (whole,) = self.tokenizer.encode([text])
        return bool(np.array_equal(whole.ids_T, self.tokenizer.encode_in_pieces(text, ()).ids_T))

    def _text(self, messages: Sequence[Message], where: object, *, add_generation_prompt: bool) -> Traced:
        turns = [
            {"role": message.role, "content": Traced.of(message.content, number)}
            for number, message in enumerate(messages)
        ]
        given = variables(self.tokenizer, add_generation_prompt=add_generation_prompt)
        try:
            return run(self._template, turns, **given)
        except TemplateRefused as error:
            raise DataError("render.template-refuses", where=where, reason=str(error)) from None
        except ProvenanceLost as error:
            raise DataError("render.provenance-lost", where=where, operation=str(error)) from None
        except (jinja2.TemplateError, TypeError, KeyError, AttributeError, IndexError, ValueError) as error:
            raise DataError("render.template-fails", where=where, reason=str(error)) from None

    def _trace(self, conversation: Conversation) -> Traced:
        text = self._text(conversation.messages, conversation.origin, add_generation_prompt=False)
        for number, message in enumerate(conversation.messages):
            if message.role == "assistant" and message.weight != 0.0 and not message.content.strip():
                raise DataError("render.empty-answer", where=conversation.origin, turn=number + 1)
            found = "".join(plain(text)[span.start : span.end] for span in text.spans if span.message == number)
            if found.strip() != message.content.strip():
                raise DataError(
                    "render.content-lost", where=conversation.origin, role=message.role, turn=number + 1,
                    wanted=_short(message.content), found=_short(found),
                )  # fmt: skip
        return text

    def _weighed(self, conversation: Conversation, text: Traced, encoded: Encoded) -> Rendered:
        trained = [
            (number, 1.0 if message.weight is None else message.weight)
            for number, message in enumerate(conversation.messages)
            if message.role == "assistant" and message.weight != 0.0
        ]
        answers = [number for number, message in enumerate(conversation.messages) if message.role == "assistant"]
        encoded = self._separated(conversation.origin, text, encoded, _starts(text, answers))
        weight_T = np.zeros(len(encoded.ids_T), dtype=np.float32)
        for number, weight in trained:
            begin, end = self._turn(conversation.origin, text, encoded, number)
            weight_T[begin:end] = weight
        if weight_T.size:
            weight_T[0] = 0.0  # nothing comes before the first token that could predict it
        message_T = np.full(len(encoded.ids_T), FROM_TEMPLATE, dtype=np.int16)
        for span in text.spans:
            message_T[np.searchsorted(encoded.start_T, span.start) : np.searchsorted(encoded.start_T, span.end)] = (
                span.message
            )
        return Rendered(plain(text), encoded.ids_T, weight_T, message_T, conversation.origin)

    def _separated(self, origin: object, text: Traced, encoded: Encoded, borders: list[int]) -> Encoded:
        """Encoded again, in pieces, when a control token or a token that reaches into an answer asks for it."""
        straddles = any(bool(np.any((encoded.start_T < at) & (encoded.end_T > at))) for at in borders)
        if not straddles and not self.borders_always and not self.tokenizer.touches_untrusted(encoded, text):
            return encoded
        if not self._pieces_are_exact:
            raise DataError("render.control-in-text", where=origin)
        encoded = self.tokenizer.encode_in_pieces(text, borders)
        if self.tokenizer.touches_untrusted(encoded, text):
            raise DataError("render.control-in-text", where=origin)
        return encoded

    def _turn(self, origin: Origin, text: Traced, encoded: Encoded, number: int) -> tuple[int, int]:
        """Tokens of one assistant turn: from its first word to the control token that ends it, inclusive."""
        (start,) = _starts(text, [number])
        end = max(span.end for span in text.spans if span.message == number)
        foreign = [span.start for span in text.spans if span.start >= start and span.message != number]
        limit = min(foreign, default=len(text))
        if limit < end:
            raise DataError("render.turns-mixed", where=origin, turn=number + 1)
        begin = int(np.searchsorted(encoded.start_T, start))
        after = int(np.searchsorted(encoded.start_T, end))
        control = np.isin(encoded.ids_T[after:], self.tokenizer.control_ids) & (encoded.start_T[after:] < limit)
        if not control.any():
            raise DataError("render.no-stop", where=origin, turn=number + 1, after=_short(plain(text)[end:limit]))
        return begin, after + int(np.argmax(control)) + 1


def load_renderer(
    folder: Path,
    *,
    template: str | None = None,
    default_system: str | None = None,
    allow_mismatch: bool = False,
    trust_remote_code: bool = False,
) -> Renderer:
    """The renderer of the model or adapter in `folder`, tried once on a small conversation.

    Raises InputError: no tokenizer, an unknown or unfitting template, a template that cannot be followed.
    """
    tokenizer = open_tokenizer(folder, trust_remote_code=trust_remote_code)
    own = _own_template(folder, tokenizer)
    try:
        compile_template(own or "")
    except jinja2.TemplateError as error:
        raise InputError("render.broken-template", where=folder, reason=str(error)) from None
    chosen: Chosen = choose(own, template, default_system, tokenizer, allow_mismatch=allow_mismatch)
    renderer = Renderer(tokenizer, chosen.name, chosen.text, _end_ids(folder, tokenizer), chosen.said)
    try:
        return _begins_like_its_prompts(renderer)
    except DataError as error:
        raise InputError("render.unusable-template", where=folder, reason=error.letter()) from None


def renderer_for(run: Run, folder: Path) -> Renderer:
    """`load_renderer` with what the run says about the template."""
    return load_renderer(
        folder,
        template=run.data.template,
        default_system=run.data.default_system,
        allow_mismatch=run.data.allow_template_mismatch,
        trust_remote_code=run.model.trust_remote_code,
    )


def _begins_like_its_prompts(renderer: Renderer) -> Renderer:
    """Training must see what serving will send: each prompt is the beginning of the finished conversation.

    Some tokenizers write the template's last line breaks differently when words follow. Then every row
    is cut where its answers start, as it will be when the model is asked. What still differs is said.
    """
    for candidate in (renderer, replace(renderer, borders_always=True)):
        ids = candidate.render(_PROBE).ids_T.tolist()
        prompts = [candidate.prompt(_PROBE.messages[:turn]) for turn in (1, 3)]
        if all(ids[: len(prompt)] == prompt for prompt in prompts):
            return candidate
    tail = repr(renderer.decode(prompts[0][-8:], skip_control=False))
    said = Finding("render.prompt-differs", "warning", "", {"tail": tail})
    return replace(renderer, notices=(*renderer.notices, said))


def _own_template(folder: Path, tokenizer: Tokenizer) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = tokenizer.config.get("chat_template")
    if isinstance(found, list):  # several named ones: `default` is the one for conversations
        found = next((entry["template"] for entry in found if entry.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def _end_ids(folder: Path, tokenizer: Tokenizer) -> tuple[int, ...]:
    for name in ("generation_config.json", "config.json"):
        file = folder / name
        if file.is_file():
            found = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
            if found is not None:
                return tuple(found) if isinstance(found, list) else (found,)
    eos = tokenizer.id_of("eos_token")
    return () if eos is None else (eos,)


def _starts(text: Traced, messages: Sequence[int]) -> list[int]:
    """Where each of these messages begins in the text; one without words begins nowhere."""
    found = (min((span.start for span in text.spans if span.message == n), default=None) for n in messages)
    return [start for start in found if start is not None]


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[:limit] + " …")
