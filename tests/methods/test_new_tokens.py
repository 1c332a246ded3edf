"""New tokens on the real model: trained, saved, opened by plain libraries and by our own commands, and gone on from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from some_steps import ROWS, Trained
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from llama_factory.config import from_mapping
from llama_factory.errors import InputError
from llama_factory.export.flow import export_model
from llama_factory.model import adapters, load, vocabulary
from llama_factory.recipes.answering import answerer_of

Train = Callable[..., Trained]

pytestmark = [pytest.mark.slow, pytest.mark.real]

TOKENS = {"add_tokens": "<colour>,<step>", "add_special_tokens": "<done>", "per_device_train_batch_size": 8}
NEW, ROWS_NOW = (49152, 49153, 49154), 49216


@pytest.fixture
def taught(trained: Train, tmp_path: Path) -> Train:
    """`trained`, on rows that hold the new tokens."""
    rows = [{**row, "output": f"<colour> {row['output']}<step><done>"} for row in ROWS]

    def run(**keys: Any) -> Trained:
        (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        return trained(**{"bf16": False, **TOKENS, **keys})

    return run


@torch.no_grad()
def answers(module: nn.Module) -> Tensor:
    """Logits behind new tokens and old ones, of all that are tokens."""
    module.eval()
    found: Tensor = module(input_ids=torch.tensor([[1000, *NEW, 1001]])).logits[0].float()
    return found[:, : NEW[-1] + 1]


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def starts(base: Path) -> Tensor:
    """What a new row begins as: the mean of the old ones."""
    return load_file(base / "model.safetensors")["model.embed_tokens.weight"].float().mean(dim=0)


WHOLE: Mapping[str, dict[str, Any]] = {
    "full": {"finetuning_type": "full", "learning_rate": 1e-4},
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 1, "init_special_tokens": "noise_init"},
}


@pytest.mark.parametrize("keys", WHOLE.values(), ids=WHOLE)
def test_a_grown_model_is_the_same_in_plain_transformers(taught: Train, keys: dict[str, Any]) -> None:
    done = taught(**keys)
    assert done.losses[-1] < done.losses[0]
    theirs = AutoModelForCausalLM.from_pretrained(done.folder, dtype=torch.float32)
    assert theirs.config.vocab_size == ROWS_NOW == theirs.get_input_embeddings().weight.shape[0]
    assert theirs.get_output_embeddings().weight is theirs.get_input_embeddings().weight
    same(answers(theirs), answers(done.module))
    moved = theirs.get_input_embeddings().weight[list(NEW)] - starts(done.base)
    assert bool((moved.abs().amax(dim=1) > 0).all())
    assert AutoTokenizer.from_pretrained(done.folder)("a<colour> b<done>", add_special_tokens=False).input_ids[1:] == [
        NEW[0], *AutoTokenizer.from_pretrained(done.base)(" b", add_special_tokens=False).input_ids, NEW[2]
    ]  # fmt: skip


def test_an_adapter_with_new_rows_is_the_same_in_plain_peft_in_chat_and_exported(taught: Train, tmp_path: Path) -> None:
    done = taught(lora_rank=4)
    assert done.losses[-1] < done.losses[0]
    held = load_file(done.folder / adapters.ADAPTER_WEIGHTS)
    rows = held["base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"]
    assert rows.shape[0] == len(NEW)
    assert bool(((rows - starts(done.base)).abs().amax(dim=1) > 0).all())  # each of them has learned

    tokenizer = AutoTokenizer.from_pretrained(done.folder)
    plain = AutoModelForCausalLM.from_pretrained(done.base, dtype=torch.float32)
    plain.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64)
    same(answers(PeftModel.from_pretrained(plain, done.folder)), answers(done.module))

    asked = {"model_name_or_path": str(done.base), "adapter_name_or_path": str(done.folder), "infer_dtype": "float32"}
    answerer = answerer_of(from_mapping(asked, "this test"), lambda line: None, "en")
    same(answers(answerer.engine._model), answers(done.module))

    export_model(from_mapping({**asked, "export_dir": "merged"}, "this test"), lambda line: None)
    merged = AutoModelForCausalLM.from_pretrained("merged", dtype=torch.float32)
    assert merged.config.vocab_size == ROWS_NOW
    same(answers(merged), answers(done.module))
    assert AutoTokenizer.from_pretrained("merged").convert_tokens_to_ids("<done>") == NEW[2]

    ungrown = load.load(done.base, dtype="float32")
    with pytest.raises(InputError, match=r"49216 rows.*49152"):
        adapters.open(ungrown, done.folder, done.base)

    further = taught(lora_rank=4, adapter_name_or_path=str(done.folder), output_dir="further")
    assert further.losses[0] < done.losses[0]
    same_base = replace(done, folder=further.folder)
    grown = load.load(done.base, dtype="float32", grown=vocabulary.for_use([same_base.folder]))
    same(answers(adapters.open(grown, same_base.folder, done.base).module), answers(further.module))
    with pytest.raises(InputError, match="keeps the vocabulary"):
        taught(lora_rank=4, adapter_name_or_path=str(done.folder), output_dir="other", add_tokens="<more>")


@pytest.mark.parametrize("kind", ["lora", "full", "freeze"])
def test_a_run_with_new_tokens_that_was_broken_off_goes_on_to_the_bit(
    taught: Train, tiny_model: Path, kind: str
) -> None:
    keys = {"finetuning_type": kind, "learning_rate": 1e-3, "save_steps": 2, "save_strategy": "steps"}
    keys |= {"lora_rank": 2, "lr_scheduler_type": "constant", "model": tiny_model}  # its checkpoints are small
    keys |= {"freeze_trainable_layers": 1} if kind == "freeze" else {}
    whole = taught(**keys, max_steps=4, output_dir="whole")
    taught(**keys, max_steps=2, output_dir="parts")
    again = taught(**keys, max_steps=4, output_dir="parts", resume_from_checkpoint=True)
    assert len(again.losses) == 4
    ids = torch.tensor([[5, 600, 601, 602, 9]])
    with torch.no_grad():
        assert torch.equal(again.module.eval()(ids).logits, whole.module.eval()(ids).logits)


def test_the_best_weights_are_the_result_and_are_put_back_with_their_new_rows(taught: Train, tiny_model: Path) -> None:
    keys = {"val_size": 1, "eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True}
    keys |= {"model": tiny_model, "per_device_train_batch_size": 7, "lr_scheduler_type": "constant"}
    done = taught(**keys, learning_rate=0.9)  # each step is worse than the one before
    base = load.load(tiny_model, dtype="float32", grown=vocabulary.for_use([done.folder]))
    best = adapters.open(base, done.folder, tiny_model).module.eval()
    ids = torch.tensor([[5, 600, 601, 602, 9]])
    with torch.no_grad():
        last = done.module.eval()(ids).logits
        adapters.put_back(done.module, done.folder)
        now, expected = done.module(ids).logits, best(ids).logits
    assert not torch.allclose(last, expected)
    torch.testing.assert_close(now, expected, rtol=1e-4, atol=1e-4)
