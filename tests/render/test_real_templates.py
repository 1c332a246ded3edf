"""The proof over published templates: what is learned is what the model will be asked for, token for token.

Every template that `scripts/fetch_templates.py` brings, on the real tokenizer of Qwen 3 extended by the control
tokens that they spell out. For each kind of conversation: either the row is refused with a letter, or

- up to where training begins the ids are those of transformers' `apply_chat_template(add_generation_prompt=True)`;
- the rest is what `apply_chat_template` writes for the finished conversation, token for token, wherever the template
  itself begins it with that prompt;
- what is trained holds all that the assistant says (words, thoughts, calls), nothing that another says, and a control
  token at its end.

The clock stands still, since some templates write the date.
"""

from __future__ import annotations

import datetime
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from real_templates import KINDS, Case, Workshop, conversation, own_templates
from real_templates import workshop as open_workshop

from llama_factory.errors import LlamaFactoryError
from llama_factory.records import Conversation
from llama_factory.render.renderer import Example
from llama_factory.render.templates import TEMPLATES, with_default_system
from llama_factory.render.thoughts import MARKS

pytestmark = pytest.mark.real
OWN = ("qwen3", "llama3", "llama3_1", "deepseek_v3", "gemma3")
REFUSED_WHOLE = {
    "CohereForAI-c4ai-command-r-plus-tool_use": "needs tools",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "needs tools",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "needs tools",
    "fireworks-ai-llama-3-firefunction-v2": "needs `functions` and `datetime`",
    "llama-cpp-rwkv-world": "ends no answer with a token",
    "Reka-Edge": "asks a message's text in a way that is not followed",
}
"""Templates that do not take a plain conversation: with the reason; each is refused with a letter when it is loaded."""


@dataclass
class Found:
    """What was seen of one template."""

    compared: Counter[str] = field(default_factory=Counter)
    whole: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    built: Counter[str] = field(default_factory=Counter)
    refused: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def still_clock():
    class Still(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2025, 3, 4, 5, 6, 7, tzinfo=tz)

    from transformers.utils import chat_template_utils

    from llama_factory.render import jinja

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja, "datetime", Still)
        patch.setattr(chat_template_utils, "datetime", Still)
        yield


@pytest.fixture(scope="module")
def templates(real_jinja, real_tokenizer) -> dict[str, str]:
    found = {name: file.read_text(encoding="utf-8") for name, file in real_jinja.items()}
    return found | dict(own_templates({name: real_tokenizer(name) for name in OWN}))


@pytest.fixture(scope="module")
def workshop(real_tokenizer, templates) -> Workshop:
    return open_workshop(real_tokenizer("qwen3"), templates.values())


@pytest.fixture(scope="module")
def proof(workshop, templates, still_clock) -> dict[str, Found]:
    """All templates, each with every kind of conversation. A difference fails here, with the template's name."""
    seen: dict[str, Found] = {}
    for name, text in templates.items():
        found = seen[name] = Found()
        for thinking in (None, True, False) if "enable_thinking" in text else (None,):
            try:
                case = workshop.case(name, text, enable_thinking=thinking)
            except LlamaFactoryError as error:
                found.refused["all"] = error.letter()
                continue
            for kind in KINDS:
                examine(case, kind, found)
    return seen


def examine(case: Case, kind: str, found: Found) -> None:
    spoken = conversation(kind)
    (result,) = case.renderer.render_many([spoken])
    if isinstance(result, LlamaFactoryError):
        assert result.letter()
        found.refused[kind] = result.id
        return
    learned: list[int] = []
    for example in result:
        learned += compare(case, kind, spoken, example, found)
    answers = [number for number, message in enumerate(spoken.messages) if message.role == "assistant"]
    assert sorted(learned) == answers, (case.name, kind)
    found.compared[kind] += 1


def compare(case: Case, kind: str, spoken: Conversation, example: Example, found: Found) -> list[int]:
    """The numbers of the answers that this example trains, after all that is claimed has been asserted."""
    ids = example.rendered.ids_T.tolist()
    trained = example.rendered.weight_T != 0
    messages = example.conversation.messages
    turns = [n for n, one in enumerate(messages) if one.role == "assistant" and one.weight != 0.0]
    cuts = [0, *(np.flatnonzero(trained[1:] != trained[:-1]) + 1).tolist(), len(ids)]
    stretches = [(left, right) for left, right in pairwise(cuts) if trained[left]]
    where = (case.name, kind, case.renderer.enable_thinking, case.renderer.decode(ids, skip_control=False))
    assert len(stretches) == len(turns), where
    for (left, right), number in zip(stretches, turns, strict=True):
        asked = case.ids_of_theirs(spoken, number, asking=True)
        header = case.renderer.template.header
        if header:  # the template writes no prompt: what it writes before every answer is read, not learned
            asked = case.ids_of(case.text(asked) + header)
        assert same(case, asked, ids[:left]), (*where, case.text(asked))
        assert ids[right - 1] in case.renderer.tokenizer.control_ids, where
        assert_is_said_by(case, spoken, number, case.text(ids[left:right]), where)
        assert_is_written_so(case, spoken, number, case.text(ids[left:right]), where)
    finished = case.ids_of_theirs(spoken, len(messages), asking=False)
    if finished[: len(ids)] == ids:
        found.whole[kind] += 1
    elif case.text(finished).startswith(case.text(ids)):  # cut once more where an answer begins, as serving cuts
        assert any(same(case, finished[:end], ids) for end in range(max(0, len(ids) - 8), len(ids))), where
        found.cut[kind] += 1
    else:  # the template begins the finished conversation otherwise, or leaves the stop to the next turn
        found.built[kind] += 1
    return turns


