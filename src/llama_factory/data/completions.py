"""Rows with a prompt and one or two answers, as TRL and OpenAI's preference files write them.

In: rows with `prompt` (a text, or messages) and `completion`, or `chosen` and `rejected`; `chosen` and `rejected`
alone, as whole dialogues that begin alike; OpenAI's `input`, `preferred_output`, `non_preferred_output`. Out: a
`Conversation`, a `Preference`, or a `Labelled` one with a true or false `label`. It deliberately takes no text of
several turns apart: whole dialogues are lists of messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_factory.data.calls import Tools, tools_of
from llama_factory.data.messages import Sample, besides
from llama_factory.data.pairs import answer, conversation, labelled, preference, shared_prompt
from llama_factory.data.reading import type_name
from llama_factory.data.refusals import missing, nothing, refuse_media, said_text, text
from llama_factory.data.turns import PAIRS, Turns
from llama_factory.errors import DataError
from llama_factory.records import Message, Origin, Preference, Record


@dataclass(frozen=True, slots=True)
class Completion:
    """`prompt` None: the prompt is what both dialogues begin with. `sides`: the better answer and the worse."""

    prompt: str | None
    completion: str | None
    sides: tuple[str, str]
    system: str | None
    tools: str | None
    label: str | None
    turns: Turns
    named: Mapping[str, str]
    read: frozenset[str]
    said: str

    @classmethod
    def choose(
        cls,
        columns: Mapping[str, str | None],
        sample: Sample,
        said: str,
        *,
        prompt: str | None = None,
        completion: str | None = None,
        sides: tuple[str, str] = ("chosen", "rejected"),
    ) -> Completion:
        beside = {role: names[0] if names else None for role, names in besides(columns, set()).items()}
        label = beside["kto_tag"]
        if label and "kto_tag" not in columns and any(isinstance(row.get("label"), bool) for _, row in sample):
            label = "label"
        keys = [key for key in (prompt, *sides, completion) if key]
        lists = [_messages(row.get(key)) for _, row in sample for key in keys]
        return cls(
            prompt=prompt,
            completion=completion,
            sides=sides,
            system=beside["system"],
            tools=beside["tools"],
            label=label,
            turns=Turns.choose({}, PAIRS[0], lists),
            named={role: column for role, column in columns.items() if column},
            read=frozenset(key for key in (*keys, beside["system"], beside["tools"], label) if key),
            said=said,
        )

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Record:
        refuse_media(row, origin, self.read)
        if self.prompt is None:
            return self._implicit(row, origin)
        if self.prompt not in row:
            raise missing(row, self.prompt, origin)
        asked = row[self.prompt]
        tools = self._tools(row, origin)
        if isinstance(asked, dict):  # OpenAI's `input`
            tools = tools or tools_of(asked.get("tools"), "tools", origin)
            if "messages" not in asked:
                raise missing(asked, "messages", origin)
            asked = asked["messages"]
        prompt = self._with_system(row, self._prompt(asked, origin), origin)
        if self.completion is None:
            return preference(row, self.sides, prompt, self.turns, origin, tools)
        if self.completion not in row:
            raise missing(row, self.completion, origin)
        said = row[self.completion]
        if isinstance(said, list) and len(said) > 1:
            messages = [*prompt, *self.turns.all(said, self.completion, origin)]
        else:
            messages = [*prompt, answer(said, self.completion, prompt, self.turns, origin)]
        whole = conversation(messages, origin, tools)
        if self.label and not nothing(row.get(self.label)):
            return labelled(whole, row[self.label], self.label)
        return whole

    def _implicit(self, row: Mapping[str, Any], origin: Origin) -> Preference:
        for side in self.sides:
            if nothing(row.get(side)):
                raise missing({key: value for key, value in row.items() if key != side}, side, origin)
            if not isinstance(row[side], list):
                raise DataError("data.no-prompt", where=origin, key=side, found=type_name(row[side]))
        chosen, rejected = (self.turns.all(row[side], side, origin) for side in self.sides)
        prompt = self._with_system(row, list(shared_prompt(chosen, rejected)), origin)
        return preference(row, self.sides, prompt, self.turns, origin, self._tools(row, origin))

    def _prompt(self, asked: object, origin: Origin) -> list[Message]:
        if isinstance(asked, list):
            return self.turns.all(asked, str(self.prompt), origin)
        return [Message("user", said_text(text(asked, str(self.prompt), origin), "user", origin))]

    def _with_system(self, row: Mapping[str, Any], messages: list[Message], origin: Origin) -> list[Message]:
        if not self.system or nothing(row.get(self.system)):
            return messages
        words = text(row[self.system], self.system, origin)
        if messages and messages[0].role == "system" and messages[0].content != words:
            raise DataError("data.two-systems", where=origin, key=self.system)
        return messages if messages and messages[0].role == "system" else [Message("system", words), *messages]

    def _tools(self, row: Mapping[str, Any], origin: Origin) -> Tools:
        return tools_of(row.get(self.tools), self.tools, origin) if self.tools else ()


def _messages(value: object) -> object:
    return value.get("messages") if isinstance(value, dict) and "messages" in value else value
