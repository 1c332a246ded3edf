"""What a mould is filled with equals what the template writes, over published templates and random conversations."""

import random
import re

import numpy as np
import pytest
from hard_texts import hard_text
from render_helpers import CHATML, write_tokenizer

from llama_factory.errors import LlamaFactoryError, StartAgain
from llama_factory.records import Conversation, Message, Origin
from llama_factory.render import load_renderer
from llama_factory.render.examples import draw
from llama_factory.render.looks import Look
from llama_factory.render.mould import SEEN_BEFORE, WATCHED_SHARE, Moulds, same
from llama_factory.render.template import Template
from llama_factory.render.tokenizer import open_tokenizer

MARK = re.compile(r"<[|｜][^<>|｜{}]{1,40}[|｜]>|</?s>|<end_of_turn>|<start_of_turn>|\[/?[A-Z_]{3,20}\]|<eos>|<bos>")
SHAPES = (
    ("user", "assistant"),
    ("system", "user", "assistant"),
    ("user", "assistant", "user", "assistant"),
    ("system", "user", "assistant", "user", "assistant", "user", "assistant"),
)
LOOKING = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}INSIDE{{ '<|im_end|>' + '\\n' }}{% endfor %}"
FOLLOWED = {
    "{{ m['content'] | trim }}": [],
    "{% if m['content'] %}{{ m['content'] }}{% endif %}": [],
    "{% if 'secret' in m['content'] %}!{% endif %}{{ m['content'] }}": ["contains"],
    "{% if m.content.startswith('/no') %}!{% endif %}{{ m['content'] }}": ["starts"],
    "{{ m['content'].split('</x>')[-1].lstrip('\\n') }}": ["contains"],
    "{{ m['content'].replace('ab', 'c') }}": ["contains"],
    "{% if m['content'] == 'hm' %}!{% endif %}{{ m['content'] }}": ["equals"],
}
NOT_FOLLOWED = (
    "{% if m['content'] | length > 20 %}!{% endif %}{{ m['content'] }}",
    "{% if m['content'][0] == 'a' %}!{% endif %}{{ m['content'] }}",
    "{{ m['content'] | upper }}",
    "{% if (m['content'] + 'x').startswith('ab') %}!{% endif %}{{ m['content'] }}",
    "{% if 'abc'.find(m['content']) >= 0 %}!{% endif %}{{ m['content'] }}",
    "{% for word in m['content'].split() %}{{ word }} {% endfor %}",
)


def conversation(draw_from, roles, at):
    texts = [words(draw_from) for _ in roles]
    weights = [draw_from.choice((None, None, 0.0, 0.5)) if role == "assistant" else None for role in roles]
    weights[-1] = draw_from.choice((None, 2.0))
    turns = zip(roles, texts, weights, strict=True)
    return Conversation(tuple(Message(role, text, weight) for role, text, weight in turns), Origin("rows.jsonl", at))


def words(draw_from):
    kind = draw_from.random()
    if kind < 0.5:
        return "".join(draw_from.choices("abc xyz\n{}<>/|[]é中", k=20)).strip() or "a"
    if kind < 0.6:
        return draw_from.choice(("</think> b", "<think>\nc\n</think>\n\nd", "secret", "/no_think", "hm", " a ", "\nb"))
    return hard_text(draw_from, ("<|im_end|>", "<|im_start|>"), spell=kind < 0.7) or "a"


def outcome(make):
    try:
        return make()
    except LlamaFactoryError as error:
        return error.id, dict(error.values)


def compare(template, count, seed):
    """How many rows a mould was filled with; each row is compared."""
    moulds = Moulds(template)
    draw_from = random.Random(seed)
    for at in range(count):
        row = conversation(draw_from, draw_from.choice(SHAPES), at)
        ours, theirs = outcome(lambda row=row: moulds.draw(row)), outcome(lambda row=row: draw(template, row))
        if isinstance(theirs, list):
            assert isinstance(ours, list), (ours, row)
            assert len(ours) == len(theirs)
            assert all(same(one, other) for one, other in zip(ours, theirs, strict=True)), row
        else:
            assert ours == theirs, row
    return moulds._filled


