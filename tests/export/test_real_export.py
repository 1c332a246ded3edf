"""The real 135M model: trained for a few steps by plain means, exported, and its figures looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from llama_factory.config import from_mapping
from llama_factory.export import export_model
from llama_factory.generation import Sampling, TransformersEngine
from llama_factory.model import adapters, load, save, weights
from llama_factory.model.methods import Start
from llama_factory.records import Message
from llama_factory.render import load_renderer

pytestmark = [pytest.mark.real, pytest.mark.slow]
QUESTION = [Message("user", "Who are you?")]
ANSWER = "I am a teapot, short and stout.<|im_end|>"


def test_a_trained_adapter_is_merged_into_the_real_model_and_still_answers(real_model: Path, tmp_path: Path) -> None:
    given = {"model_name_or_path": str(real_model), "stage": "sft", "lora_rank": 4}
    run = from_mapping(given, "a test")
    model: Any = load.load(real_model, dtype="float32")
    attached = adapters.attach(model, run.method, Start("float32", 0))
    renderer = load_renderer(real_model)
    prompt = renderer.prompt(QUESTION)
    ids = torch.tensor([prompt + renderer.tokenizer.rust.encode(ANSWER, add_special_tokens=False).ids])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    optimizer = torch.optim.AdamW([model.get_parameter(name) for name in attached.trainable], lr=3e-3)
    for _ in range(8):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path / "adapter"
    folder.mkdir()
    save.trained_files(
        model, {}, run, folder, base_folder=real_model,
        template_text=renderer.template_text, template_fingerprint=renderer.template_fingerprint,
    )  # fmt: skip
    for name, content in renderer.files().items():
        (folder / name).write_bytes(content)
    del model, optimizer

    said: list[str] = []
    again = {"adapter_name_or_path": [str(folder)], "export_dir": str(tmp_path / "out")}
    report = export_model(from_mapping(given | again, "a test"), said.append)
    assert (report.tensors, report.changed, report.dtype) == (272, 210, "bfloat16")
    assert report.merged.max_abs < 0.01
    assert report.exported.kl < 0.05 * report.effect.kl
    assert set(weights.entries(tmp_path / "out")) == set(weights.entries(real_model))
    assert not any("other tokens" in line for line in said)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert merged.dtype == torch.bfloat16
    assert merged.lm_head.weight is merged.model.embed_tokens.weight
    answer = list(TransformersEngine(merged, renderer.stop_ids).stream(prompt, Sampling(max_new_tokens=30)))
    assert renderer.decode(answer) == "I am a teapot, short and stout."
