"""What the layers below the lowest one that learns make of a row, kept from one epoch to the next.

In: a model some of whose first layers learn nothing, and rows. Out: the hidden states that these layers give for the
rows, computed once and read back from a file afterwards, and a backbone that begins above them.

    depth     the lowest layer that learns; 0 where something below it learns, draws random numbers or is hooked
    a row     is computed alone, always: what is kept then never depends on the rows beside it, so a run that was
              broken off and goes on without the file has the same numbers to the bit
    a file    without a name, gone with the process whatever ends it: nobody finds half of one. When it is full, or
              the disk is, further rows are computed anew each time, with the same numbers

Rows are known by their tokens, cut after the last one that predicts something: training rows, validation rows and
rows that occur twice need no numbering. It does not decide whether keeping pays, and compares nothing: `policy` does.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llama_factory.errors import OurFault
from llama_factory.model.layouts import Layout, Supervised, hidden_states
from llama_factory.model.swap import bare, same_but_for_rounding

PROBE = 3
"""Tokens of the row that `below` asks with."""


class _Reached(Exception):
    """Carries the hidden states out of the model's own forward; nothing above has to be computed."""

    def __init__(self, hidden: object) -> None:
        self.hidden = hidden


class _StandIn(nn.Module):
    """Stands in a layer's place for one forward; what the model asks of the layer beside calling it is the layer's."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.__dict__["_layer"] = layer  # not as a child: it keeps its own name in the model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_layer"], name)


class _Passes(_StandIn):
    """Gives on what it is given."""

    def __init__(self, layer: nn.Module, in_tuple: bool) -> None:
        super().__init__(layer)
        self.in_tuple = in_tuple

    def forward(self, hidden_states: Tensor, *args: Any, **given: Any) -> Any:
        return (hidden_states,) if self.in_tuple else hidden_states


class _Gives(_Passes):
    """Gives what was kept."""

    def __init__(self, layer: nn.Module, in_tuple: bool, hidden: Tensor) -> None:
        super().__init__(layer, in_tuple)
        self.hidden = hidden

    def forward(self, *args: Any, **given: Any) -> Any:
        return super().forward(self.hidden)


class _Leaves(_StandIn):
    """The layer itself, and the end of the forward."""

    def forward(self, *args: Any, **given: Any) -> Any:
        raise _Reached(self.__dict__["_layer"](*args, **given))


class RowFile:
    """Tensors of two axes by the digest of what they were made from, in a file that has no name.

    budget: bytes that the file may take. Reads and writes are copies, so its pages never count as ours.
    """

    def __init__(self, folder: Path, budget: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by `__exit__`
        self._budget, self._end = budget, 0
        self._places: dict[bytes, tuple[int, int]] = {}
        self._like: Tensor | None = None

    def put(self, key: bytes, value_TD: Tensor) -> None:
        """Keep it, as long as there is room."""
        if self._like is None:
            self._like = value_TD.detach().new_empty(0, value_TD.shape[1], device="cpu")
        data = _bytes(value_TD.detach().cpu().contiguous())
        if self._end + len(data) > self._budget:
            return
        try:
            for start in range(0, len(data), 1 << 30):  # one call writes two gigabytes at most
                part = data[start : start + (1 << 30)]
                if os.pwrite(self._file.fileno(), part, self._end + start) != len(part):
                    raise OSError("the disk is full")
        except OSError:
            self._budget = self._end
            return
        self._places[key] = self._end, len(value_TD)
        self._end += len(data)

    def get(self, key: bytes) -> Tensor | None:
        """What was kept under this key; None for what was not."""
        if key not in self._places or self._like is None:
            return None
        start, length = self._places[key]
        found_TD = self._like.new_empty(length, self._like.shape[1])
        data = _bytes(found_TD)
        done = 0
        while done < len(data):
            read = os.preadv(self._file.fileno(), [data[done : done + (1 << 30)]], start + done)
            if not read:
                raise OSError(f"{len(data)} bytes were kept, {done} are there")
            done += read
        return found_TD

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *trouble: object) -> None:
        self._file.close()


def _bytes(value: Tensor) -> memoryview:
    """The tensor's own memory."""
    return value.view(torch.uint8).numpy().data.cast("B")


