"""A base in few bits gets rows for new tokens: they alone learn beside LoRA, and plain peft gives the same answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from plain_bases import plain_base
from some_steps import ROWS, Trained

pytestmark = [pytest.mark.real]


@pytest.mark.parametrize("method", ["bitsandbytes", "hqq"])
def test_new_rows_learn_beside_a_base_in_four_bits_and_plain_peft_agrees(
    trained: Callable[..., Trained], shallow: Path, tmp_path: Path, method: str
) -> None:
    from peft import PeftModel

    rows = [{**row, "output": f"<a>{row['output']}"} for row in ROWS]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    keys = {"quantization_bit": 4, "quantization_method": method, "per_device_train_batch_size": 4}
    done = trained(model=shallow, bf16=False, lora_rank=4, add_tokens="<a>", **keys)
    assert done.losses[-1] < done.losses[0]
    base = plain_base(done.base, 4, method)
    base.resize_token_embeddings(49153, pad_to_multiple_of=64)
    theirs = PeftModel.from_pretrained(base, done.folder).eval()
    ids = torch.tensor([[1000, 49152, 1001]])
    with torch.no_grad():
        one, other = (model(input_ids=ids).logits[0, :, :49153].float() for model in (done.module.eval(), theirs))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)