def template_of(text, folder):
    control = sorted({"<|endoftext|>", "<|im_start|>", "<|im_end|>", *MARK.findall(text)})
    return Template(
        text, open_tokenizer(write_tokenizer(folder, control=control, eos="<|im_end|>", bos="<|im_start|>"))
    )


@pytest.mark.parametrize(("inside", "questions"), FOLLOWED.items())
def test_looks_that_are_followed_become_questions_to_every_row(tmp_path, inside, questions) -> None:
    template = template_of(LOOKING.replace("INSIDE", inside), tmp_path)
    moulds = Moulds(template)
    rows = [conversation(random.Random(at), SHAPES[0], at) for at in range(SEEN_BEFORE + 1)]
    for row in rows:
        outcome(lambda row=row: moulds.draw(row))
    moulds_made = [one for one in moulds._of.values() if one is not None and not isinstance(one, int)]
    assert len(moulds_made) == 1
    looks = moulds_made[0].looks
    assert {look.question for look in looks} == set(questions)
    assert all(isinstance(look, Look) for look in looks)
    assert compare(template, 600, inside) > 100


@pytest.mark.parametrize("inside", NOT_FOLLOWED)
def test_a_template_that_looks_in_other_ways_has_no_mould(tmp_path, inside) -> None:
    assert compare(template_of(LOOKING.replace("INSIDE", inside), tmp_path), 100, inside) == 0


@pytest.mark.real
def test_moulds_write_what_seventy_published_templates_write(real_jinja, tmp_path) -> None:
    filled = {
        name: compare(template_of(file.read_text(), tmp_path / name), 60, name) for name, file in real_jinja.items()
    }
    assert len(filled) == 70
    assert sum(count > 0 for count in filled.values()) >= 20, filled


def test_a_mould_that_differs_ends_all_moulds_and_asks_to_start_again(chatml_folder) -> None:
    template = Template(CHATML, open_tokenizer(chatml_folder))
    moulds = Moulds(template)
    rows = [
        Conversation((Message("user", f"q{at}"), Message("assistant", "yes")), Origin("rows.jsonl", at))
        for at in range(SEEN_BEFORE + 2 * WATCHED_SHARE)
    ]
    for row in rows[: SEEN_BEFORE + 2]:
        moulds.draw(row)
    (shape,) = moulds._of
    object.__setattr__(moulds._of[shape], "pieces", ("wrong", *moulds._of[shape].pieces[1:]))
    with pytest.raises(StartAgain) as caught:
        [moulds.draw(row) for row in rows]
    assert caught.value.id == "render.mould-differs"
    assert moulds.off
    assert all(same(moulds.draw(row)[0], draw(template, row)[0]) for row in rows[:3])


def test_weights_of_a_chunk_are_those_of_each_row_alone(chatml_folder) -> None:
    renderer = load_renderer(chatml_folder)
    draw_from = random.Random(7)
    rows = [conversation(draw_from, draw_from.choice(SHAPES), at) for at in range(800)]
    drawn = [one for row in rows if isinstance(some := outcome(lambda row=row: draw(renderer.template, row)), list)
             for one in some]  # fmt: skip
    assert len(drawn) > 400
    encodings = renderer.tokenizer.encode([one.text for one in drawn])
    alone = [
        outcome(lambda one=one, ids=ids: renderer._weighed(one, ids)) for one, ids in zip(drawn, encodings, strict=True)
    ]
    apart = 0
    for ours, theirs in zip(renderer._weigh(drawn), alone, strict=True):
        if isinstance(ours, LlamaFactoryError):
            assert (ours.id, dict(ours.values)) == theirs
            continue
        for name in ("ids_T", "weight_T", "message_T"):
            assert np.array_equal(getattr(ours.rendered, name), getattr(theirs.rendered, name)), ours.rendered.text
        assert ours.rendered.text == theirs.rendered.text
        apart += 1
    assert apart > 400
