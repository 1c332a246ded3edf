"""Pre-training: texts in, a model that goes on like them out.

Read it from top to bottom: it is the order in which things happen. It differs from `sft` in its rows: every token of a
text is learned, long texts are cut into blocks of `cutoff_len` tokens without loss, and short ones are packed. The
objective is the same. What the model makes of unseen text is told as perplexity, too.
"""

from __future__ import annotations

import os
from dataclasses import replace

from llama_factory import data, storage, trainer
from llama_factory.config import Run, require
from llama_factory.errors import Language
from llama_factory.model.locate import locate_for
from llama_factory.recipes import check
from llama_factory.recipes.foresight import foresee
from llama_factory.recipes.frozen_layers import kept
from llama_factory.recipes.outcome import Outcome, Say, tell
from llama_factory.recipes.reporting import Page
from llama_factory.recipes.sft import TERM, objective, objective_of
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


def pt(run: Run, say: Say, language: Language) -> Outcome:
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
    known = (one for one in bench.renderer.notices if one.id == "render.token-known")
    tell(say, (*bench.precision.said, *known), language)  # what the template is like is of no matter for texts
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
            evaluate=trainer.with_perplexity(judge_of(run, policy, objective, rows, observers)),
            origin=lambda row: str(source.origin(row)),
        )
        page.finished(policy.module, result)
    return outcome_of(bench, result, language, page.foreseen)
