"""About how much memory a step takes: counted by hand for a small model, and silent where the configuration is."""

from __future__ import annotations

from llama_factory.model import footprint

CONFIG = {
    "hidden_size": 8, "intermediate_size": 20, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 50,
}  # fmt: skip


def test_by_hand():
    kept = 10 * (6 * 8 + 2 * 4 + 2 * 20) + 4 * 10 * ((10 + 128) // 2)
    logits = 2 * 10 * 50
    assert footprint.activations(CONFIG, [10], 2, checkpointing=False) == 2 * (3 * kept + logits)
    assert footprint.activations(CONFIG, [10], 4, checkpointing=True) == 4 * (3 * 10 * 8 + kept + logits)


def test_a_model_that_sees_and_reads_is_counted_by_its_text_part():
    found = footprint.activations({"text_config": CONFIG, "hidden_size": 999}, [10, 5], 2, checkpointing=False)
    assert found == footprint.activations(CONFIG, [10, 5], 2, checkpointing=False)


def test_a_configuration_that_says_too_little_counts_nothing():
    for name in set(CONFIG) - {"num_key_value_heads"}:
        assert footprint.activations({**CONFIG, name: None}, [10], 2, checkpointing=False) == 0
    assert footprint.activations(CONFIG, [], 2, checkpointing=False) == 0
