"""Write src/llama_factory/model/proven.json: which model types take which way, from `testing.prove`.

    python scripts/prove_models.py             every causal language model of the installed transformers
    python scripts/prove_models.py llama gpt2  these only; the others' lines stay

Each type is proven in a process of its own pool, with a time limit; a type that takes longer is not proven.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

from llama_factory.testing.sweep import as_entry, prove_all
from llama_factory.testing.tiny import NOT_ALONE, causal_types

TABLE = Path(__file__).parents[1] / "src" / "llama_factory" / "model" / "proven.json"


def main(asked: list[str]) -> int:
    types = json.loads(TABLE.read_text(encoding="utf-8"))["types"] if asked else {}
    for model_type, verdict in prove_all(asked or [it for it in causal_types() if it not in NOT_ALONE]):
        types[model_type] = as_entry(verdict.proof)
        way = verdict.proof.layouts[0].value if verdict.proof.layouts else "plain"
        print(f"{model_type:28} {way:8} {verdict.proof.why}", flush=True)
    for model_type, why in NOT_ALONE.items():
        types[model_type] = {"layouts": [], "why": f"not made from a tiny configuration: {why}"}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(types[name])}" for name in sorted(types))
    head = f'"transformers": "{version("transformers")}", "torch": "{version("torch").split("+")[0]}"'
    TABLE.write_text("{" + head + ', "types": {\n' + lines + "\n}}\n", encoding="utf-8")
    fast = sum(bool(entry["layouts"]) for entry in types.values())
    print(f"{fast} of {len(types)} types are proven")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
