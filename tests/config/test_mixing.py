"""Keys of what is learned and of mixtures: how they are written, and what they may not say together."""

from __future__ import annotations

import pytest

from llama_factory.config import from_mapping
from llama_factory.errors import InputError, SeveralErrors

TWO = {"dataset": "a,b"}


@pytest.mark.parametrize(
    ("written", "read"),
    [("0.25, 0.75", (0.25, 0.75)), ([0.25, "0.75"], (0.25, 0.75)), ("", ()), (None, ()), ((0.5, 0.5), (0.5, 0.5))],
)
def test_shares_may_be_a_list_or_a_text(written, read) -> None:
    run = from_mapping({**TWO, "mix_strategy": "interleave_under", "interleave_probs": written}, "test")
    assert run.data.mixing.interleave_probs == read
    assert from_mapping(run.resolved(), "again").resolved() == run.resolved()


@pytest.mark.parametrize("written", ["first_exhausted", "Interleave_Under"])
def test_a_strategy_may_be_called_as_the_field_does(written) -> None:
    assert from_mapping({**TWO, "mix_strategy": written}, "test").data.mixing.mix_strategy == "interleave_under"


@pytest.mark.parametrize(
    ("keys", "id"),
    [
        ({"train_on_prompt": True, "mask_history": True}, "config.two-ways-to-learn"),
        ({"packing": False, "neat_packing": True}, "config.two-packings"),
        ({**TWO, "interleave_probs": "0.5,0.5"}, "config.probs-without-interleaving"),
        ({**TWO, "mix_strategy": "interleave_over", "interleave_probs": "0.5"}, "config.probs-count"),
        ({**TWO, "mix_strategy": "interleave_over", "interleave_probs": "0.5,0.6"}, "config.probs-sum"),
        ({**TWO, "mix_strategy": "interleave_over", "interleave_probs": "1,0"}, "config.wrong-value"),
        ({**TWO, "mix_strategy": "interleave_over", "interleave_probs": "a,b"}, "config.wrong-value"),
        ({"mix_strategy": "shuffled"}, "config.wrong-value"),
        ({**TWO, "eval_on_each_dataset": True}, "config.no-validation-data"),
        (
            {**TWO, "val_size": 1, "do_eval": True, "early_stopping": True, "metric_for_best_model": "eval_a_loss"},
            "config.best-by-nothing",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(keys, id) -> None:
    with pytest.raises((InputError, SeveralErrors)) as caught:
        from_mapping(keys, "test")
    assert caught.value.id == id
    assert caught.value.letter("en") != caught.value.letter("zh")


STREAM = {"dataset": "a,b", "streaming": True, "max_steps": 10}


@pytest.mark.parametrize(
    ("keys", "id", "said"),
    [
        ({"max_steps": -1}, "config.stream-needs-steps", "max_steps: 1000"),
        ({"val_size": 0.1}, "config.stream-cannot", "val_size: 0.1"),
        ({"tokenized_path": "x"}, "config.stream-cannot", "tokenized_path"),
        ({"val_size": 3, "do_eval": True}, "config.stream-cannot", "eval_strategy: epoch"),
        ({"save_strategy": "epoch"}, "config.stream-cannot", "save_strategy: epoch"),
        ({"mix_strategy": "interleave_over", "disable_shuffling": True}, "config.stream-cannot", "disable_shuffling"),
        ({"val_size": 3, "eval_strategy": "steps", "eval_on_each_dataset": True}, "config.stream-cannot", "val_size"),
    ],
)
def test_what_a_stream_cannot_know_is_refused(keys, id, said) -> None:
    with pytest.raises(InputError) as caught:
        from_mapping({**STREAM, **keys}, "test")
    assert caught.value.id == id
    assert said in caught.value.letter("en")
    assert caught.value.letter("en") != caught.value.letter("zh")


def test_a_stream_may_be_mixed_packed_and_validated() -> None:
    keys = {"mix_strategy": "interleave_over", "packing": True, "val_size": 3, "eval_strategy": "steps"}
    assert not from_mapping({**STREAM, **keys}, "test").notices
    (notice,) = from_mapping({"dataset": "a", "buffer_size": 5}, "test").notices
    assert notice.id == "config.unused-key"


def test_a_strategy_for_one_data_set_is_worth_a_line() -> None:
    (notice,) = from_mapping({"dataset": "a", "mix_strategy": "interleave_over"}, "test").notices
    assert notice.id == "config.unused-key"


def test_the_best_may_be_the_best_of_one_data_set() -> None:
    keys = {**TWO, "val_size": 1, "eval_on_each_dataset": True, "early_stopping": True}
    run = from_mapping({**keys, "metric_for_best_model": "eval_b_loss"}, "test")
    assert run.evaluation.best.metric_for_best_model == "eval_b_loss"
    assert run.data.loss_names == {"a": "eval_a_loss", "b": "eval_b_loss"}


def test_every_data_set_has_a_loss_of_its_own_name() -> None:
    files = "x/rows.jsonl,y/rows.jsonl,some-name"
    run = from_mapping({"dataset": files, "val_size": 1, "do_eval": True, "eval_on_each_dataset": True}, "test")
    assert list(run.data.loss_names.values()) == ["eval_rows_loss", "eval_rows_2_loss", "eval_some_name_loss"]
