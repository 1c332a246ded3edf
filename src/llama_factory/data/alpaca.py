"""Rows with one question and one answer: `instruction`, `input`, `output`, `system`, `history`.

In: a row, and the names that its columns have. Out: a `Conversation`. The prompt is the instruction, and the
input on the next line if there is one; `history` holds earlier rounds as pairs, which are trained too.
`prompt`/`response` files are the same thing under other names. It deliberately knows no dialogue with
roles: that is `messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_factory.data.reading import type_name
from llama_factory.data.refusals import missing, refuse_other_stage, said_text, text
from llama_factory.errors import DataError
from llama_factory.records import Conversation, Message, Origin

DEFAULTS = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "system": "system",
    "history": "history",
}


@dataclass(frozen=True, slots=True)
class Alpaca:
    """`query`, `system` and `history` are None when the registry took their name for another role."""

    prompt: str
    query: str | None
    response: str
    system: str | None
    history: str | None
    named: Mapping[str, str]
    read: frozenset[str]
    said: str

    @classmethod
    def choose(cls, columns: Mapping[str, str | None], where: str, said: str = "alpaca") -> Alpaca:
        """Columns that were not named keep their usual name, unless another role has taken it."""
        taken = {column for column in columns.values() if column}
        chosen = {role: columns.get(role, None if usual in taken else usual) for role, usual in DEFAULTS.items()}
        prompt, response = chosen["prompt"], chosen["response"]
        if prompt is None or response is None:
            role = "prompt" if prompt is None else "response"
            raise DataError("data.column-needed", where=where, role=role, usual=DEFAULTS[role])
        return cls(
            prompt=prompt,
            query=chosen["query"],
            response=response,
            system=chosen["system"],
            history=chosen["history"],
            named={role: column for role, column in columns.items() if column},
            read=frozenset(column for column in chosen.values() if column),
            said=said,
        )

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Conversation:
        refuse_other_stage(row, origin, self.read)
        for column in (self.prompt, self.response):
            if column not in row:
                raise missing(row, column, origin)
        question = text(row[self.prompt], self.prompt, origin)
        extra = _optional(row, self.query, origin)
        if extra:
            question = f"{question}\n{extra}" if question else extra
        answer = text(row[self.response], self.response, origin)
        messages = [
            *self._before(row, origin),
            Message("user", said_text(question, "user", origin)),
            Message("assistant", said_text(answer, "assistant", origin)),
        ]
        return Conversation(tuple(messages), origin)

    def _before(self, row: Mapping[str, Any], origin: Origin) -> list[Message]:
        messages = []
        system = _optional(row, self.system, origin)
        if system:
            messages.append(Message("system", system))
        history = row.get(self.history) if self.history else None
        if not history:
            return messages
        if not isinstance(history, list):
            found = type_name(history)
            raise DataError("data.wrong-type", where=origin, key=self.history, expected="array", found=found)
        for number, pair in enumerate(history, 1):
            if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(side, str) for side in pair):
                raise DataError("data.history-shape", where=origin, key=self.history, number=number)
            messages.append(Message("user", said_text(pair[0], "user", origin)))
            messages.append(Message("assistant", said_text(pair[1], "assistant", origin)))
        return messages


def _optional(row: Mapping[str, Any], column: str | None, origin: Origin) -> str:
    value = row.get(column) if column else None
    return "" if value is None or column is None else text(value, column, origin)
