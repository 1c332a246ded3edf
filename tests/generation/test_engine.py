"""The engine against transformers' own `generate`, and what it owes to whoever stops or updates it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from llama_factory.errors import InputError, OurFault
from llama_factory.generation import Finish, Sampling, TransformersEngine

PROMPT = [5, 9, 17, 3, 44, 8, 21]
GREEDY = Sampling(max_new_tokens=12)
SMALL: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
TYPES: dict[str, dict[str, Any]] = {
    "llama": SMALL,
    "qwen2": SMALL,
    "qwen3": SMALL | {"head_dim": 8},
    "mistral": SMALL | {"sliding_window": 4},
    "gemma2": SMALL | {"head_dim": 8, "sliding_window": 4},
    "mixtral": SMALL | {"num_local_experts": 4},
    "gpt2": {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "eos_token_id": 2},
    "opt": SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {"vocab_size": 96, "hidden_size": 32, "n_layer": 2, "n_head": 4, "eos_token_id": 2},
    "mamba": {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "eos_token_id": 2},
    "falcon_h1": SMALL | {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8},
}


def tiny(seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**(SMALL | changes))).eval()


def livelier(model: torch.nn.Module) -> None:
    """Larger weights: with the small ones of a fresh model every answer is one token over and over."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)


def reference(model: Any, ids: list[int], **settings: Any) -> list[int]:
    given = torch.tensor([ids])
    out = model.generate(
        given, attention_mask=torch.ones_like(given), max_new_tokens=12, do_sample=False, pad_token_id=0, **settings
    )
    return [int(id) for id in out[0, len(ids) :]]


@pytest.mark.parity
@pytest.mark.parametrize("kind", TYPES)
def test_greedy_answers_are_those_of_transformers(kind: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **TYPES[kind])).eval()
    livelier(model)
    expected = reference(model, PROMPT)
    found = list(TransformersEngine(model, [2]).stream(PROMPT, GREEDY))
    assert found == (expected[: expected.index(2)] if 2 in expected else expected)
    assert len(found) > 2


def test_a_repetition_penalty_counts_the_prompt_as_transformers_does() -> None:
    model = tiny()
    livelier(model)
    expected = reference(model, PROMPT, repetition_penalty=1.7)
    assert expected != reference(model, PROMPT)
    sampling = dataclasses.replace(GREEDY, repetition_penalty=1.7)
    assert list(TransformersEngine(model, []).stream(PROMPT, sampling)) == expected


def test_one_seed_gives_one_answer_and_another_seed_another() -> None:
    engine = TransformersEngine(tiny(), [])
    sampling = Sampling(do_sample=True, temperature=2.0, max_new_tokens=16, seed=7)
    torch.manual_seed(1)
    first = list(engine.stream(PROMPT, sampling))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert list(engine.stream(PROMPT, sampling)) == first
    assert torch.equal(torch.get_rng_state(), before)  # nobody else's randomness is touched
    assert list(engine.stream(PROMPT, dataclasses.replace(sampling, seed=8))) != first


def test_sampled_tokens_follow_the_models_probabilities() -> None:
    model = tiny()
    livelier(model)
    with torch.no_grad():
        chance_V = model(torch.tensor([PROMPT])).logits[0, -1].float().softmax(-1)
    engine = TransformersEngine(model, [])
    count = 600
    drawn = [
        next(engine.stream(PROMPT, Sampling(do_sample=True, top_k=3, max_new_tokens=1, seed=n))) for n in range(count)
    ]
    top = chance_V.topk(3)
    share_3 = top.values / top.values.sum()
    assert set(drawn) <= set(top.indices.tolist())
    for token, share in zip(top.indices.tolist(), share_3.tolist(), strict=True):
        assert abs(drawn.count(token) / count - share) < 4 * (share * (1 - share) / count) ** 0.5 + 1e-3


def test_a_stop_is_heeded_before_the_next_token_is_computed() -> None:
    engine = TransformersEngine(tiny(), [])
    said: list[int] = []
    stream = engine.stream(PROMPT, Sampling(max_new_tokens=50), lambda: len(said) == 3)
    try:
        while True:
            said.append(next(stream))
    except StopIteration as end:
        finish = end.value
    assert len(said) == 3
    assert finish == Finish("cancelled")


def test_an_answer_says_why_it_ended() -> None:
    model = tiny()
    first = next(TransformersEngine(model, []).stream(PROMPT, GREEDY))
    stream = TransformersEngine(model, [first]).stream(PROMPT, GREEDY)
    with pytest.raises(StopIteration) as end:
        next(stream)
    assert end.value.value == Finish("stop", first)
    stream = TransformersEngine(model, []).stream(PROMPT, Sampling(max_new_tokens=1))
    next(stream)
    with pytest.raises(StopIteration) as end:
        next(stream)
    assert end.value.value == Finish("length")


