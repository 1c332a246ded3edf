"""Published templates on a real tokenizer, and conversations of every kind: what the proof of `render` stands on.

In: the fetched files. Out: `Case`s, each one template with our renderer and transformers' tokenizer over the same
ids: the tokenizer of Qwen 3, extended by the control tokens that the templates spell out. Deliberately no
judgement here: that is the test's.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer

from llama_factory.records import Conversation, Message, Origin, ToolCall
from llama_factory.render.manner import as_tools, as_turns
from llama_factory.render.renderer import Renderer, _begins_like_its_prompts
from llama_factory.render.tokenizer import Tokenizer

ORIGIN = Origin("rows.jsonl", 3)
MARKER = re.compile(
    r"<[|｜][^<>|｜\s'\"{}]{1,60}[|｜]>|</?seed:[a-z_]+>|<(?:start|end)_of_turn>|\[/?[A-Z_]{3,20}\]"
    r"|<\|[a-z_]+>|<[a-z_]+\|>|</?(?:assistant|user|system)>|<end_of_sentence>|<beginning_of_sentence>|[\]\[][be]~[bd]?[\]\[]|<SPECIAL_\d+>|<(?:BOS|EOS)_TOKEN>|\[gMASK\]|<sop>|\]<\]minimax\[>\[|</?s>"
)
BOS, EOS = "<|the beginning|>", "<|the end|>"

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Which city"}},
            "required": ["city"],
        },
    },
}
ASK, ANSWER = Message("user", "What is the capital of Finland?"), Message("assistant", "It is Helsinki.")
AGAIN, MORE = Message("user", "And of\n\nSweden?"), Message("assistant", "Stockholm, of course.")
SYSTEM = Message("system", "Be brief.")
THOUGHT = Message("assistant", "It is Helsinki.", reasoning="Suomi means Finland.")
SECOND_THOUGHT = Message("assistant", "Stockholm, of course.", reasoning="Sverige is next.")
CALL = Message("assistant", "", tool_calls=(ToolCall("get_weather", {"city": "Turku"}, "call00001"),))
RESULT = Message("tool", "18 degrees", name="get_weather", tool_call_id="call00001")
MILD = Message("assistant", "It is mild.")
THOUGHTFUL_CALL = Message("assistant", "", reasoning="I should look.", tool_calls=CALL.tool_calls)

KINDS: Mapping[str, tuple[tuple[Message, ...], bool]] = {
    "one turn": ((ASK, ANSWER), False),
    "several turns": ((ASK, ANSWER, AGAIN, MORE), False),
    "system": ((SYSTEM, ASK, ANSWER), False),
    "system, several turns": ((SYSTEM, ASK, ANSWER, AGAIN, MORE), False),
    "thoughts": ((ASK, THOUGHT), False),
    "thoughts, several turns": ((ASK, THOUGHT, AGAIN, SECOND_THOUGHT), False),
    "a call": ((ASK, CALL), True),
    "a call and its result": ((ASK, CALL, RESULT, MILD), True),
    "a call, system, another question": ((SYSTEM, ASK, CALL, RESULT, MILD, AGAIN, MORE), True),
    "tools unused": ((ASK, ANSWER), True),
    "thoughts before a call": ((ASK, THOUGHTFUL_CALL, RESULT, MILD), True),
}
"""Name -> the messages, and whether the conversation has tools."""


def conversation(kind: str) -> Conversation:
    messages, tools = KINDS[kind]
    return Conversation(messages, ORIGIN, (TOOL,) if tools else ())


@dataclass(frozen=True)
class Case:
    name: str
    renderer: Renderer
    theirs: Any
    """transformers' tokenizer with the same ids and the same template."""

    def ids_of_theirs(self, spoken: Conversation, count: int, *, asking: bool) -> list[int]:
        """What transformers writes for the first `count` messages."""
        cut = Conversation(spoken.messages[:count], spoken.origin, spoken.tools)
        manner = self.renderer.template._manner(spoken)
        options = {}
        if self.renderer.enable_thinking is not None:
            options["enable_thinking"] = self.renderer.enable_thinking
        return self.theirs.apply_chat_template(
            untraced(as_turns(cut.messages, manner)),
            tools=untraced(as_tools(cut.tools)),
            add_generation_prompt=asking,
            tokenize=True,
            return_dict=False,
            **options,
        )

    def text(self, ids: list[int]) -> str:
        return self.renderer.decode(ids, skip_control=False)

    def ids_of(self, text: str) -> list[int]:
        return list(self.renderer.tokenizer.rust.encode(text, add_special_tokens=False).ids)

    def with_template(self, template: str) -> Any:
        """transformers' tokenizer, writing another template."""
        other = copy.copy(self.theirs)
        other.chat_template = template
        return other


def untraced(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, dict):
        return {untraced(key): untraced(item) for key, item in value.items()}
    return [untraced(item) for item in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class Workshop:
    """One real tokenizer, loaded once, and extended by the control tokens that the templates spell out."""

    folder: Path
    control: tuple[str, ...]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        rust = RustTokenizer.from_file(str(self.folder / "tokenizer.json"))
        rust.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in self.control])
        return Tokenizer(self.folder, rust, {"bos_token": BOS, "eos_token": EOS})

    @cached_property
    def theirs(self) -> Any:
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast(tokenizer_object=self.tokenizer.rust, bos_token=BOS, eos_token=EOS)

    def case(self, name: str, template: str, *, enable_thinking: bool | None = None) -> Case:
        theirs = copy.copy(self.theirs)
        theirs.chat_template = template
        end = self.tokenizer.control[EOS]
        renderer = Renderer(self.tokenizer, name, template, (end,), enable_thinking=enable_thinking)
        return Case(name, _begins_like_its_prompts(renderer), theirs)


def markers(template: str) -> set[str]:
    """The control tokens that a template spells out."""
    return set(MARKER.findall(template.replace("{}", ":opensource")))  # one spells its tokens with a suffix


def workshop(folder: Path, templates: Iterable[str]) -> Workshop:
    return Workshop(folder, tuple(sorted({BOS, EOS}.union(*map(markers, templates)))))


def own_templates(folders: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """The templates that published tokenizers bring themselves."""
    for name, folder in folders.items():
        found = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template")
        if found:
            yield f"{name} (its own)", found
