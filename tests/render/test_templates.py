"""Every named template: what is learned is the answer and its stop, and what is chosen is said."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from render_helpers import CHATML, write_tokenizer

from llama_factory.errors import InputError, LlamaFactoryError
from llama_factory.records import Conversation, Message, Origin, ToolCall
from llama_factory.render import Renderer, load_renderer, template_names
from llama_factory.render.templates import TEMPLATES, Written

ORIGIN = Origin("train.jsonl", 1)
TURNS = (
    Message("user", "Hello?"),
    Message("assistant", "The answer."),
    Message("user", "And?"),
    Message("assistant", "More."),
)
SYSTEM = Message("system", "Be kind.")
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "Finds", "parameters": {"type": "object", "properties": {}}},
}
CALLS = (
    Message("user", "Hello?"),
    Message("assistant", "", tool_calls=(ToolCall("look_up", {"word": "snow"}, "call00001"),)),
    Message("tool", "white", name="look_up", tool_call_id="call00001"),
    Message("assistant", "It is white."),
)
MARKS_OF_CALLS = {
    "deepseek": "calls▁begin call▁begin sep call▁end calls▁end outputs▁begin output▁begin output▁end outputs▁end",
}
FORMS = [
    pytest.param(name, number, id=f"{name}-{number}" if number else name)
    for name in template_names()
    for number in range(len(TEMPLATES[name]))
]


@pytest.fixture
def renderer_of(tmp_path):
    """A form of a named template, on a tokenizer that has its markers, what DeepSeek marks calls with, and no more."""

    def make(form: Written, name: str = "form", **options) -> Renderer:
        control = [
            *form.markers,
            *(f"<｜tool▁{mark}｜>" for mark in MARKS_OF_CALLS.get(name[:8], "").split()),
            "<s>",
            "</s>",
        ]
        folder = write_tokenizer(
            tmp_path / name, control=list(dict.fromkeys(control)), eos="</s>", bos="<s>", template=form.text
        )
        return load_renderer(folder, **options)

    return make


def spans(renderer: Renderer, rendered) -> list[str]:
    """The trained stretches of a row, as text."""
    cuts = [0, *(np.flatnonzero(np.diff(rendered.weight_T != 0)) + 1).tolist(), rendered.ids_T.size]
    stretches = [(left, right) for left, right in pairwise(cuts) if rendered.weight_T[left] != 0]
    return [renderer.decode(rendered.ids_T[left:right].tolist(), skip_control=False) for left, right in stretches]


def examples(renderer: Renderer, conversation: Conversation):
    (result,) = renderer.render_many([conversation])
    if isinstance(result, LlamaFactoryError):
        raise result
    return result


def stop_of(form: Written) -> tuple[str, ...]:
    return tuple(stop.replace("{eos}", "</s>") for stop in form.stops)


@pytest.mark.parametrize(("name", "number"), FORMS)
@pytest.mark.parametrize("system", [(), (SYSTEM,)], ids=["plain", "system"])
def test_what_is_learned_is_every_answer_and_its_stop_behind_what_the_model_is_asked(
    renderer_of, name, number, system
) -> None:
    form = TEMPLATES[name][number]
    renderer = renderer_of(form, name)
    assert renderer.notices == ()
    messages = (*system, *TURNS)
    learned: list[str] = []
    for conversation, rendered in examples(renderer, Conversation(messages, ORIGIN)):
        learned += spans(renderer, rendered)
        trained = [n for n, one in enumerate(conversation.messages) if one.role == "assistant" and one.weight != 0.0]
        assert trained
        for turn in trained:
            prompt = renderer.prompt(conversation.messages[:turn])
            assert rendered.ids_T[: len(prompt)].tolist() == prompt
            assert rendered.weight_T[len(prompt)] > 0
    without_thoughts = [
        re.sub(r"^\s*(<think>)?\s*</think>|^<\|channel\|>final<\|message\|>", "", one) for one in learned
    ]
    assert [one.strip() for one in without_thoughts] == [
        next(said + gap + stop for stop in stop_of(form) for gap in ("", " ", "\n") if one.strip() == said + gap + stop)
        for one, said in zip(without_thoughts, ("The answer.", "More."), strict=True)
    ]


@pytest.mark.parametrize(("name", "number"), FORMS)
def test_calls_are_learned_where_the_family_has_a_form_and_refused_with_a_letter_elsewhere(
    renderer_of, name, number
) -> None:
    form = TEMPLATES[name][number]
    renderer = renderer_of(form, name)
    asked = Conversation((SYSTEM, *CALLS), ORIGIN, (TOOL,))
    if not form.tools:
        with pytest.raises(LlamaFactoryError) as caught:
            examples(renderer, asked)
        assert caught.value.id == "render.no-form-for-tools"
        return
    learned = [one for found in examples(renderer, asked) for one in spans(renderer, found.rendered)]
    call, answer = learned
    assert "look_up" in call
    assert "snow" in call
    assert "white" not in call
    assert answer.strip().removeprefix("<think>\n\n</think>\n\n").startswith("It is white.")
    assert "look_up" in examples(renderer, asked)[0].rendered.text.split("snow")[0].rpartition("look_up")[0]


@pytest.mark.parametrize("name", [name for name in template_names() if TEMPLATES[name][0].thinking != "never"])
def test_thoughts_are_learned_before_the_last_answer_and_left_out_of_what_is_sent_later(renderer_of, name) -> None:
    renderer = renderer_of(TEMPLATES[name][0], name)
    thoughtful = Message("assistant", "The answer.", reasoning="Let me see.")
    messages = (TURNS[0], thoughtful, TURNS[2], Message("assistant", "More.", reasoning="And now."))
    found = examples(renderer, Conversation(messages, ORIGIN))
    assert len(found) == 2
    first, second = (one.rendered.text for one in found)
    assert "Let me see." in first
    assert "Let me see." not in second
    assert "And now." in second
    learned = [one for example in found for one in spans(renderer, example.rendered)]
    assert ["Let me see." in one and "The answer." in one for one in learned] == [True, False]
    assert ["And now." in one and "More." in one for one in learned] == [False, True]


@pytest.mark.parametrize("name", ["qwen3", "deepseekr1", "glm4_moe"])
def test_without_thinking_the_prompt_holds_empty_thoughts(renderer_of, name) -> None:
    renderer = renderer_of(TEMPLATES[name][0], name, enable_thinking=False)
    assert re.search(r"<think>\s*</think>\s*\Z", renderer.decode(renderer.prompt(TURNS[:1]), skip_control=False))
    learned = [one for found in examples(renderer, Conversation(TURNS, ORIGIN)) for one in spans(renderer, found[1])]
    assert [one.strip().partition(".")[0] for one in learned] == ["The answer", "More"]


def test_there_are_as_many_names_as_the_tutorials_families_need() -> None:
    needed = """
        default alpaca vicuna zephyr chatml llama2 llama3 llama4 mistral qwen qwen3 qwen3_nothink deepseek deepseek3
        deepseekr1 gemma gemma2 gemma3 phi phi4 glm4 chatglm3 hunyuan baichuan2 internlm2 yi xverse minicpm granite3
        gpt_oss falcon openchat starchat solar cohere olmo smollm
    """
    assert set(needed.split()) <= set(template_names())
    assert len(template_names()) >= 75


# -- the model's own and the named one ---------------------------------------------------------------------


def named(tmp_path, own: str, name: str, control: tuple[str, ...], **options) -> Renderer:
    folder = write_tokenizer(tmp_path, control=[*control, "<s>", "</s>"], template=own, eos="</s>", bos="<s>")
    return load_renderer(folder, template=name, **options)


def test_the_first_token_that_differs_is_named_on_both_sides(tmp_path) -> None:
    own = CHATML.replace("'<|im_end|>' + '\n'", "'<|im_end|>'")
    with pytest.raises(InputError) as caught:
        named(tmp_path, own, "chatml", ("<|im_start|>", "<|im_end|>"))
    control = {"<|im_start|>": None}
    values = caught.value.values
    assert values["before"].endswith("text<|im_end|>'")
    assert values["ours"].endswith(" '\\n'")
    assert values["theirs"].endswith(f" '{next(iter(control))}'")
    assert int(values["ours"].split()[0]) != int(values["theirs"].split()[0])


def test_a_model_whose_own_template_takes_no_system_text_gets_the_named_one(tmp_path) -> None:
    own = TEMPLATES["gemma"][0].text.replace(
        "{%- set first.system = message['content'] + '\\n\\n' -%}", "{{ raise_exception('no system text') }}"
    )
    renderer = named(tmp_path, own, "gemma", TEMPLATES["gemma"][0].markers)
    assert [finding.id for finding in renderer.notices] == ["render.system-only-named"]
    ((_, rendered),) = examples(renderer, Conversation((SYSTEM, *TURNS), ORIGIN))
    assert "<start_of_turn>user\nBe kind.\n\nHello?" in rendered.text


@pytest.mark.parametrize("what", ["thoughts", "tools"])
def test_a_difference_in_thoughts_or_tools_alone_is_said_and_the_models_own_is_used(tmp_path, what) -> None:
    changes = {
        "thoughts": ("thoughts.strip('\\n')", "('(' + thoughts.strip('\\n') + ')' if thoughts else '')"),
        "tools": ("<tool_call>", "<call>"),
    }
    own = TEMPLATES["qwen3"][0].text.replace(*changes[what])
    assert own != TEMPLATES["qwen3"][0].text
    renderer = named(tmp_path, own, "qwen3", TEMPLATES["qwen3"][0].markers)
    assert [finding.id for finding in renderer.notices] == [f"render.{what}-differ-own"]
    assert renderer.template_text == own


def test_a_named_template_that_is_used_for_its_missing_system_text_says_what_else_it_changes(tmp_path) -> None:
    own = "{% set messages = ([] if messages[0]['role'] == 'system' else [{'role': 'system', 'content': 'I am.'}]) + "
    own += "messages %}" + TEMPLATES["chatml"][0].text.replace("<tool_call>", "<call>")
    renderer = named(tmp_path, own, "chatml", TEMPLATES["chatml"][0].markers)
    assert [one.id for one in renderer.notices] == ["render.default-system-differs", "render.tools-differ-named"]
