"""Each finding about new tokens has a planted case, and so has each refusal that `check` reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planting import Row, copy_of, good_rows, ids, require_found


def spelled(token: str, column: str = "response") -> list[Row]:
    return [{**row, column: f"{row[column]} {token}"} for row in good_rows()]


def test_new_tokens_that_the_rows_hold_are_a_note_and_nothing_else(checked) -> None:
    report = checked(spelled("<a>"), add_tokens="<a>")
    assert ids(report) == ["model.tokens-grown"]
    assert report.exit_code == 0
    assert report.summary["tokens"] < checked(spelled("<a>")).summary["tokens"]


def test_plan_and_checkpoints_count_the_new_rows(checked) -> None:
    for method in ({}, {"finetuning_type": "full"}, {"finetuning_type": "freeze", "freeze_trainable_layers": 1}):
        with_them, plain = (checked(learning_rate=1e-4, **method, **more) for more in ({"add_tokens": "<a>"}, {}))
        assert with_them.summary["checkpoint_bytes"] > plain.summary["checkpoint_bytes"]
        assert with_them.summary["planned_bytes"] > plain.summary["planned_bytes"]


PLANTED: dict[str, tuple[list[Row] | None, dict[str, Any], str]] = {
    "data.token-unused": (spelled("<a>"), {"add_tokens": "<a>,<b>"}, "warning"),
    "data.token-only-read": (spelled("<a>", "prompt"), {"add_tokens": "<a>"}, "note"),
    "render.token-known": (spelled("<a>"), {"add_tokens": "<a>,<|im_end|>"}, "note"),
    "model.tokens-grown": (spelled("<a>"), {"add_special_tokens": "<a>"}, "note"),
    "model.resize-not-needed": (None, {"resize_vocab": True}, "note"),
    "model.no-rows-for-tokens": (spelled("<a>"), {"add_tokens": "<a>", "resize_vocab": False}, "error"),
    "render.token-takes-control": (None, {"add_tokens": "x<|im_end|>"}, "error"),
    "render.token-in-template": (None, {"add_tokens": "assistant\n,<a>".split(",")}, "error"),
    "config.token-empty": (None, {"add_tokens": "<a>,,<b>"}, "error"),
    "config.no-descriptions": (None, {"add_tokens": "<a>", "init_special_tokens": "desc_init"}, "error"),
    "config.tokens-stay-frozen": (
        spelled("<a>"), {"add_tokens": "<a>", "finetuning_type": "full", "use_badam": True}, "error"
    ),
    "config.tokens-not-with": (spelled("<a>"), {"add_tokens": "<a>", "pissa_init": True}, "error"),
}  # fmt: skip


@pytest.mark.parametrize("id", [pytest.param(id, marks=pytest.mark.plants(id)) for id in PLANTED])
def test_what_is_planted_is_found(checked, id: str) -> None:
    rows, changes, severity = PLANTED[id]
    report = checked(rows, **changes)
    require_found(report, id, severity)
    assert report.exit_code == (2 if severity == "error" else 0)


def test_a_start_without_tokens_is_said_to_do_nothing(checked) -> None:
    assert "config.unused-key" in ids(checked(None, init_special_tokens="noise_init"), "note")


@pytest.mark.plants("model.tokens-in-spare-rows")
def test_spare_rows_that_are_taken_are_said(checked, tiny_model: Path, tmp_path: Path) -> None:
    base = copy_of(tiny_model, tmp_path / "wide", vocab_size=640)  # what the weights say is asked when they are loaded
    report = checked(spelled("<a>"), add_tokens="<a>", model_name_or_path=base)
    assert "model.tokens-in-spare-rows" in ids(report)


@pytest.mark.plants("config.descriptions-not-read")
def test_descriptions_that_noise_alone_passes_over_are_a_warning(checked, tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text("<a>: the first letter\n", encoding="utf-8")
    report = checked(spelled("<a>"), new_special_tokens_config=str(file), init_special_tokens="noise_init")
    assert "config.descriptions-not-read" in ids(report, "warning")


FILES = {
    "no text": ("<a>: [x]\n", "config.no-description"),
    "nothing": ("", "config.descriptions-empty"),
    "a list": ("- <a>\n", "config.not-mapping"),
    "twice": ("<a>: one\n<a>: two\n", "config.duplicate-key"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_of_descriptions_that_is_none_is_a_letter(checked, tmp_path: Path, what: str) -> None:
    text, id = FILES[what]
    file = tmp_path / "tokens.yaml"
    file.write_text(text, encoding="utf-8")
    assert ids(checked(None, new_special_tokens_config=str(file)), "error") == [id]


NEVER: dict[str, dict[str, Any]] = {
    "oft": {"finetuning_type": "oft"},
    "prompts": {"finetuning_type": "prompt_tuning"},
    "new blocks": {"finetuning_type": "freeze", "use_llama_pro": True, "llama_pro_blocks": 1},
    "loftq": {"loftq_init": True, "quantization_bit": 4},
    "kept layers": {"cache_frozen_layers": "true"},
    "on top": {"adapter_name_or_path": "somewhere", "create_new_adapter": True},
}


@pytest.mark.parametrize("what", NEVER)
def test_what_leaves_new_rows_as_they_began_is_refused_before_anything_is_opened(checked, what: str) -> None:
    report = checked(None, config_only=True, add_tokens="<a>", **NEVER[what])
    assert {"config.tokens-stay-frozen", "config.tokens-not-with"} & set(ids(report, "error"))


STEPS: dict[str, dict[str, Any]] = {
    "lora": {},
    "lora, anchored": {"use_asft_loss": True, "neftune_noise_alpha": 5, "lora_dropout": 0.1},
    "lora, packed": {"packing": True, "cutoff_len": 128},
    "full, anchored to a second copy": {"finetuning_type": "full", "use_asft_loss": True, "learning_rate": 1e-4},
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 1, "learning_rate": 1e-4},
}


@pytest.mark.parametrize("keys", STEPS.values(), ids=STEPS)
def test_the_step_of_check_trains_new_rows(checked, keys: dict[str, Any]) -> None:
    report = checked(spelled("<a>"), add_tokens="<a>", step=lambda stage: None, **keys)
    assert report.exit_code == 0, report.findings
    assert report.trial is not None
