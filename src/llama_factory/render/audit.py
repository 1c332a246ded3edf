"""Do the rendered rows teach the model to stop?

In: a `Renderer`, the last trained token of every row, where each row came from. Out: findings `render.*`. What was
found while the template was chosen stands in `renderer.notices`. Deliberately no reading of rows: `data` has done that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from llama_factory.records import Finding
from llama_factory.render.renderer import Renderer


def audit(renderer: Renderer, last_R: NDArray[np.int32], origin: Callable[[int], object]) -> list[Finding]:
    """last_R: the last token of every row that has a weight."""
    found: list[Finding] = []
    stops = renderer.stop_ids
    endless = np.flatnonzero(~np.isin(last_R, stops))
    shown = renderer.decode(stops[:1], skip_control=False)
    if endless.size:
        values = {"count": int(endless.size), "rows": int(last_R.size), "stop": shown}
        if endless.size == last_R.size:
            found.append(Finding("render.stop-never-trained", "error", str(origin(0)), values))
        else:
            found.append(Finding("render.stop-not-trained", "warning", str(origin(int(endless[0]))), values))
    if renderer.tokenizer.id_of("pad_token") in stops:
        pad = renderer.tokenizer.names["pad_token"]
        found.append(Finding("render.pad-is-stop", "note", str(renderer.tokenizer.folder), {"pad": pad}))
    if stops[0] not in renderer.end_ids:
        ends = " ".join(renderer.decode([id], skip_control=False) for id in renderer.end_ids) or "-"
        folder = str(renderer.tokenizer.folder)
        found.append(Finding("render.stop-not-in-config", "note", folder, {"stop": shown, "ends": ends}))
    return found
