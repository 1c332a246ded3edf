"""Where a setting comes from: the user, then the model, then the plainest value."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import GenerationConfig

from llama_factory.config import from_mapping
from llama_factory.generation import Sampling, sampling_from

OWN = GenerationConfig(do_sample=True, temperature=0.6, top_p=0.9, top_k=20, repetition_penalty=1.05, max_new_tokens=3)


def section(**given: Any) -> Any:
    return from_mapping({"model_name_or_path": "m", **given}, "a test").generation


def test_what_nobody_says_is_greedy_and_1024_tokens() -> None:
    assert sampling_from(section(), GenerationConfig()) == Sampling(do_sample=False, max_new_tokens=1024)


def test_what_the_user_leaves_out_the_model_decides_but_not_the_length() -> None:
    found = sampling_from(section(temperature=0.3), OWN)
    assert found == Sampling(True, 0.3, 0.9, 20, 1.05, 1024)


def test_false_is_something_the_user_said() -> None:
    assert sampling_from(section(do_sample=False), OWN).do_sample is False


@pytest.mark.parametrize("given", [{"temperature": 0.7}, {"top_p": 0.5}, {"top_k": 4}])
def test_asking_for_a_temperature_asks_for_sampling(given: dict[str, Any]) -> None:
    assert sampling_from(section(**given), GenerationConfig()).do_sample is True


def test_temperature_zero_takes_the_likeliest() -> None:
    found = sampling_from(section(temperature=0), OWN)
    assert (found.do_sample, found.temperature) == (False, 1.0)


def test_max_length_alone_limits_prompt_and_answer_together() -> None:
    found = sampling_from(section(max_length=300), OWN)
    assert (found.max_new_tokens, found.max_length) == (300, 300)
    both = sampling_from(section(max_length=300, max_new_tokens=50), OWN)
    assert (both.max_new_tokens, both.max_length) == (50, None)