def same(case: Case, theirs: list[int], ours: list[int]) -> bool:
    """The same ids; or the same text, cut once more where an earlier answer begins, as serving it did."""
    if theirs == ours:
        return True
    return case.text(theirs) == case.text(ours) and len(ours) >= len(theirs)


def assert_is_said_by(case: Case, spoken: Conversation, number: int, said: str, where: object) -> None:
    message = spoken.messages[number]
    assert message.content.strip() in said, where
    for call in message.tool_calls:
        assert call.name in said, where
        assert all(json.dumps(value)[1:-1] in said for value in call.arguments.values()), where
    if message.reasoning:
        assert message.reasoning in said, where
    for other, one in enumerate(spoken.messages):
        if other != number and one.content:
            assert one.content.strip() not in said, where


def assert_is_written_so(case: Case, spoken: Conversation, number: int, said: str, where: object) -> None:
    """What is trained is an end of what the template writes up to this answer, behind its thoughts and stop aside."""
    answer = re.split("|".join(map(re.escape, MARKS.values())), said)[-1].strip()
    message = spoken.messages[number]
    finished = case.text(case.ids_of_theirs(spoken, number + 1, asking=False))
    words = message.content.strip() or message.tool_calls[0].name
    head = answer[: answer.index(words) + len(words)]
    assert head in finished, (*where, head)


def test_at_least_sixty_templates_are_token_for_token_what_transformers_sends(proof) -> None:
    whole = [name for name, found in proof.items() if found.compared]
    assert len(proof) == 75
    assert len(whole) >= 69
    refused = {name for name, found in proof.items() if not found.compared}
    assert refused == set(REFUSED_WHOLE)
    assert len(refused) + len(whole) == len(proof)
    for name in refused:
        assert proof[name].refused["all"]


def test_every_kind_of_conversation_is_compared_over_many_templates(proof) -> None:
    counts = Counter(kind for found in proof.values() for kind in found.compared)
    assert set(counts) == set(KINDS)
    assert counts["one turn"] >= 69
    assert counts["several turns"] >= 69
    assert counts["system"] >= 68
    assert counts["thoughts"] >= 68
    assert counts["a call and its result"] >= 45
    assert sum(counts.values()) >= 600
    totals = [sum(one.total() for one in parts) for parts in zip(*map(parted, proof.values()), strict=True)]
    print(f"examples: {totals[0]} whole, {totals[1]} cut once more at an answer, {totals[2]} behind their prompt")
    assert totals[0] >= 800
    assert totals[0] > totals[2] > totals[1] > 0


def parted(found: Found) -> tuple[Counter[str], Counter[str], Counter[str]]:
    return found.whole, found.cut, found.built


def test_what_is_refused_is_refused_for_a_known_reason(proof) -> None:
    reasons = Counter(reason for found in proof.values() for kind, reason in found.refused.items() if kind != "all")
    known = {
        "render.no-form-for-tools", "render.content-lost", "render.template-refuses", "render.template-fails",
        "render.provenance-lost", "render.thinks-though-off", "render.no-stop", "render.turns-mixed",
    }  # fmt: skip
    assert set(reasons) <= known, reasons
    assert reasons["render.no-form-for-tools"] > 0


FAMILIES = {
    "Qwen-Qwen3-0.6B": "qwen3",
    "qwen3 (its own)": "qwen3",
    "Qwen-Qwen2.5-7B-Instruct": "qwen2_5",
    "MiMo-VL": "mimo",
    "llama3_1 (its own)": "llama3",
    "meta-llama-Llama-3.1-8B-Instruct": "llama3",
    "meta-llama-Llama-3.2-3B-Instruct": "llama3",
    "meta-llama-Llama-3.3-70B-Instruct": "llama3",
    "deepseek_v3 (its own)": "deepseek3",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": "deepseekr1",
    "gemma3 (its own)": "gemma3",
    "microsoft-Phi-3.5-mini-instruct": "phi",
    "ibm-granite-granite-4.0": "granite4",
    "ibm-granite-granite-4.1": "granite3",
    "moonshotai-Kimi-K2": "kimi",
    "ByteDance-Seed-OSS": "seed_oss",
    "openai-gpt-oss-120b": "gpt_oss",
    "GLM-4.6": "glm4_moe",
    "LFM2-8B-A1B": "lfm2",
}
"""Published template -> the name under which this package writes the same."""

PLAIN_KINDS = ("one turn", "several turns", "system", "system, several turns")


@pytest.mark.parametrize(("published", "name"), FAMILIES.items(), ids=str)
def test_a_named_template_writes_what_the_model_of_its_family_was_published_with(
    workshop, templates, still_clock, published, name
) -> None:
    theirs = workshop.case(published, templates[published])
    forms = [with_default_system(form.text, form.default_system) for form in TEMPLATES[name]]
    count = 0
    ours = [Case(name, theirs.renderer, theirs.with_template(form)) for form in forms]
    for kind in PLAIN_KINDS:
        spoken = conversation(kind)
        for turns, asking in ((len(spoken.messages), False), (len(spoken.messages) - 1, True)):
            wanted = theirs.ids_of_theirs(spoken, turns, asking=asking)
            assert any(form.ids_of_theirs(spoken, turns, asking=asking) == wanted for form in ours), (kind, asking)
            count += 1
    assert count == 8
