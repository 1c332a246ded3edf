"""Rows with one question and one answer: `instruction`, `input`, `output`, `system`, `history`.

In: a row, and the names that its columns have. Out: a `Conversation`; a `Preference` where `chosen` and `rejected`
stand in place of the answer; a `Labelled` one with a `kto_tag`. The prompt is the instruction, and the input on the
next line if there is one; `history` holds earlier rounds as pairs, which are trained too. `prompt`/`response` files
are the same thing under other names. It deliberately knows no dialogue with roles: that is `messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_factory.data.calls import Tools, tools_of
from llama_factory.data.messages import Sample, besides
from llama_factory.data.pairs import conversation, labelled, preference
from llama_factory.data.reading import type_name
from llama_factory.data.refusals import MEDIA, missing, nothing, optional, refuse_media, said_text, text
from llama_factory.data.turns import PAIRS, Turns
from llama_factory.errors import DataError
from llama_factory.records import Conversation, Message, Origin, Record

DEFAULTS = {"prompt": "instruction", "query": "input", "response": "output", "history": "history"}
TURNS = Turns.choose({}, PAIRS[0], ())
"""For answers to choose from that are written as messages."""


@dataclass(frozen=True, slots=True)
class Alpaca:
    """`query`, `history` and those of `beside` are not read when the registry took their name for another role.

    `both`: the column whose lists of two answers, the better one first, stand for `chosen` and `rejected`.
    """

    prompt: str
    query: str | None
    response: str | None
    history: str | None
    beside: Mapping[str, str | None]
    rare: frozenset[str]
    named: Mapping[str, str]
    read: frozenset[str]
    said: str

    @classmethod
    def choose(cls, columns: Mapping[str, str | None], where: str, sample: Sample, said: str = "alpaca") -> Alpaca:
        """Columns that were not named keep their usual name, unless another role has taken it."""
        taken = {column for column in columns.values() if column}
        chosen = {role: columns.get(role, None if usual in taken else usual) for role, usual in DEFAULTS.items()}
        named = columns.get("chosen")
        if named and "response" not in columns and any(named in row for _, row in sample):
            chosen["response"] = None  # two answers to compare stand in its place
        prompt, response = chosen["prompt"], chosen["response"]
        beside = {role: names[0] if names else None for role, names in besides(columns, taken).items()}
        sides = [beside["chosen"], beside["rejected"]]
        paired = all(sides) and (columns.get("chosen") or any(side in row for _, row in sample for side in sides))
        if prompt is None or (response is None and not paired):
            role = "prompt" if prompt is None else "response"
            raise DataError("data.column-needed", where=where, role=role, usual=DEFAULTS[role])
        if response and any(isinstance(row.get(response), list) for _, row in sample):
            said = f"{said}, {response} = [chosen, rejected]"
        names = frozenset(column for column in (*chosen.values(), *beside.values()) if column)
        return cls(
            prompt=prompt,
            query=chosen["query"],
            response=response,
            history=chosen["history"],
            beside=beside,
            rare=(names | MEDIA) - {prompt, response, chosen["query"]},
            named={role: column for role, column in columns.items() if column},
            read=names,
            said=said,
        )

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Record:
        if self.response and self.rare.isdisjoint(row):
            asked, answer = row.get(self.prompt), row.get(self.response)
            extra = row.get(self.query) if self.query else ""
            if type(asked) is str and type(answer) is str and (extra is None or type(extra) is str):
                question = f"{asked}\n{extra}" if asked and extra else asked or extra
                if question and answer and not question.isspace() and not answer.isspace():
                    return Conversation((Message("user", question), Message("assistant", answer)), origin)
        return self._closely(row, origin)

    def _closely(self, row: Mapping[str, Any], origin: Origin) -> Record:
        refuse_media(row, origin, self.read)
        sides = [self.beside[side] for side in ("chosen", "rejected")]
        paired = any(not nothing(row.get(side)) for side in sides if side)
        response = row.get(self.response) if self.response else None
        if self.prompt not in row:
            raise missing(row, self.prompt, origin)
        if not paired and (self.response is None or self.response not in row):
            raise missing(row, self.response or "chosen", origin)
        tools = tools_of(row.get(self.beside["tools"]), "tools", origin) if self.beside["tools"] else ()
        before = [*self._before(row, origin), Message("user", said_text(self._question(row, origin), "user", origin))]
        if paired:
            names = (sides[0] or "chosen", sides[1] or "rejected")
            if not nothing(response):
                raise DataError("data.answer-and-pair", where=origin, answer=self.response, pair=" + ".join(names))
            return preference(row, names, before, TURNS, origin, tools)
        if isinstance(response, list):
            return self._both(response, before, origin, tools)
        answer = said_text(text(response, str(self.response), origin), "assistant", origin)
        whole = conversation([*before, Message("assistant", answer)], origin, tools)
        tag = self.beside["kto_tag"]
        return labelled(whole, row[tag], tag) if tag and not nothing(row.get(tag)) else whole

    def _question(self, row: Mapping[str, Any], origin: Origin) -> str:
        asked, extra = text(row[self.prompt], self.prompt, origin), optional(row, self.query, origin)
        return f"{asked}\n{extra}" if asked and extra else asked or extra

    def _both(self, answers: list[Any], before: list[Message], origin: Origin, tools: Tools) -> Record:
        """An older way to write a pair: the better answer, then the worse, in one list."""
        if len(answers) != 2:
            raise DataError("data.pair-shape", where=origin, key=self.response, count=len(answers))
        sides = (f"{self.response}[0]", f"{self.response}[1]")
        return preference(dict(zip(sides, answers, strict=True)), sides, before, TURNS, origin, tools)

    def _before(self, row: Mapping[str, Any], origin: Origin) -> list[Message]:
        messages = []
        system = optional(row, self.beside["system"], origin)
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