def test_max_length_counts_the_prompt_and_the_window_is_never_left() -> None:
    engine = TransformersEngine(tiny(), [])
    assert len(list(engine.stream(PROMPT, Sampling(max_length=len(PROMPT) + 4)))) == 4
    assert len(list(engine.stream(PROMPT, Sampling()))) == 64 - len(PROMPT)
    with pytest.raises(InputError) as caught:
        list(engine.stream([3] * 64, Sampling()))
    assert caught.value.id == "generation.prompt-too-long"


@pytest.mark.parametrize("kind", ["llama", "mistral", "mamba"])
def test_a_conversation_that_goes_on_is_answered_as_if_it_were_new(kind: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **TYPES[kind])).eval()
    livelier(model)
    engine = TransformersEngine(model, [])
    answer = list(engine.stream(PROMPT, GREEDY))
    for prompt in ([*PROMPT, *answer, 4, 6], [*PROMPT, *answer[:5], 7, 7, 7], PROMPT, [*PROMPT[:3], 50], [60, 61]):
        fresh = list(TransformersEngine(model, []).stream(prompt, GREEDY))
        assert list(engine.stream(prompt, GREEDY)) == fresh


def test_what_is_known_of_a_prompt_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    engine = TransformersEngine(model, [])
    answer = list(engine.stream(PROMPT, GREEDY))
    widths: list[int] = []
    model.register_forward_pre_hook(lambda _m, _a, given: widths.append(given["input_ids"].shape[1]), with_kwargs=True)
    list(engine.stream([*PROMPT, *answer, 9, 9], Sampling(max_new_tokens=2)))
    assert widths == [3, 1]  # the answer's last token was never read; then two new ones


def test_an_answer_that_was_broken_off_leaves_nothing_behind() -> None:
    model = tiny()
    engine = TransformersEngine(model, [])
    stream = engine.stream(PROMPT, GREEDY)
    next(stream)
    stream.close()
    assert list(engine.stream(PROMPT, GREEDY)) == list(TransformersEngine(model, []).stream(PROMPT, GREEDY))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    hook = model.model.layers[1].register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(engine.stream([*PROMPT, 4], GREEDY))
    hook.remove()
    fresh = list(TransformersEngine(model, []).stream([*PROMPT, 4], GREEDY))
    assert list(engine.stream([*PROMPT, 4], GREEDY)) == fresh


def test_new_weights_answer_at_once_under_their_version() -> None:
    old, new = tiny(0), tiny(1)
    livelier(new)
    engine = TransformersEngine(old, [])
    before = list(engine.stream(PROMPT, GREEDY))
    engine.update(dict(new.named_parameters()), version=3)
    assert engine.version == 3
    after = list(engine.stream(PROMPT, GREEDY))
    assert after == list(TransformersEngine(new, []).stream(PROMPT, GREEDY))
    assert after != before


def test_an_update_that_does_not_fit_changes_nothing() -> None:
    model = tiny()
    engine = TransformersEngine(model, [])
    good = "model.norm.weight"
    before = model.get_parameter(good).clone()
    changed = {good: torch.zeros_like(before)}
    with pytest.raises(OurFault) as unknown:
        engine.update({**changed, "model.nothing.weight": torch.zeros(1)}, version=1)
    with pytest.raises(OurFault) as shape:
        engine.update({**changed, "lm_head.weight": torch.zeros(1)}, version=1)
    assert (unknown.value.id, shape.value.id) == ("generation.unknown-weight", "generation.other-shape")
    assert torch.equal(model.get_parameter(good), before)
    assert engine.version == 0


def test_several_prompts_are_answered_in_order_as_alone() -> None:
    engine = TransformersEngine(tiny(), [])
    prompts = [PROMPT, [7, 8], [30, 31, 32, 33]]
    alone = [list(TransformersEngine(tiny(), []).stream(prompt, GREEDY)) for prompt in prompts]
    assert engine.generate(prompts, GREEDY) == alone


def test_what_cannot_be_answered_is_a_letter() -> None:
    engine = TransformersEngine(tiny(), [])
    for prompt, id in (([], "generation.empty-prompt"), ([4, 96], "generation.outside-vocabulary")):
        with pytest.raises(InputError) as caught:
            list(engine.stream(prompt, GREEDY))
        assert caught.value.id == id
    broken = tiny()
    with torch.no_grad():
        broken.model.norm.weight.fill_(float("nan"))
    with pytest.raises(InputError) as caught:
        list(TransformersEngine(broken, []).stream(PROMPT, GREEDY))
    assert caught.value.id == "generation.not-finite"


def test_answering_leaves_a_model_in_training_as_it_was() -> None:
    model = tiny().train()
    list(TransformersEngine(model, []).stream(PROMPT, GREEDY))
    assert model.training


def test_rows_of_the_head_that_are_no_tokens_are_never_drawn() -> None:
    model = tiny()
    with torch.no_grad():
        model.lm_head.weight[:90] = 0  # nothing that is a token has anything for it
    assert max(TransformersEngine(model, ()).generate([PROMPT], GREEDY)[0]) >= 90
    for asked in (GREEDY, Sampling(max_new_tokens=12, seed=3)):
        assert max(TransformersEngine(model, (), tokens=90).generate([PROMPT], asked)[0]) < 90
