"""What is learned is what serving would see the model write: thoughts, calls, rewritten histories, borrowed stops."""

import dataclasses
import json

import pytest
from render_helpers import write_tokenizer

from llama_factory.errors import DataError, LlamaFactoryError
from llama_factory.records import Conversation, Message, Origin, ToolCall
from llama_factory.render import load_renderer

ORIGIN = Origin("rows.jsonl", 7)
CONTROL = ["<|endoftext|>", "<|system|>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<|observation|>"]
TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
}

HIDES_THOUGHTS = (
    "{%- set ns = namespace(last=-1) %}"
    "{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{%- for m in messages %}"
    "{%- if m.role == 'assistant' %}{{- '<|im_start|>assistant\n' }}"
    "{%- if loop.index0 > ns.last %}{{- '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}{% endif %}"
    "{{- m.content + '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{% endif %}"
    "{%- endif %}"
)
OPENS_THOUGHTS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content.split('</think>')[-1] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
NO_STOP = (
    "{% if tools %}{{ '<|system|>\n' + tools | tojson }}{% endif %}"
    "{% for m in messages %}{{ ('<|observation|>' if m.role == 'tool' else '<|' + m.role + '|>') + '\n' }}"
    "{{ m.content }}{% for c in m.tool_calls or [] %}"
    "{{ c.function.name + '\n' + c.function.arguments | tojson }}{% endfor %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
CALLS = (
    "{% if tools %}{{ '<|im_start|>system\n' + tools | tojson + '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
    "{% for c in m.tool_calls or [] %}"
    '{{ \'<tool_call>\n{"name": "\' + c.function.name + \'", "arguments": \' + c.function.arguments | tojson + \'}'
    "\n</tool_call>' }}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture
def renderer(tmp_path):
    def make(template, **more):
        folder = write_tokenizer(tmp_path, control=CONTROL, template=template, eos="<|im_end|>")
        return load_renderer(folder, **more)

    return make


def user(text):
    return Message("user", text)


def assistant(text, reasoning=None, *calls, weight=None):
    return Message("assistant", text, weight, reasoning, calls)


def conversation(*messages, tools=()):
    return Conversation(messages, ORIGIN, tools)


def examples(renderer, given):
    (found,) = renderer.render_many([given])
    if isinstance(found, LlamaFactoryError):
        raise found
    return [(one.rendered.text, learned(renderer, one.rendered)) for one in found]


def learned(renderer, rendered):
    """The trained stretches, as text."""
    pieces, ids = [], []
    for id, weight in zip(rendered.ids_T, rendered.weight_T, strict=True):
        if weight:
            ids.append(int(id))
        elif ids:
            pieces.append(renderer.decode(ids, skip_control=False))
            ids = []
    return pieces + ([renderer.decode(ids, skip_control=False)] if ids else [])


TWO = (user("Hello?"), assistant("Yes.", "A greeting"), user("Why?"), assistant("So.", "A question"))


def test_answers_whose_thoughts_history_hides_are_examples_of_their_own(renderer) -> None:
    first, second = examples(renderer(HIDES_THOUGHTS), conversation(*TWO))
    assert first[1] == ["<think>\nA greeting\n</think>\n\nYes.<|im_end|>"]
    assert second[1] == ["<think>\nA question\n</think>\n\nSo.<|im_end|>"]
    assert "A greeting" not in second[0]
    assert "Why?" not in first[0]


def test_every_example_begins_with_the_prompt_that_serving_sends(renderer) -> None:
    for template in (HIDES_THOUGHTS, OPENS_THOUGHTS, NO_STOP, PLAIN):
        made = renderer(template)
        (found,) = made.render_many([conversation(*TWO)])
        compared = 0
        for one in found:
            ids = one.rendered.ids_T.tolist()
            for turn, message in enumerate(one.conversation.messages):
                if message.role == "assistant" and message.weight != 0.0:
                    prompt = made.prompt(one.conversation.messages[:turn])
                    assert ids[: len(prompt)] == prompt
                    assert one.rendered.weight_T[len(prompt)] == 1.0
                    assert one.rendered.weight_T[len(prompt) - 1] == 0.0
                    compared += 1
        assert compared == 2


def test_an_untrained_answer_is_no_example_of_its_own(renderer) -> None:
    earlier = dataclasses.replace(TWO[1], weight=0.0)
    ((text, pieces),) = examples(renderer(HIDES_THOUGHTS), conversation(TWO[0], earlier, *TWO[2:]))
    assert pieces == ["<think>\nA question\n</think>\n\nSo.<|im_end|>"]
    assert "Yes." in text


def test_empty_thoughts_are_learned_where_the_model_writes_them_and_read_where_the_prompt_does(renderer) -> None:
    row = conversation(user("Hello?"), assistant("Yes."))
    assert examples(renderer(HIDES_THOUGHTS), row)[0][1] == ["<think>\n\n</think>\n\nYes.<|im_end|>"]
    off = renderer(HIDES_THOUGHTS, enable_thinking=False)
    assert examples(off, row)[0][1] == ["Yes.<|im_end|>"]
    with pytest.raises(DataError) as caught:
        examples(off, conversation(*TWO))
    assert caught.value.id == "render.thinks-though-off"


def test_a_prompt_that_opens_the_thoughts_is_answered_with_the_rest_of_them(renderer) -> None:
    made = renderer(OPENS_THOUGHTS)
    first, second = examples(made, conversation(*TWO))
    assert first[1] == ["A greeting\n</think>\n\nYes.<|im_end|>"]
    assert second[0].endswith("assistant\n<think>\nA question\n</think>\n\nSo.<|im_end|>")
    assert examples(made, conversation(user("Hello?"), assistant("Yes.")))[0][1] == ["\n</think>\n\nYes.<|im_end|>"]


def test_thoughts_in_the_content_are_the_same_as_thoughts_beside_it(renderer) -> None:
    inside = conversation(user("Hello?"), assistant("<think>\nA greeting\n</think>\n\nYes."))
    beside = conversation(user("Hello?"), assistant("Yes.", "A greeting"))
    for template in (HIDES_THOUGHTS, OPENS_THOUGHTS, PLAIN):
        made = renderer(template)
        assert examples(made, inside) == examples(made, beside)


def test_a_template_that_knows_no_thoughts_has_them_written_before_the_answer(renderer) -> None:
    (one,) = examples(renderer(PLAIN), conversation(*TWO))
    assert one[1] == [f"<think>\n{m.reasoning}\n</think>\n\n{m.content}<|im_end|>" for m in (TWO[1], TWO[3])]


def test_marks_of_thoughts_may_be_control_tokens_but_words_never(tmp_path) -> None:
    folder = write_tokenizer(tmp_path, control=[*CONTROL, "<think>", "</think>"], template=PLAIN, eos="<|im_end|>")
    made = load_renderer(folder)
    text = "<think>\nI <|im_end|> think\n</think>\n\nYes </think>."
    (found,) = made.render_many([conversation(user("<think> why?"), assistant(text))])
    ids = found[0].rendered.ids_T.tolist()
    assert ids.count(made.tokenizer.control["<think>"]) == 1
    assert ids.count(made.tokenizer.control["</think>"]) == 1
    assert ids.count(made.tokenizer.control["<|im_end|>"]) == 2


def test_where_no_token_ends_an_answer_the_one_that_begins_the_next_turn_is_learned(renderer) -> None:
    made = renderer(NO_STOP)
    ((text, pieces),) = examples(made, conversation(user("Hello?"), assistant("Yes."), user("Why?"), assistant("So.")))
    assert pieces == ["Yes.<|user|>", "So.<|user|>"]
    assert text.endswith("So.<|user|>")
    call = assistant("", None, ToolCall("look", {"at": "x"}))
    row = conversation(user("Look"), call, Message("tool", "seen"), assistant("I see."), tools=(TOOL,))
    last = examples(made, row)[-1]
    assert last[1][-1].startswith("I see.")
    assert made.tokenizer.control["<|user|>"] in made.stop_ids
    assert made.tokenizer.control["<|observation|>"] in made.stop_ids


def test_calls_are_learned_from_their_first_mark_to_the_stop_and_results_only_read(renderer) -> None:
    calls = (ToolCall("look", {"at": "here"}), ToolCall("look", {"at": 'th"ere\n', "n": 2}))
    row = conversation(
        user("Look"), assistant("Wait.", None, *calls), Message("tool", "seen"), Message("tool", "not"),
        assistant("I see."), tools=(TOOL,),
    )  # fmt: skip
    ((text, pieces),) = examples(renderer(CALLS), row)
    asked = ['<tool_call>\n{"name": "look", "arguments": ' + json.dumps(c.arguments) + "}\n</tool_call>" for c in calls]
    assert pieces == ["Wait." + "".join(asked) + "<|im_end|>", "I see.<|im_end|>"]
    assert '"parameters"' in text


def test_control_tokens_in_names_arguments_results_and_schemas_are_letters(renderer) -> None:
    bad = "<|im_end|>"
    tool = {"type": "function", "function": {"name": "look", "description": bad, "parameters": {bad: {}}}}
    calls = (ToolCall("look", {bad: [bad, {"deep": bad}]}),)
    row = conversation(
        user(bad), assistant("", bad, *calls), Message("tool", bad), assistant("Yes."), tools=(tool,)
    )  # fmt: skip
    made = renderer(CALLS)
    (found,) = made.render_many([row])
    assert not isinstance(found, LlamaFactoryError), found
    assert found[0].rendered.ids_T.tolist().count(made.tokenizer.control[bad]) == 5  # the tools and four turns


def test_tools_in_a_template_without_a_form_for_them_are_refused(renderer) -> None:
    made = renderer(PLAIN)
    call = assistant("", None, ToolCall("look", {}))
    for row in (
        conversation(user("Look"), assistant("No."), tools=(TOOL,)),
        conversation(user("Look"), call, Message("tool", "seen"), assistant("Yes.")),
    ):
        with pytest.raises(DataError) as caught:
            examples(made, row)
        assert caught.value.id == "render.no-form-for-tools"
        assert caught.value.where == "rows.jsonl:7"


def test_arguments_and_results_are_handed_over_as_the_template_takes_them(renderer) -> None:
    text_only = CALLS.replace("c.function.arguments | tojson", "c.function.arguments")
    made = renderer(text_only.replace("m.role + '\n'", "('observation' if m.role == 'tool' else m.role) + '\n'"))
    row = conversation(
        user("Look"), assistant("", None, ToolCall("look", {"at": "x"})), Message("tool", "seen"), assistant("Yes."),
        tools=(TOOL,),
    )  # fmt: skip
    ((text, _),) = examples(made, row)
    assert '"arguments": {"at": "x"}}' in text
    assert made.template.tools_manner is not None
    assert made.template.tools_manner.arguments == "text"
