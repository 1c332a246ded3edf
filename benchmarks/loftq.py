"""How much nearer LoftQ begins to the model as published, and what further rounds of it would bring.

    PYTHONPATH=src:$(python scripts/fetch_quantisers.py --where) python benchmarks/loftq.py [MODEL]

In: a model's folder (models/SmolLM2-135M-Instruct) and the first 700 tokens of this repository's LICENSE. Out: lines,
and benchmarks/results/loftq.json: for each width of the base the loss, and the divergence from the model as published,
of LoRA that begins with nothing and with LoftQ in two ranks; then, for single layers, how far the weight is from what
stands for it after each of five rounds (the paper's algorithm 1; `loftq_init` makes one). Nothing is trained. Some
minutes on one core; nothing here is a time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llama_factory.config import from_mapping
from llama_factory.model import adapters, load, weights
from llama_factory.model.fingerprint import versions
from llama_factory.model.methods import Start
from llama_factory.model.methods.directions import strongest
from llama_factory.model.quantised import guards
from llama_factory.model.quantised.asked import asked_by

ROOT = Path(__file__).resolve().parents[1]
WIDTHS: dict[str, dict[str, Any]] = {
    "nf4": {"quantization_bit": 4}, "hqq 3": {"quantization_bit": 3}, "hqq 2": {"quantization_bit": 2}
}  # fmt: skip
STARTS: dict[str, dict[str, Any]] = {
    "qlora": {"loftq_init": False}, "loftq, rank 8": {"lora_rank": 8}, "loftq, rank 64": {"lora_rank": 64}
}  # fmt: skip
LAYERS = ("model.layers.3.self_attn.q_proj", "model.layers.12.mlp.up_proj", "model.layers.20.mlp.down_proj")


@torch.no_grad()
def logprobs(model: nn.Module, ids_NT: Tensor) -> Tensor:
    found: Tensor = model.eval()(input_ids=ids_NT).logits[0].float().log_softmax(-1)
    return found


def begun(folder: Path, **keys: Any) -> adapters.Attached:
    run = from_mapping({"model_name_or_path": str(folder), "loftq_init": True, **keys}, "here")
    model = load.load(folder, dtype="float32", quantise=asked_by(run))
    guards.keep_gradients(model)
    return adapters.attach(model, run.method, Start("float32", 0, False, folder))


def starts(folder: Path) -> list[dict[str, Any]]:
    from transformers import AutoTokenizer

    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    ids_NT = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"][:, :700]
    published_TV = logprobs(load.load(folder, dtype="float32"), ids_NT)

    def seen(found_TV: Tensor) -> dict[str, float]:
        loss = -found_TV[:-1].gather(1, ids_NT[0, 1:, None]).mean()
        return {"loss": float(loss), "kl": float((published_TV.exp() * (published_TV - found_TV)).sum(-1).mean())}

    rows: list[dict[str, Any]] = [{"base": "as published", "start": "-", **seen(published_TV)}]
    for base, width in WIDTHS.items():
        for start, keys in STARTS.items():
            done = begun(folder, **width, **keys)
            told = {
                key: value for one in done.said if one.id == "model.loftq-begun" for key, value in one.values.items()
            }
            rows.append({"base": base, "start": start, **seen(logprobs(done.module, ids_NT)), **told})
            print(rows[-1], flush=True)
    return rows


def rounds(folder: Path) -> dict[str, list[float]]:
    """By layer, in nf4 and rank 8: the distance as a share of the weight's length without LoRA and after each round."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    found = {}
    for key, value in weights.read(folder):
        if key.removesuffix(".weight") in LAYERS:
            weight, change, shares = value.float(), torch.zeros_like(value, dtype=torch.float32), []
            for number in range(5):
                near = dequantize_4bit(
                    *quantize_4bit(weight - change, quant_type="nf4", compress_statistics=True)
                ).float()
                if number == 0:
                    shares.append(float((weight - near).norm() / weight.norm()))
                left, right = strongest(weight - near, 8, 8, torch.Generator().manual_seed(0), key="")
                change = left @ right
                shares.append(float((weight - near - change).norm() / weight.norm()))
            found[key] = shares
            print(key, [f"{share:.4f}" for share in shares])
    return found


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "models" / "SmolLM2-135M-Instruct")
    result = {"model": folder.name, "versions": versions(), "starts": starts(folder), "rounds": rounds(folder)}
    file = ROOT / "benchmarks" / "results" / "loftq.json"
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
