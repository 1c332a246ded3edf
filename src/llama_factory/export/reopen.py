"""Open an exported folder as a stranger would, and say what it answers.

Run as `python -I reopen.py FOLDER QUESTIONS.json ANSWERS`, never imported: it must not lean on anything of this
project. In: token ids and messages as JSON. Out: `ANSWERS.safetensors` with float32 logits for each list of
ids, `ANSWERS.json` with what loading and the tokenizer said. The weights keep the values that are in the files;
only the arithmetic is in float32, so that the comparison sees the files and not the rounding of activations.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(folder: str, questions: str, answers: str) -> None:
    asked = json.loads(Path(questions).read_text("utf-8"))
    code = {"trust_remote_code": True} if asked["trust_remote_code"] else {}
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, output_loading_info=True, **code
    )
    model.eval()
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    said = {
        "missing": sorted(info["missing_keys"]),
        "mismatched": sorted(str(item[0]) for item in info["mismatched_keys"]),
        "tied": head is not None and head.weight is embedding.weight,
    }
    with torch.inference_mode():
        logits = {
            str(number): model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float().contiguous()
            for number, ids in enumerate(asked["ids"])
        }
    save_file(logits, f"{answers}.safetensors")
    if asked["messages"]:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **code)
        said["prompts"] = [
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
            for messages in asked["messages"]
        ]
    Path(f"{answers}.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
