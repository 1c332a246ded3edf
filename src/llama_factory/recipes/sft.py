"""Supervised fine-tuning: rows of conversations in, a model that answers like them out.

Read it from top to bottom: it is the order in which things happen. What is wrong with the configuration,
the folder, the model or the data is found before the first step; what is written is whole or absent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from llama_factory import data, storage, trainer
from llama_factory.config import Run, require
from llama_factory.errors import Language
from llama_factory.losses import Term, asft, dft, eaft, smoothed, token_nll
from llama_factory.model.locate import locate_for
from llama_factory.model.taught import require_template
from llama_factory.recipes import check
from llama_factory.recipes.foresight import foresee
from llama_factory.recipes.frozen_layers import kept
from llama_factory.recipes.outcome import Outcome, Say, tell
from llama_factory.recipes.reporting import Page
from llama_factory.recipes.wiring import (
    Bench,
    ModelWriter,
    bench_of,
    checkpoints_of,
    import_ahead,
    judge_of,
    observers_of,
    outcome_of,
    plan_of,
    policy_of,
    ready,
    source_of,
    write_resolved,
)  # fmt: skip
from llama_factory.render import renderer_for

if TYPE_CHECKING:
    from torch import Tensor

    from llama_factory.model.policy import Policy, PolicyOutput
    from llama_factory.records import Batch
    from llama_factory.trainer import Objective

TERM = "sft"
"""The one term of this loss: its count stands in every step, its sum in every micro-batch."""


def sft(run: Run, say: Say, language: Language) -> Outcome:
    """Raises LlamaFactoryError; `errors.EXIT_CODES` says what each kind ends with."""
    require(run, "train")
    ready(run)
    bench = _bench(run, say, language)
    rows = data.prepare(run, bench.renderer, cache=storage.cache_folder(os.environ), say=say, language=language)
    findings = check.audit(run, bench.folders, bench.renderer, rows, bench.grown)
    check.refuse(findings)
    tell(say, (one for one in findings if one.severity == "warning"), language)
    with storage.Lock(bench.output):
        return _train(bench, rows, Page(bench, rows, findings, say, language), say, language)


def _bench(run: Run, say: Say, language: Language) -> Bench:
    folders = locate_for(run)
    bench = bench_of(run, folders, renderer_for(run, folders.tokenizer or folders.base, to_train=True))
    another = require_template(run, folders, bench.renderer)
    tell(say, (*bench.precision.said, *bench.renderer.notices, *another), language)
    return bench


def _train(bench: Bench, rows: data.Prepared, page: Page, say: Say, language: Language) -> Outcome:
    run = bench.run
    writer = ModelWriter(bench)
    checkpoints = checkpoints_of(bench, rows, writer)
    checkpoints.claim()
    write_resolved(run, bench.output)
    source = source_of(run, rows, TERM)
    import_ahead()
    page.foreseen = foresee(bench, rows, source, say, language)
    if page.foreseen is not None and page.foreseen.checkpointing:
        bench = replace(bench, checkpointing=True)
    policy, said = policy_of(bench)
    writer.module = policy.module
    tell(say, said, language)
    with page, kept(bench, policy, rows, source.steps_per_epoch, say, language):  # the page is written in any case
        policy.verify(data.sample_batch(rows.train))
        say(policy.describe())
        page.before(policy.module)
        observers = [*observers_of(run, bench.output, say, language), page]
        result = trainer.fit(
            policy,
            source,
            objective_of(run),
            plan_of(run, bench.precision, policy),
            observers=observers,
            checkpoints=checkpoints,
            evaluate=judge_of(run, policy, objective, rows, observers),
            origin=lambda row: str(source.origin(row)),
        )
        page.finished(policy.module, result)
    return outcome_of(bench, result, language, page.foreseen)


def objective(policy: Policy, batch: Batch) -> Mapping[str, Term]:
    """The mean negative log-likelihood of the supervised tokens. Validation is always by this one."""
    found = policy.forward(batch)
    return {TERM: token_nll(found.logprob_S, _weights(batch, found))}


def objective_of(run: Run) -> Objective[Policy]:
    """The loss that the run trains with: `objective`, or one of `losses.reweighted` in its place."""
    from llama_factory.model.measures import Measure
    from llama_factory.model.policy import LOGPROBS, Want

    loss = run.training.loss
    want = LOGPROBS | {
        "nll": frozenset[Want](), "dft": frozenset[Want](), "eaft": frozenset({Want.ENTROPY}),
        "asft": frozenset({Want.DIVERGENCE}), "smoothed": frozenset({Want.MEAN}),
    }[loss.kind]  # fmt: skip

    def reweighted(policy: Policy, batch: Batch) -> Mapping[str, Term]:
        found = policy.forward(batch, want)
        weight_S, logprob_S, measured = _weights(batch, found), found.logprob_S, found.measured
        if loss.kind == "dft":
            return {TERM: dft(logprob_S, weight_S)}
        if loss.kind == "eaft":
            return {TERM: eaft(logprob_S, measured[Measure.ENTROPY], weight_S, alpha=loss.eaft_alpha)}
        if loss.kind == "asft":
            return {TERM: asft(logprob_S, measured[Measure.DIVERGENCE], weight_S, alpha=loss.asft_alpha)}
        return {TERM: smoothed(logprob_S, measured[Measure.MEAN], weight_S, factor=loss.label_smoothing_factor)}

    return objective if loss.kind == "nll" else reweighted


def _weights(batch: Batch, found: PolicyOutput) -> Tensor:
    weight_T = torch.from_numpy(batch.weight_T).to(found.index_S.device)
    return weight_T[found.index_S]
