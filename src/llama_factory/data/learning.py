"""What of a row is learned beside the usual rule that every answer is: all of it, or its last answer alone.

In: the renderer of the run and the two keys. Out: a renderer that follows them, for all that renders rows; what
has a weight of its own in the data keeps it. Nothing is searched for in text: messages are changed before they are
rendered, weights after. It deliberately does not know how rows are stored or shortened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from llama_factory.errors import LlamaFactoryError
from llama_factory.records import Conversation, Rendered, Text

if TYPE_CHECKING:
    from llama_factory.data.building import Renders

Learned = Literal["answers", "last answer", "everything"]


def learner(renderer: Renders, learned: Learned) -> Renders:
    """`renderer`, made to follow what is to be learned."""
    return renderer if learned == "answers" else Learner(renderer, learned)


@dataclass(frozen=True, slots=True)
class Learner:
    """Renders as `inner` does. A row that was shortened is rendered through here again, so that its own last answer
    is the one that is learned."""

    inner: Renders
    learned: Learned

    @property
    def fingerprint(self) -> str:
        return self.inner.fingerprint

    @property
    def encoder(self) -> str:
        return self.inner.encoder

    def announce(self, size: int) -> None:
        self.inner.announce(size)

    def render(self, conversation: Conversation) -> Rendered:
        return self._after([(conversation, self.inner.render(self._before(conversation)))])[0][1]

    def render_texts(self, texts: Sequence[Text]) -> Sequence[Rendered | LlamaFactoryError]:
        return self.inner.render_texts(texts)

    def render_many(
        self, conversations: Sequence[Conversation]
    ) -> Sequence[Sequence[tuple[Conversation, Rendered]] | LlamaFactoryError]:
        results = self.inner.render_many([self._before(one) for one in conversations])
        return [
            result if isinstance(result, LlamaFactoryError) else self._after(self._given_back(one, result))
            for one, result in zip(conversations, results, strict=True)
        ]

    def _given_back(
        self, conversation: Conversation, examples: Sequence[tuple[Conversation, Rendered]]
    ) -> Sequence[tuple[Conversation, Rendered]]:
        """With its own weights, by which a shorter one finds its last answer; masked, a record is one example."""
        if self.learned == "last answer" and len(examples) == 1:
            return [(conversation, examples[0][1])]
        return examples

    def _before(self, conversation: Conversation) -> Conversation:
        return only_last_answer(conversation) if self.learned == "last answer" else conversation

    def _after(self, examples: Sequence[tuple[Conversation, Rendered]]) -> Sequence[tuple[Conversation, Rendered]]:
        """Where a record is several examples, what two of them begin with is learned in the first."""
        if self.learned != "everything":
            return examples
        known = [0, *(len(conversation.messages) for conversation, _ in examples)]
        return [
            (conversation, everything(conversation, rendered, known=before))
            for before, (conversation, rendered) in zip(known, examples, strict=False)
        ]


def only_last_answer(conversation: Conversation) -> Conversation:
    """`mask_history`: all of the assistant's turns but the last get weight 0. The last keeps what it says itself."""
    answers = [at for at, message in enumerate(conversation.messages) if message.role == "assistant"]
    masked = frozenset(answers[:-1])
    if not masked:
        return conversation
    messages = (
        replace(message, weight=0.0) if at in masked else message for at, message in enumerate(conversation.messages)
    )
    return replace(conversation, messages=tuple(messages))


def everything(conversation: Conversation, rendered: Rendered, *, known: int = 0) -> Rendered:
    """`train_on_prompt`: weight 1 for every token but the first, the template's marks included.

    A turn with a weight of its own gives it to its words and to the marks behind them, up to the next turn. What the
    template writes behind the stop of the last answer (often a line break) is never met, and not learned.
    known: so many of the first messages were learned elsewhere.
    """
    owner_T = np.maximum.accumulate(rendered.message_T.astype(np.int64))
    own = [1.0 if message.weight is None else message.weight for message in conversation.messages]
    weight_T = np.array([*own, 1.0], dtype=np.float32)[owner_T]  # before the first turn: -1, the last entry
    if known:
        weight_T = np.where(owner_T < known, rendered.weight_T, weight_T).astype(np.float32)
    weight_T[:1] = 0.0
    answered = np.flatnonzero(rendered.weight_T)
    if answered.size and owner_T[answered[-1]] == owner_T[-1]:
        weight_T[answered[-1] + 1 :] = 0.0
    return replace(rendered, weight_T=weight_T)
