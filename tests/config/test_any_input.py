"""Whatever stands in a configuration: it is a run that says itself again, or a letter. Nothing else, ever."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from llama_factory.config import Run, from_mapping, load
from llama_factory.config.gather import known_names
from llama_factory.config.keys import leaves
from llama_factory.errors import LlamaFactoryError

BUILT = tuple(leaves(Run))
quiet = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["", "no", "null", "1e-5", "1e999", "all", "a,b", ",", "~", "nan", "-1", "0", "٣", "1_0", "\ud800"]
    ),
    st.sampled_from([word for leaf in leaves(Run).values() for word in leaf.reader.text.split(" | ")]),
    st.binary(max_size=4),
    st.complex_numbers(),
    st.fractions(),
    st.just(object()),
    st.just(Path("somewhere/else")),
    st.just(10**400),
)
odd_keys = st.sampled_from([1, None, ("a",), "enabled", "seed", "stage"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | odd_keys, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(known_names()) | st.sampled_from(BUILT) | st.text(max_size=12)


def again(run: Run) -> None:
    """Said again in Python, in YAML and in JSON, it is the same run, and nothing in it is not JSON."""
    said = run.resolved()
    assert from_mapping(said, "again").resolved() == said
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert yaml.safe_load(run.resolved_yaml()) == said


def letters_of(error: LlamaFactoryError) -> None:
    assert error.exit_code == 2
    for language in ("en", "zh"):
        text = error.letter(language)
        text.encode("utf-8")
        assert "\x1b" not in text


@quiet
@given(st.dictionaries(names, values, max_size=5))
def test_any_mapping_is_a_run_that_says_itself_again_or_a_letter(mapping: dict[Any, Any]) -> None:
    try:
        run = from_mapping(mapping, "here")
    except LlamaFactoryError as error:
        event("refused")
        letters_of(error)
    else:
        event("accepted")
        again(run)


@pytest.mark.parametrize("key", BUILT)
def test_any_value_of_a_key_is_accepted_or_refused_by_its_reader(key: str) -> None:
    leaf = leaves(Run)[key]
    own = [one for word in leaf.reader.text.split(" | ") for one in (word, word.split(",")[0])]
    seen = {"accepted": 0, "refused": 0}

    def try_one(value: Any) -> None:
        try:
            run = from_mapping({key: value}, "here")
        except LlamaFactoryError as error:
            seen["refused"] += 1
            letters_of(error)
        else:
            seen["accepted"] += 1
            again(run)

    settings(quiet, max_examples=25)(given(values | st.sampled_from([0.5, 3, *own]))(try_one))()
    for value in (leaf.default, object()):
        try_one(value)
    assert min(seen.values()) > 0


@quiet
@given(
    text=st.text(max_size=200)
    | st.lists(st.sampled_from("a: b\n-[]{}&*!|>'\"%@`#,?\tseed: 1\n"), max_size=60).map("".join)
)
@pytest.mark.parametrize("name", ["run.yaml", "run.json"])
def test_any_text_in_a_file_is_a_run_or_a_letter(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load(path)
    except LlamaFactoryError as error:
        letters_of(error)


@quiet
@given(data=st.binary(max_size=80))
@pytest.mark.parametrize("name", ["run.yaml", "run.json"])
def test_any_bytes_in_a_file_are_a_run_or_a_letter(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    try:
        load(path)
    except LlamaFactoryError as error:
        letters_of(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@quiet
@given(mapping=st.dictionaries(names, json_values, max_size=5), indent=st.sampled_from([None, 1, "\t"]))
def test_a_json_file_and_the_same_mapping_agree(tmp_path: Path, mapping: dict[str, Any], indent: Any) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(mapping, indent=indent), encoding="utf-8")
    results = []
    for make in (lambda: load(path), lambda: from_mapping(mapping, "x")):
        try:
            results.append(make().resolved())
        except LlamaFactoryError as error:
            results.append(sorted(one.id for one in getattr(error, "errors", [error])))
    assert results[0] == results[1]


@quiet
@given(
    st.lists(
        st.text(max_size=10) | st.sampled_from([*BUILT, "--seed", "seed=1", "--do_train", "a.b=c", "--"]), max_size=6
    )
)
def test_any_words_are_a_run_or_a_letter(given_words: list[str]) -> None:
    try:
        again(load(None, given_words))
    except LlamaFactoryError as error:
        letters_of(error)


@quiet
@given(st.floats(min_value=1e-12, max_value=0.99))
def test_every_learning_rate_survives_the_way_through_yaml(rate: float) -> None:
    for text in (repr(rate), f"{rate:.17g}", f"{rate:.17e}"):
        assert math.isclose(load(None, [f"learning_rate={text}"]).training.optimizer.learning_rate, rate, rel_tol=1e-15)


@quiet
@given(text=st.text(max_size=40), names=st.lists(st.text(min_size=1, max_size=8), max_size=3))
def test_a_resolved_configuration_loads_again_from_its_file(tmp_path: Path, text: str, names: list[str]) -> None:
    path = tmp_path / "resolved_config.yaml"
    try:
        run = from_mapping({"default_system": text, "dataset": names, "lora_target": names, "lora_rank": 4}, "here")
    except LlamaFactoryError as error:
        letters_of(error)
        return
    path.write_text(run.resolved_yaml(), encoding="utf-8")
    assert load(path).resolved() == run.resolved() == yaml.safe_load(run.resolved_yaml())
