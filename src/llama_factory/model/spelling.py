"""Places of tokens in config.json, spelled so that other programs read them too.

transformers 5 writes all of them into `rope_parameters`. Its version 4, and whatever reads as that did, looks for
`rope_theta`, `partial_rotary_factor` and `rope_scaling` beside each other, finds none, takes 10000 and no scaling, and
computes another model without a word. Here both are written, saying the same.

In: a config.json. Out: the same one with what is missing. Models that turn their layers in several ways have no such
second spelling, and are left as they are.
"""

from __future__ import annotations

import json
from pathlib import Path

BESIDE = ("rope_theta", "partial_rotary_factor")


def for_other_readers(file: Path) -> None:
    """Add the older spelling of `rope_parameters` where it is missing; nothing else in the file is touched."""
    said = json.loads(file.read_text("utf-8"))
    text = said.get("text_config", said)
    parameters = text.get("rope_parameters")
    if not isinstance(parameters, dict) or "rope_theta" not in parameters:
        return
    added = {key: parameters[key] for key in BESIDE if key in parameters and key not in text}
    if parameters.get("rope_type", "default") != "default" and not text.get("rope_scaling"):
        added["rope_scaling"] = {key: value for key, value in parameters.items() if key not in BESIDE}
    if added:
        text.update(added)
        file.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
