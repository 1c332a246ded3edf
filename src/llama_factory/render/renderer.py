"""Messages to tokens with a weight and an origin each: one renderer for training, chat, serving and export.

In: `Conversation`s. Out: `Rendered` examples whose mask follows from where the model is the one who writes: all that
serving would see it generate, from the end of the prompt up to and including the control token that stops it.
`examples` finds these places in the text; here text becomes tokens. What a template loses is refused, with the reason.

Not here: reading rows, cutting long ones, batching (`data`); what the loss does with a weight (`losses`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
import numpy as np

from llama_factory.errors import DataError, InputError, LlamaFactoryError, OurFault
from llama_factory.records import FROM_TEMPLATE, Conversation, Finding, Message, Origin, Rendered, Text
from llama_factory.render import growing
from llama_factory.render.choose import Chosen, choose
from llama_factory.render.examples import Drawn, contradicts, prompt
from llama_factory.render.jinja import compile_template
from llama_factory.render.mould import Moulds
from llama_factory.render.plain_text import Marks, marks_of, render_texts
from llama_factory.render.provenance import Traced, plain
from llama_factory.render.template import CALL, PROBE_ORIGIN, Template
from llama_factory.render.tokenizer import TOKENIZER_FILES, Encoded, Tokenizer, open_tokenizer
from llama_factory.render.weighing import weigh

if TYPE_CHECKING:
    from llama_factory.config import Run

VERSION = 3
"""Goes up when the same conversation would become other tokens or weights: stores made before are not reused."""

_PROBE = Conversation(
    (
        Message("user", "What is 12 plus 30?"),
        Message("assistant", "It is 42."),
        Message("user", "And twice\n\nthat?"),
        Message("assistant", "  84,\nof course. "),
    ),
    PROBE_ORIGIN,
)


class Example(NamedTuple):
    """What is learned from, and the conversation it shows: weights are 0 on what other examples train."""

    conversation: Conversation
    rendered: Rendered


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
    enable_thinking: bool | None = None
    """What the template is told; None leaves it to the template."""

    # -- messages to tokens --------------------------------------------------------------------------

    def render(self, conversation: Conversation) -> Rendered:
        """A conversation that is one example. Raises DataError `render.*` with the row's origin."""
        (result,) = self.render_many([conversation])
        if isinstance(result, LlamaFactoryError):
            raise result
        if len(result) > 1:
            raise OurFault("render.several-examples", where=conversation.origin, count=len(result))
        return result[0].rendered

    def render_many(self, conversations: Sequence[Conversation]) -> list[tuple[Example, ...] | LlamaFactoryError]:
        """The examples of each conversation, in order; one that cannot be rendered comes back as its error.

        One example usually; where the template rewrites history, one for each answer that it rewrites.
        """
        drawn: list[list[Drawn] | LlamaFactoryError] = []
        for conversation in conversations:
            try:
                drawn.append(self._moulds.draw(conversation))
            except LlamaFactoryError as error:
                drawn.append(error)
        weighed = iter(self._weigh([one for some in drawn if not isinstance(some, LlamaFactoryError) for one in some]))
        results: list[tuple[Example, ...] | LlamaFactoryError] = []
        for some in drawn:
            if isinstance(some, LlamaFactoryError):
                results.append(some)
                continue
            found = [next(weighed) for _ in some]
            errors = [one for one in found if isinstance(one, LlamaFactoryError)]
            results.append(errors[0] if errors else tuple(one for one in found if isinstance(one, Example)))
        return results

    def render_texts(self, texts: Sequence[Text]) -> list[Rendered | LlamaFactoryError]:
        """Texts without turns, one result each. Raises InputError `render.no-end-of-document`."""
        return render_texts(self.tokenizer, self._text_marks, texts)

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Token ids up to where the model speaks next. Raises InputError `render.*`."""
        text, borders = prompt(self.template, Conversation(tuple(messages), Origin("", 0), tuple(tools)))
        (encoded,) = self.tokenizer.encode([text])
        encoded = self._separated("", text, encoded, borders)
        return [int(id) for id in encoded.ids_T]

    def decode(self, ids: Sequence[int], *, skip_control: bool = True) -> str:
        return self.tokenizer.decode(ids, skip_control=skip_control)

    # -- what others need to know about it -------------------------------------------------------------

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """Where generation ends: the model's own end tokens and the one that the template writes after a turn."""
        plain_turn, call = self.render_many([_PROBE, CALL])
        if isinstance(plain_turn, LlamaFactoryError):
            raise plain_turn
        answers = [plain_turn[-1]] + ([] if isinstance(call, LlamaFactoryError) else [call[-1]])
        lasts = [int(one.rendered.ids_T[np.flatnonzero(one.rendered.weight_T)[-1]]) for one in answers]
        return tuple(dict.fromkeys((*lasts, *self.end_ids)))

    @property
    def vocabulary_size(self) -> int:
        return self.tokenizer.vocabulary_size

    @property
    def encoder(self) -> str:
        """The libraries that make the ids, with their versions."""
        return self.tokenizer.encoder

    def announce(self, size: int) -> None:
        """About so many bytes of text are to be rendered: what pays for so many may be made ready. Returns at once."""
        if self.tokenizer.fast is not None:
            self.tokenizer.fast.announce(size)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the same conversation might become other tokens or weights."""
        parts = (str(VERSION), str(self.borders_always), str(self.enable_thinking), self.template_fingerprint)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @cached_property
    def template_fingerprint(self) -> str:
        """Changes with the template's text and with the tokenizer: what an adapter remembers of its training."""
        names = json.dumps(dict(self.tokenizer.names), sort_keys=True)
        parts = [self.template_text, names, self.tokenizer.rust.to_str()]
        if self.tokenizer.texts:
            parts.append(json.dumps(sorted(self.tokenizer.texts)))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def files(self) -> dict[str, bytes]:
        """The tokenizer's files and the template, as they are to lie beside the weights."""
        folder = self.tokenizer.folder
        found = {name: (folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file()}
        found |= self.tokenizer.files
        found["chat_template.jinja"] = self.template_text.encode()
        if "tokenizer_config.json" in found:
            config = json.loads(found["tokenizer_config.json"])
            config.pop("chat_template", None)
            found["tokenizer_config.json"] = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
        return found

    # -- inside ------------------------------------------------------------------------------------------

    @cached_property
    def _text_marks(self) -> Marks:
        return marks_of(self.tokenizer)

    @cached_property
    def template(self) -> Template:
        return Template(self.template_text, self.tokenizer, self.enable_thinking, self.end_ids)

    @cached_property
    def _moulds(self) -> Moulds:
        return Moulds(self.template)

    @cached_property
    def _pieces_are_exact(self) -> bool:
        """Does encoding piece by piece give the same ids as encoding whole? Asked once, of a text without traps."""
        text = self.template.write(_PROBE)
        (whole,) = self.tokenizer.encode([text])
        return bool(np.array_equal(whole.ids_T, self.tokenizer.encode_in_pieces(text, ()).ids_T))

    def _weigh(self, drawn: Sequence[Drawn]) -> list[Example | LlamaFactoryError]:
        """All at once, but for those that have to be looked at alone."""
        rows = self.tokenizer.encode_rows([one.text for one in drawn])
        together = [None] * len(drawn) if self.borders_always else weigh(drawn, rows, self.tokenizer.control_V)
        encoded = rows.each() if None in together else []
        results: list[Example | LlamaFactoryError] = []
        for number, (one, rendered) in enumerate(zip(drawn, together, strict=True)):
            if rendered is not None:
                results.append(Example(one.conversation, rendered))
                continue
            try:
                results.append(self._weighed(one, encoded[number]))
            except LlamaFactoryError as error:
                results.append(error)
        return results

    def _weighed(self, one: Drawn, encoded: Encoded) -> Example:
        origin, text = one.conversation.origin, one.text
        encoded = self._separated(origin, text, encoded, one.borders)
        weight_T = np.zeros(len(encoded.ids_T), dtype=np.float32)
        for turn in one.turns:
            begin, end = np.searchsorted(encoded.start_T, (turn.start, turn.end))
            if end <= begin or int(encoded.ids_T[end - 1]) not in self.tokenizer.control_ids:
                after = _short(plain(text)[turn.start : turn.end][-60:])
                raise DataError("render.no-stop", where=origin, turn=turn.message + 1, after=after)
            given = one.conversation.messages[turn.message].weight
            weight_T[begin:end] = 1.0 if given is None else given
        if weight_T.size:
            weight_T[0] = 0.0  # nothing comes before the first token that could predict it
        message_T = np.full(len(encoded.ids_T), FROM_TEMPLATE, dtype=np.int16)
        for span in text.spans:
            begin, end = np.searchsorted(encoded.start_T, (span.start, span.end))
            message_T[begin:end] = max(span.message, FROM_TEMPLATE)
        return Example(one.conversation, Rendered(plain(text), encoded.ids_T, weight_T, message_T, origin))

    def _separated(self, origin: object, text: Traced, encoded: Encoded, borders: Sequence[int]) -> Encoded:
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


def load_renderer(
    folder: Path,
    *,
    template: str | None = None,
    default_system: str | None = None,
    allow_mismatch: bool = False,
    enable_thinking: bool | None = None,
    trust_remote_code: bool = False,
    fast: bool = True,
    new: growing.Asked | None = None,
) -> Renderer:
    """The renderer of the model or adapter in `folder`, tried once on a small conversation.

    fast: many rows may be encoded by a faster library, watched by `tokenizers`. new: tokens that it shall get.

    Raises InputError: no tokenizer, an unknown or unfitting template, a template that cannot be followed.
    """
    tokenizer = open_tokenizer(folder, trust_remote_code=trust_remote_code, fast=fast)
    own = _own_template(folder, tokenizer)
    said: list[Finding] = []
    if new is not None:
        tokenizer, said = growing.grown(tokenizer, new, growing.spoken(own, template))
    try:
        compile_template(own or "")
    except jinja2.TemplateError as error:
        raise InputError("render.broken-template", where=folder, reason=str(error)) from None
    chosen: Chosen = choose(own, template, default_system, tokenizer, allow_mismatch=allow_mismatch)
    ends, notices = _end_ids(folder, tokenizer), (*said, *chosen.said)
    renderer = Renderer(tokenizer, chosen.name, chosen.text, ends, notices, enable_thinking=enable_thinking)
    try:
        if tokenizer.new:
            growing.require_apart(tokenizer, [renderer.template.write(_PROBE)])
        return _begins_like_its_prompts(renderer)
    except DataError as error:
        raise InputError("render.unusable-template", where=folder, reason=error.letter()) from None


def renderer_for(run: Run, folder: Path, *, to_train: bool = False) -> Renderer:
    """`load_renderer` with what the run says about the template; to train also with its new tokens."""
    return load_renderer(
        folder,
        template=run.data.template,
        default_system=run.data.default_system,
        allow_mismatch=run.data.allow_template_mismatch,
        enable_thinking=run.data.enable_thinking,
        trust_remote_code=run.model.trust_remote_code,
        fast=run.model.use_fast_tokenizer,
        new=growing.asked_of(run) if to_train and run.model.vocabulary.names_tokens else None,
    )


def _begins_like_its_prompts(renderer: Renderer) -> Renderer:
    """Training must see what serving will send: each prompt is the beginning of the finished conversation.

    Some tokenizers write the template's last line breaks differently when words follow. Then every row
    is cut where its answers start, as it will be when the model is asked. What still differs is said.
    """
    for candidate in (renderer, replace(renderer, borders_always=True)):
        examples = candidate.render_many([_PROBE])[0]
        if isinstance(examples, LlamaFactoryError):
            raise examples
        asked = [
            (one.rendered.ids_T.tolist(), candidate.prompt(_PROBE.messages[:turn]))
            for one in examples
            for turn, message in enumerate(one.conversation.messages)
            if message.role == "assistant" and message.weight != 0.0
        ]
        tail = repr(renderer.decode(asked[0][1][-8:], skip_control=False))
        if all(ids[: len(prompt)] == prompt for ids, prompt in asked):
            if not contradicts(candidate.template, _PROBE):
                return candidate
            joined = Finding("render.prompt-joined", "note", "", {"tail": tail})
            return replace(candidate, notices=(*candidate.notices, joined))
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


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[:limit] + " …")
