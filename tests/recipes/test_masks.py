"""From a file to the token store with the real renderer: in any format the mask is the words and stops to learn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llama_factory import data
from llama_factory.config import from_mapping
from llama_factory.render import load_renderer

QA = [("Wie geht's? 🙂", "Gut, danke!\n\nUnd dir?"), ("再问一次", "  第二个回答 ")]
SYSTEM = "Be kind."

Q1, A1, Q2, A2 = QA[0][0], QA[0][1], QA[1][0], QA[1][1]


FORMATS: dict[str, tuple[dict, dict | None, list[str]]] = {
    "alpaca": ({"instruction": Q1, "input": "", "output": A1}, None, [A1]),
    "alpaca with input, system and history": (
        {"instruction": "Now", "input": Q2, "output": A2, "system": SYSTEM, "history": [[Q1, A1]]},
        None,
        [A1, A2],
    ),
    "alpaca with renamed columns": (
        {"ask": Q1, "say": A1, "sys": SYSTEM},
        {"columns": {"prompt": "ask", "response": "say", "system": "sys"}},
        [A1],
    ),
    "openai messages": (
        {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": Q1},
                {"role": "assistant", "content": A1},
                {"role": "user", "content": Q2},
                {"role": "assistant", "content": A2},
            ]
        },
        None,
        [A1, A2],
    ),
    "sharegpt": (
        {
            "conversations": [
                {"from": "human", "value": Q1},
                {"from": "gpt", "value": A1},
                {"from": "human", "value": Q2},
                {"from": "gpt", "value": A2},
            ],
            "system": SYSTEM,
        },
        {"formatting": "sharegpt", "columns": {"messages": "conversations", "system": "system"}},
        [A1, A2],
    ),
    "sharegpt with the tags of the tutorial": (
        {"messages": [{"role": "user", "content": Q1}, {"role": "assistant", "content": A1}]},
        {
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        },
        [A1],
    ),
    "prompt and response": ({"prompt": Q1, "response": A1}, None, [A1]),
    "prompt and response as registered in the tutorial": (
        {"prompt": Q1, "response": A1},
        {"columns": {"prompt": "prompt", "response": "response"}},
        [A1],
    ),
}


def prepared(model: Path, folder: Path, row: dict, entry: dict | None) -> data.TokenStore:
    (folder / "rows.json").write_text(json.dumps([row, row], ensure_ascii=False), encoding="utf-8")
    info = {"mine": {"file_name": "rows.json", **(entry or {})}}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    keys = {"model_name_or_path": str(model), "dataset_dir": str(folder), "output_dir": "x"}
    keys["dataset"] = "mine" if entry is not None else str(folder / "rows.json")
    run = from_mapping(keys, "test")
    return data.prepare(run, load_renderer(model), cache=folder / "cache", say=lambda line: None).train


@pytest.mark.parametrize("name", FORMATS)
def test_the_mask_decodes_to_exactly_the_assistants_words_and_stop_tokens(tiny_model, tmp_path, name) -> None:
    row, entry, answers = FORMATS[name]
    renderer = load_renderer(tiny_model)
    store = prepared(tiny_model, tmp_path, row, entry)
    assert len(store) == 2
    stored = store.row(1)
    learned = renderer.decode(stored.ids_T[stored.weight_T > 0].tolist(), skip_control=False)
    assert learned == "".join(f"{answer}<|im_end|>" for answer in answers)
    whole = renderer.decode(stored.ids_T.tolist(), skip_control=False)
    assert Q1 in whole or Q2 in whole
    if SYSTEM in json.dumps(row):
        assert whole.startswith(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n")


def test_the_shipped_data_sets_are_all_learned_from_whole(tiny_model, tmp_path) -> None:
    folder = Path(__file__).parents[2] / "data"
    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    other_stages = ("text_", "notes_", "preference_", "ranking_", "kto_", "classify_")
    called = ("tools_", "sharegpt_tools_")  # the template of this model has no place for tools
    names = [name for name in info if not name.startswith((*other_stages, *called))]
    renderer = load_renderer(tiny_model)
    rows = 0
    for name in names:
        keys = {"model_name_or_path": str(tiny_model), "dataset_dir": str(folder), "dataset": name, "output_dir": "x"}
        store = data.prepare(
            from_mapping(keys, "test"), renderer, cache=tmp_path / "cache", say=lambda line: None
        ).train
        for number in range(len(store)):
            stored = store.row(number)
            learned = renderer.decode(stored.ids_T[stored.weight_T > 0].tolist(), skip_control=False)
            assert learned.endswith("<|im_end|>")
            rows += 1
    assert rows >= 200
    assert len(names) == 15