class FrozenLayers:
    """The first `depth` layers of a model, which learn nothing, and what they made of rows."""

    def __init__(
        self, backbone: nn.Module, layers: nn.ModuleList, depth: int, layout: Layout, also: tuple[str, ...]
    ) -> None:
        """layout: how a row alone is laid. also: inputs beside ids, as `layouts.hidden_states` takes them."""
        self.backbone, self.layout, self.also = backbone, layout, also
        self._layers, self.depth = layers, depth
        self._file: RowFile | None = None
        self._in_tuple = False
        self.all_read = False

    def keep_in(self, file: RowFile | None) -> None:
        """From now on, rows go into this file and come out of it; None: every row is computed each time."""
        self._file = file

    def enter(self, rows: Supervised) -> tuple[Callable[..., Any], Supervised]:
        """A backbone that begins above these layers, and the rows to lay before it, places in place of tokens."""
        hidden_TD = self.hidden(rows)

        def backbone(input_ids: Tensor, **given: Any) -> Any:
            with self._replaced(lambda at, layer: self._given(at, layer, hidden_TD[input_ids])):
                return self.backbone(input_ids=rows.ids_T[input_ids], **given)

        return backbone, replace(rows, ids_T=torch.arange(len(rows.ids_T), device=rows.ids_T.device))

    def hidden(self, rows: Supervised) -> Tensor:
        """The hidden states (T, D) above these layers of all tokens; `all_read` then says if none was computed."""
        parts, self.all_read = [], self._file is not None
        for ids_T in torch.split(rows.ids_T, list(rows.lengths_R)):
            key = hashlib.blake2b(ids_T.cpu().numpy().tobytes(), digest_size=16).digest()
            hidden_TD = self._file.get(key) if self._file else None
            if hidden_TD is None:
                with torch.no_grad():
                    hidden_TD, self.all_read = self.compute(ids_T), False
                if self._file:
                    self._file.put(key, hidden_TD)
            parts.append(hidden_TD.to(ids_T.device))
        return torch.cat(parts)

    def compute(self, ids_T: Tensor) -> Tensor:
        """The same (T, D) of one row, which lies alone."""
        none = torch.zeros(0, dtype=torch.long, device=ids_T.device)
        row = Supervised(ids_T, (len(ids_T),), 0, none, none, none)
        try:
            with self._replaced(self._leaving):
                hidden_states(self.layout, self.backbone, row, self.also)
        except _Reached as reached:
            found = reached.hidden
            self._in_tuple = isinstance(found, tuple)
            hidden_1TD, *more = found if isinstance(found, tuple) else (found,)
            if isinstance(hidden_1TD, Tensor) and hidden_1TD.shape[:-1] == (1, len(ids_T)) and not any(more):
                return hidden_1TD[0]
        raise OurFault("model.nothing-below", type=type(self.backbone).__name__)

    def _leaving(self, at: int, layer: nn.Module) -> nn.Module | None:
        return _Leaves(layer) if at == self.depth - 1 else None

    def _given(self, at: int, layer: nn.Module, hidden: Tensor) -> nn.Module | None:
        if at < self.depth - 1:
            return _Passes(layer, self._in_tuple)
        return _Gives(layer, self._in_tuple, hidden) if at == self.depth - 1 else None

    @contextmanager
    def _replaced(self, by: Callable[[int, nn.Module], nn.Module | None]) -> Iterator[None]:
        """Stand-ins in the layers' places, for one forward."""
        own = list(self._layers)
        try:
            for at, layer in enumerate(own):
                if (other := by(at, layer)) is not None:
                    self._layers[at] = other
            yield
        finally:
            for at, layer in enumerate(own):
                self._layers[at] = layer


def below(
    backbone: nn.Module, layers: nn.ModuleList, embedding: nn.Module, layout: Layout, also: tuple[str, ...]
) -> FrozenLayers | None:
    """The layers below the lowest one that learns, if they give the same for a row whenever they are asked.

    Whether they do is asked, not looked up: a gradient that reaches them (a trained embedding, also one that is tied
    to a trained head) shows in their output, what draws random numbers while a model learns (dropout, noise on
    embeddings) gives another output than in evaluation, and a model that cannot be entered above them, or only with
    another result, says so. Leaves the model in the mode that it was in.
    """
    learns = (any(p.requires_grad for p in layer.parameters()) for layer in layers)
    depth = next((at for at, one in enumerate(learns) if one), len(layers))
    if not depth or not all(bare(part) for part in (embedding, *layers[:depth])):
        return None
    found = FrozenLayers(backbone, layers, depth, layout, also)
    training = backbone.training
    try:
        return found if _the_same_whenever(found, next(embedding.parameters()).device) else None
    except (OurFault, RuntimeError, TypeError, ValueError, LookupError, AttributeError):
        return None  # layers that pass on more than hidden states, or reach for another layer's
    finally:
        backbone.train(training)


def _the_same_whenever(found: FrozenLayers, device: torch.device) -> bool:
    ids_T = torch.arange(PROBE, device=device)
    quiet_TD, drawn_TD = (found.compute(ids_T) for _ in (found.backbone.eval(), found.backbone.train()))
    if quiet_TD.requires_grad or not torch.equal(quiet_TD, drawn_TD):
        return False
    found.backbone.eval()
    row = Supervised(ids_T, (PROBE,), 0, ids_T, ids_T, ids_T)
    with torch.no_grad():
        whole_TD = hidden_states(found.layout, found.backbone, row, found.also)
        entered_TD = hidden_states(found.layout, *found.enter(row), found.also)
    return same_but_for_rounding(whole_TD, entered_TD)
