"""Rows for new tokens: where they begin, how many there are, and what is refused before weights are loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from test_adapters import run_for, shaken

from llama_factory.errors import InputError, LlamaFactoryError, MachineError, ProofError
from llama_factory.export import merge
from llama_factory.model import adapters, load, save, vocabulary
from llama_factory.model.locate import Folders
from llama_factory.model.methods import Start
from llama_factory.model.vocabulary import Growth
from llama_factory.render import load_renderer
from llama_factory.render.growing import asked_of
from llama_factory.testing import tiny

OWN = 600


def growth_of(model: Path, **given: Any) -> Growth | None:
    run = run_for(model, **given)
    new = asked_of(run) if run.model.vocabulary.names_tokens else None
    return vocabulary.for_training(run, Folders(model, (), model), load_renderer(model, new=new))


def with_rows(model: Path, folder: Path, rows: int) -> Path:
    """The same with so many rows in its embedding and head."""
    shutil.copytree(model, folder)
    wider = load.load(model, dtype="float32")
    wider.resize_token_embeddings(rows, mean_resizing=False)  # type: ignore[operator]
    wider.save_pretrained(folder)  # type: ignore[operator]
    return folder


def test_it_grows_to_a_multiple_of_64_and_new_rows_are_the_mean(tiny_model: Path) -> None:
    growth = growth_of(tiny_model, add_tokens="<a>,<b>")
    assert growth == Growth(OWN, 640, OWN, {"<a>": OWN, "<b>": OWN + 1}, {}, False, 42)
    assert vocabulary.said(growth).values["padding"] == 38
    model: Any = load.load(tiny_model, dtype="float32", grown=growth)
    before: Any = load.load(tiny_model, dtype="float32")
    assert model.config.vocab_size == 640
    for part in ("get_input_embeddings", "get_output_embeddings"):
        now, was = getattr(model, part)().weight, getattr(before, part)().weight
        assert now.shape == (640, 32)
        assert torch.equal(now[:OWN], was)
        torch.testing.assert_close(now[OWN:], was.mean(dim=0).expand(40, -1))
    ids = torch.tensor([[5, 9, 77]])
    torch.testing.assert_close(model(ids).logits[..., :OWN], before(ids).logits)


def test_rows_that_only_fill_up_are_never_likelier_than_a_token_on_average(tiny_model: Path) -> None:
    model: Any = load.load(tiny_model, dtype="float32", grown=growth_of(tiny_model, add_tokens="<a>"))
    logits = model(torch.tensor([[5, 9, 77, 300]])).logits[0]
    share = torch.log_softmax(logits.double(), dim=-1)[:, OWN:]
    assert bool((share.exp() <= 1 / OWN).all())


def test_a_row_begins_from_its_description_with_or_without_noise(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text("<step>: a step of a proof\n<end>: the end\n", encoding="utf-8")
    given = {"new_special_tokens_config": str(file), "add_tokens": "<plain>"}
    plain, noisy = (
        growth_of(tiny_model, **given),
        growth_of(tiny_model, **given, init_special_tokens="desc_init_w_noise"),
    )
    assert plain is not None
    assert noisy is not None
    assert list(plain.ids) == ["<plain>", "<step>", "<end>"]
    words = load_renderer(tiny_model).tokenizer.rust.encode("a step of a proof", add_special_tokens=False).ids
    assert plain.described["<step>"] == words
    own = load.load(tiny_model, dtype="float32").get_output_embeddings().weight  # type: ignore[operator]
    found = [load.load(tiny_model, dtype="float32", grown=one) for one in (plain, noisy, noisy)]
    exact, shaken, again = (one.get_output_embeddings().weight for one in found)  # type: ignore[operator]
    torch.testing.assert_close(exact[plain.ids["<step>"]], own[words].mean(dim=0))
    torch.testing.assert_close(exact[plain.ids["<plain>"]], own.mean(dim=0))
    assert torch.equal(shaken, again)
    away = (shaken - exact)[plain.ids["<step>"]] / own.std(dim=0)
    assert 0 < float(away.detach().abs().max()) < 5 * vocabulary.NOISE


def test_spare_rows_are_taken_and_begin_anew(tiny_model: Path, tmp_path: Path) -> None:
    wide = with_rows(tiny_model, tmp_path / "wide", 610)
    growth = growth_of(wide, add_tokens="<a>,<b>", resize_vocab=False)
    assert growth == Growth(610, 610, OWN, {"<a>": OWN, "<b>": OWN + 1}, {}, False, 42)
    assert vocabulary.said(growth).id == "model.tokens-in-spare-rows"
    before: Any = load.load(wide, dtype="float32")
    model: Any = load.load(wide, dtype="float32", grown=growth)
    now, was = model.get_input_embeddings().weight, before.get_input_embeddings().weight
    torch.testing.assert_close(now[OWN : OWN + 2], was[:OWN].mean(dim=0).expand(2, -1))
    assert torch.equal(now[OWN + 2 :], was[OWN + 2 :])


def test_a_tokenizer_with_more_tokens_than_rows_is_aligned_when_asked(tiny_model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    narrow = tmp_path / "narrow"
    shutil.copytree(tiny_model, narrow)
    weights = load_file(narrow / "model.safetensors")
    cut = {key: value[:590].clone() if value.shape[0] == OWN else value for key, value in weights.items()}
    save_file(cut, narrow / "model.safetensors", metadata={"format": "pt"})
    said = json.loads((narrow / "config.json").read_text())
    (narrow / "config.json").write_text(json.dumps(said | {"vocab_size": 590}))
    assert growth_of(narrow) is None
    growth = growth_of(narrow, resize_vocab=True)
    assert growth is not None
    assert (growth.own, growth.rows, growth.known, len(growth.ids)) == (590, 640, 590, 10)
    assert load.load(narrow, dtype="float32", grown=growth).config.vocab_size == 640  # type: ignore[union-attr]
    assert growth_of(tiny_model, resize_vocab=True) is None  # never fewer, and no more than are needed
    with pytest.raises(LlamaFactoryError) as caught:
        growth_of(narrow, resize_vocab=True, finetuning_type="oft", oft_block_size=16)
    assert caught.value.id == "config.tokens-stay-frozen"


def test_tokens_that_do_not_fit_are_refused_where_growing_is_forbidden(tiny_model: Path) -> None:
    with pytest.raises(InputError) as caught:
        growth_of(tiny_model, add_tokens="<a>", resize_vocab=False)
    assert caught.value.id == "model.no-rows-for-tokens"
    assert "Write `resize_vocab: true`" in caught.value.letter()


def test_a_head_that_is_no_plain_layer_is_refused() -> None:
    model = tiny.tiny_model("phi")  # its head has a bias
    rows = model.get_input_embeddings().weight.shape[0]
    with pytest.raises(InputError) as caught:
        vocabulary.grow(model, Growth(rows, 64 * (rows // 64 + 1), rows, {"<a>": rows}))
    assert caught.value.id == "model.cannot-grow"


def test_memory_that_runs_out_is_not_taken_for_a_kind_of_model(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growth = growth_of(tiny_model, add_tokens="<a>")
    assert growth is not None
    model = load.load(tiny_model, dtype="float32")

    def full(**given: Any) -> None:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(model, "forward", full)
    with pytest.raises(MachineError) as caught:
        vocabulary.grow(model, growth)
    assert caught.value.id == "model.no-memory"


def test_rows_that_would_not_learn_stop_the_run(tiny_model: Path) -> None:
    growth = growth_of(tiny_model, add_tokens="<a>")
    model = load.load(tiny_model, dtype="float32", grown=growth)
    vocabulary.require_learning(model, growth)
    model.get_output_embeddings().requires_grad_(False)  # type: ignore[operator]
    with pytest.raises(ProofError) as caught:
        vocabulary.require_learning(model, growth)
    assert (caught.value.id, caught.value.values["found"]) == ("model.new-rows-frozen", "head")


# ---- adapters


WAYS: dict[str, dict[str, Any]] = {
    "rows of both": {},
    "the embedding whole": {"additional_target": "embed_tokens"},
    "the head whole": {"additional_target": "lm_head"},
    "both whole": {"additional_target": "embed_tokens,lm_head"},
    "with lengths": {"use_dora": True},
}


def adapter_of(model: Path, folder: Path, growth: Growth, **given: Any) -> Any:
    """An adapter on the grown model, moved as training would, saved; the module as it is in memory."""
    run = run_for(model, finetuning_type="lora", lora_rank=4, **given)
    module = load.load(model, dtype="float32", grown=growth)
    start = Start("float32", 1, base_folder=model, new_ids=tuple(growth.sorted_ids))
    module = adapters.attach(module, run.method, start).module
    vocabulary.require_learning(module, growth)
    folder.mkdir()
    words = {"base_folder": model, "template_text": "t", "template_fingerprint": "f"}
    save.trained_files(module, shaken(module), run, folder, **words, grown=growth)
    return module


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=torch.tensor([[5, OWN, 9, OWN + 1, 77]])).logits[..., : OWN + 2]
    return found


@pytest.mark.parametrize("way", WAYS)
def test_an_adapter_with_new_rows_is_the_same_opened_in_plain_peft_and_merged(
    tiny_model: Path, tmp_path: Path, way: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    growth = growth_of(tiny_model, add_tokens="<a>,<b>")
    assert growth is not None
    module = adapter_of(tiny_model, tmp_path / "adapter", growth, **WAYS[way])
    assert vocabulary.for_use([tmp_path / "adapter"]) == growth
    ours = adapters.open(load.load(tiny_model, dtype="float32", grown=growth), tmp_path / "adapter", tiny_model).module
    torch.testing.assert_close(logits(ours), logits(module))
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    plain.resize_token_embeddings(OWN + 2, pad_to_multiple_of=64)
    torch.testing.assert_close(logits(PeftModel.from_pretrained(plain, tmp_path / "adapter")), logits(module))

    expected, found = logits(ours), merge.adapted(ours)
    assert not merge.is_zero(found)
    merge.merge(ours, found)
    torch.testing.assert_close(logits(ours), expected)
    shutil.copytree(tiny_model, tmp_path / "merged", ignore=shutil.ignore_patterns("*.safetensors"))
    dtypes = merge.dtypes_of(tiny_model, "float32")
    merge.write(ours, tiny_model, tmp_path / "merged", dtypes=dtypes, shard_bytes=10**9, grown=growth)
    vocabulary.say_so(tmp_path / "merged" / "config.json", growth)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    torch.testing.assert_close(logits(merged), expected)


def test_rows_beside_lora_on_the_same_module_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    growth = growth_of(tiny_model, add_tokens="<a>")
    assert growth is not None
    with pytest.raises(InputError) as caught:
        adapter_of(tiny_model, tmp_path / "adapter", growth, lora_target="q_proj,embed_tokens")
    assert caught.value.id == "model.tokens-and-lora"


def test_an_adapter_from_elsewhere_with_rows_that_the_base_has_is_opened(tiny_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [3]})
    theirs = get_peft_model(load.load(tiny_model, dtype="float32"), config)
    shaken(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = adapters.open(load.load(tiny_model, dtype="float32"), tmp_path / "theirs", tiny_model)
    with torch.no_grad():
        one, other = (model.eval()(torch.tensor([[5, 3, 9]])).logits for model in (ours.module, theirs))
    torch.testing.assert_close(one, other)


def test_adapters_with_new_rows_do_not_add_up(tiny_model: Path, tmp_path: Path) -> None:
    growth = growth_of(tiny_model, add_tokens="<a>,<b>")
    assert growth is not None
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        adapter_of(tiny_model, folder, growth)
    with pytest.raises(InputError) as caught:
        adapters.open(load.load(tiny_model, dtype="float32", grown=growth), folders, tiny_model)
    assert caught.value.id == "model.adapter-does-not-add"
