"""Every model type on the bench, in processes that may hang or die without harm to the others.

In: model types. Out: their verdicts, in the same order. A type that takes longer than the limit, or that
takes its process with it, gets a verdict that says so.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from llama_factory.model.proven import Proof
from llama_factory.testing.prove import Verdict, prove


def prove_all(types: Sequence[str], *, processes: int = 2, limit_s: float = 120.0) -> Iterator[tuple[str, Verdict]]:
    """Every type's verdict, in the order of `types`."""
    free: SimpleQueue[_Worker] = SimpleQueue()
    workers = [_Worker() for _ in range(processes)]
    for worker in workers:
        free.put(worker)

    def ask(model_type: str) -> Verdict:
        worker = free.get()
        try:
            return worker.prove(model_type, limit_s)
        finally:
            free.put(worker)

    try:
        with ThreadPoolExecutor(processes) as pool:
            yield from zip(types, pool.map(ask, types), strict=True)
    finally:
        for worker in workers:
            worker.stop()


def as_entry(proof: Proof) -> dict[str, Any]:
    """A proof as it stands in proven.json: only what is not the default."""
    entry = {"layouts": [layout.value for layout in proof.layouts]}
    entry.update({name: value for name, value in asdict(proof).items() if value and name != "layouts"})
    return entry


class _Worker:
    """A process that proves one type after the other, and is replaced when it hangs or dies."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def prove(self, model_type: str, limit_s: float) -> Verdict:
        self._pipe.send(model_type)
        try:
            if self._pipe.poll(limit_s):
                verdict: Verdict = self._pipe.recv()
                return verdict
            why = f"its proof takes longer than {limit_s:.0f} s"
        except EOFError:
            why = "its proof ended the process that it ran in"
        self.stop()
        self._start()
        return Verdict(Proof(layouts=(), why=why), {})

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _start(self) -> None:
        self._pipe, other = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()


def _serve(pipe: Connection) -> None:
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.set_verbosity_error()
    while True:
        model_type = pipe.recv()
        try:
            verdict = prove(model_type)
        except Exception as error:  # noqa: BLE001  whatever a model type throws becomes its verdict
            verdict = Verdict(Proof(layouts=(), why=f"{type(error).__name__}: {error}"[:200]), {})
        pipe.send(verdict)
