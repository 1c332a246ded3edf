"""Keys that an adapter which is trained further does not heed are named; those that say what it is are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_adapters import LINEAR, edit, run_for, saved, trained_further

from llama_factory.model import adapters, fingerprint, going_on, load
from llama_factory.model import audit as model_audit
from llama_factory.model.locate import Folders
from llama_factory.model.methods import Start
from llama_factory.records import Finding

LORA = {"finetuning_type": "lora", "lora_rank": 4, "lora_target": "q_proj,down_proj"}
OFT = {"finetuning_type": "oft", "oft_block_size": 16}
TOKENS = {"finetuning_type": "p_tuning", "num_virtual_tokens": 3, "encoder_hidden_size": 8}


def made(base: Path, folder: Path, given: dict[str, Any]) -> Path:
    run = run_for(base, **given)
    module = adapters.attach(load.load(base, dtype="float32"), run.method, Start("float32", 1, False, base)).module
    return saved(module, run, folder, base)


def said(base: Path, folder: Path, given: dict[str, Any]) -> list[Finding]:
    run = run_for(base, adapter_name_or_path=str(folder), **given)
    return going_on.audit(run, Folders(base, (folder,), None))


HEEDED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the same again": (LORA, LORA),
    "nothing but the kind": (LORA, {}),
    "the default that was taken": (LORA, {"lora_alpha": 8, "use_dora": False, "additional_target": []}),
    "a pattern that means the same": (LORA, {"lora_target": r".*\.(q|down)_proj"}),
    "all": ({**LORA, "lora_target": "all"}, {"lora_target": "all"}),
    "all, named": ({**LORA, "lora_target": "all"}, {"lora_target": ",".join(LINEAR)}),
    "keys that stay at work": (LORA, {"loraplus_lr_ratio": 4.0, "lora_rank": 4}),
    "a whole module": ({**LORA, "additional_target": "norm"}, {"additional_target": "norm"}),
    "rotations": (OFT, OFT),
    "tokens": (TOKENS, TOKENS),
}  # fmt: skip


@pytest.mark.parametrize("name", HEEDED)
def test_keys_that_say_what_the_adapter_is_are_no_finding(tiny_model: Path, tmp_path: Path, name: str) -> None:
    of, given = HEEDED[name]
    assert said(tiny_model, made(tiny_model, tmp_path / "one", of), given) == []


IGNORED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another rank": (LORA, {"lora_rank": 8}, "`lora_rank: 8` (4)"),
    "the default, written down": (LORA, {"lora_target": "all"}, "`lora_target: all` (down_proj,q_proj)"),
    "other strength": (LORA, {"lora_alpha": 5, "use_rslora": True}, "`lora_alpha: 5` (8), `use_rslora: true` (false)"),
    "a layer more": (LORA, {"lora_target": "q_proj,up_proj,down_proj"}, "q_proj,up_proj,down_proj` (down_proj,q_proj)"),
    "no such layer": (LORA, {"lora_target": "q_prj"}, "`lora_target: q_prj`"),
    "lengths": (LORA, {"use_dora": True}, "`use_dora: true` (false)"),
    "a start": (LORA, {"pissa_init": True}, "`pissa_init: true` (false)"),
    "a whole module": (LORA, {"additional_target": "norm"}, "`additional_target: norm` (-)"),
    "dropout": (LORA, {"lora_dropout": 0.1}, "`lora_dropout: 0.1` (0.0)"),
    "blocks": (OFT, {**OFT, "oft_block_size": 8}, "`oft_block_size: 8` (16)"),
    "layers of rotations": (OFT, {**OFT, "oft_target": "q_proj"}, "`oft_target: q_proj`"),
    "more tokens": (TOKENS, {**TOKENS, "num_virtual_tokens": 5}, "`num_virtual_tokens: 5` (3)"),
}


@pytest.mark.parametrize("name", IGNORED)
def test_keys_that_it_does_not_heed_are_named_beside_its_own(tiny_model: Path, tmp_path: Path, name: str) -> None:
    of, given, words = IGNORED[name]
    (found,) = said(tiny_model, made(tiny_model, tmp_path / "one", of), given)
    assert (found.id, found.severity) == ("model.adapter-keeps-its-own", "warning")
    assert words in found.values["keys"]


def test_layers_are_compared_without_torch_where_the_files_tell(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tiny_model, tmp_path / "one", LORA)
    monkeypatch.setattr(load, "skeleton", lambda *given, **named: pytest.fail("a model was built"))
    assert said(tiny_model, folder, LORA) == []


def test_names_that_the_files_do_not_know_are_asked_of_the_model(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tiny_model, tmp_path / "one", LORA)
    monkeypatch.setattr(model_audit, "plain_entries", lambda folder: [])
    assert said(tiny_model, folder, LORA) == []
    assert len(said(tiny_model, folder, {"lora_target": "q_proj"})) == 1


@pytest.mark.parametrize(("written", "id"), [("all-linear", None), ([".*q_proj"], "model.adapter-keeps-its-own")])
def test_targets_are_read_as_other_programs_write_them(
    tiny_model: Path, tmp_path: Path, written: Any, id: str | None
) -> None:
    folder = made(tiny_model, tmp_path / "one", LORA)
    edit(folder, target_modules=written)
    assert [one.id for one in said(tiny_model, folder, {"lora_target": "all"})] == ([] if id is None else [id])


def test_another_method_is_an_error_for_its_rules_would_not_be_kept(tiny_model: Path, tmp_path: Path) -> None:
    folder = made(tiny_model, tmp_path / "one", OFT)
    (found,) = said(tiny_model, folder, {"lora_rank": 2})
    assert (found.id, found.severity) == ("model.adapter-other-method", "error")
    assert dict(found.values) == {"found": "oft", "asked": "lora"}


def test_beside_a_new_adapter_the_keys_are_at_work(tiny_model: Path, tmp_path: Path) -> None:
    folder = made(tiny_model, tmp_path / "one", LORA)
    assert said(tiny_model, folder, {"lora_rank": 2, "create_new_adapter": True}) == []


def test_the_note_of_what_was_trained_further_says_what_it_is(tiny_model: Path, tmp_path: Path) -> None:
    first = made(tiny_model, tmp_path / "one", LORA)
    second = trained_further(first, tiny_model, tmp_path / "two", lora_rank=16)
    born = fingerprint.read(second)
    assert born is not None
    assert born.method["lora_rank"] == json.loads((second / adapters.ADAPTER_CONFIG).read_text())["r"] == 4
    assert sorted(born.method["lora_target"]) == ["down_proj", "q_proj"]
