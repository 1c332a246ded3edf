"""The export command from its first check to the last: read the steps of `export_model` in order.

In: a run that names a base, perhaps adapters, and `export_dir`. Out: that folder, whole and proven, or nothing, and
an `ExportReport`, which also lies in the folder as `export_report.json`. Everything is written beside its place,
opened again by plain transformers in a clean process and compared, and only then given its name.

Deliberately not here: other formats, quantised ones among them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory import machine, storage
from llama_factory.config.bits import bytes_per_weight
from llama_factory.errors import InputError, Language, MachineError, ProofError, one_line
from llama_factory.export import merge, proof, target
from llama_factory.export.proof import Difference
from llama_factory.model import adapters, fingerprint, load, save, spelling, vocabulary, weights, window
from llama_factory.model.locate import Folders, locate_for
from llama_factory.model.methods.names import is_tied
from llama_factory.model.quantised import guards, loading, plain
from llama_factory.model.quantised.asked import Rounded, in_note, rounded_base
from llama_factory.model.taught import require_template
from llama_factory.records import Finding, Message

if TYPE_CHECKING:
    from torch import Tensor, nn

    from llama_factory.config import Run
    from llama_factory.render import Renderer

Say = Callable[[str], None]
QUESTION = "Who are you, and who made you?"
LOST_SHARE = 0.1


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and the figures that prove it; `proof` says what each comparison is for.

    effect: the base alone against adapter-on-base, so what the adapter does. merged: the merged weights in float32
    against adapter-on-base. reopened: the files in a clean process against the files here. exported: the files in a
    clean process against adapter-on-base. *_allowed: the measured noise with its margin.
    """

    folder: str
    base: str
    base_weights: str
    adapters: Mapping[str, str]
    dtype: str
    files: int
    bytes: int
    tensors: int
    changed: int
    effect: Difference
    merged: Difference
    reopened: Difference
    float32_allowed: Difference
    exported: Difference
    exported_allowed: Difference

    def text(self) -> str:
        said = {
            "kind": target.KIND,
            **asdict(self),
            "folder": Path(self.folder).name,
            "versions": fingerprint.versions(),
        }
        return json.dumps(said, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


@dataclass(frozen=True)
class _Job:
    """What is exported, once every name has become a folder."""

    run: Run
    base: Path
    added: tuple[Path, ...]
    target: Path
    renderer: Renderer | None
    dtypes: Mapping[str, str]
    device: str
    tell: Callable[[Finding], None]
    rounded: Rounded | None


def export_model(run: Run, say: Say, *, language: Language = "en") -> ExportReport:
    """Merge, write, reopen, compare, publish. Raises ProofError, and leaves nothing, if a comparison fails."""

    def tell(finding: Finding) -> None:
        say(one_line(finding.id, finding.where, finding.values, language))

    job = _prepare(run, tell)
    reports: list[ExportReport] = []
    storage.write_directory(job.target, lambda aside: reports.append(_make(job, aside)), replace=True)
    report = reports[0]
    tell(_proof_said(report))
    tell(_done_said(report))
    return report


# ---- before anything is computed


def _prepare(run: Run, tell: Callable[[Finding], None]) -> _Job:
    name, folder = run.model.model_name_or_path, run.export.export_dir
    if name is None:
        raise InputError("export.no-model", where=run.source)
    if folder is None:
        raise InputError("export.no-folder", where=run.source)
    folders = locate_for(run)
    base, added = folders.base, folders.adapters
    place = Path(folder).expanduser()
    target.check(place, [base, *added])
    guards.refuse_export(load.check_folder(base), base)
    rounded = _rounded(added, tell)
    for one in added:
        if adapters.is_prompt(one):
            raise InputError("export.prompts-do-not-merge", where=one)
        born = fingerprint.read(one)
        trained = None if born is None else in_note(born.method)
        if trained is not None and rounded is None:
            tell(Finding("export.trained-on-quantised", "note", str(one), {"trained": trained.name}))
    said = list[Finding]()
    adapters.check_together(added, base, said)
    for finding in said:
        tell(finding)
    dtypes = merge.dtypes_of(base, run.model.infer_dtype)
    _enough(base, dtypes, place, rounded)
    renderer = _renderer(run, folders, tell)
    device = machine.pick_device("auto" if run.export.export_device == "auto" else "cpu")
    return _Job(run, base, added, place, renderer, dtypes, device, tell, rounded)


def _rounded(added: Sequence[Path], tell: Callable[[Finding], None]) -> Rounded | None:
    """What the adapters' notes say of the base that they stand on. Needs the packages that quantise."""
    rounded = rounded_base(added)
    if rounded is not None:
        loading.require(rounded.asked)
        tell(Finding("export.on-rounded-base", "note", str(rounded.folder), {"trained": rounded.asked.name}))
    return rounded


def _enough(base: Path, dtypes: Mapping[str, str], place: Path, rounded: Rounded | None) -> None:
    """Disk for the files, memory for the model in float32, and for it in few bits beside that where it is needed."""
    import psutil

    known = weights.entries(base)
    written = sum(entry.elements * weights.BYTES[weights.HEADER_NAMES.get(dtypes.get(key, ""), entry.dtype)]
                  for key, entry in known.items())  # fmt: skip
    target.room(place, written + 100_000_000)
    asked = None if rounded is None else rounded.asked
    beside = 0.0 if asked is None else bytes_per_weight(asked.bits, asked.method, double=asked.double)
    needed = int((4 + beside) * sum(entry.elements for entry in known.values()))
    free = int(psutil.virtual_memory().available)
    if needed > free:
        values = {"needed": target.size(needed), "free": target.size(free)}
        raise MachineError("export.no-memory", where=base, **values)


def _renderer(run: Run, folders: Folders, tell: Callable[[Finding], None]) -> Renderer | None:
    """The renderer that chat would take for the same configuration; None for a base that brings no tokenizer."""
    from llama_factory.render import renderer_for

    if folders.tokenizer is None:
        tell(Finding("export.no-tokenizer", "warning", str(folders.base)))
        return None
    renderer = renderer_for(run, folders.tokenizer)
    for finding in renderer.notices:
        tell(finding)
    for finding in require_template(run, folders, renderer):
        tell(finding)
    return renderer


# ---- the work, in a folder that nobody sees yet


def _make(job: _Job, aside: Path) -> ExportReport:
    """Write everything into `aside`, prove it, and leave the report there too."""
    machine.torch_setup()
    merged = _merge_and_write(job, aside)
    _other_files(job, aside)
    here = proof.logits(_load(job, aside), merged.prompts)
    found = _reopened(job, aside, merged)
    largest = max(float(one.abs().max()) for one in merged.reference)
    report = ExportReport(
        folder=str(job.target),
        base=job.run.model.model_name_or_path or "",
        base_weights=fingerprint.weights(job.base),
        adapters={
            name: storage.file_digest(one / adapters.ADAPTER_WEIGHTS)
            for name, one in zip(job.run.model.adapter_name_or_path, job.added, strict=True)
        },
        dtype=_main_dtype(job.dtypes),
        files=sum(path.is_file() for path in aside.rglob("*")) + 2,  # the report and the manifest are to come
        bytes=sum(path.stat().st_size for path in aside.rglob("*") if path.is_file()),
        tensors=len(weights.entries(aside)),
        changed=merged.changed,
        effect=merged.effect,
        merged=merged.difference,
        reopened=proof.compare(here, found),
        float32_allowed=merged.fine.allowed(largest),
        exported=proof.compare(merged.reference, found),
        exported_allowed=merged.coarse.allowed(largest),
    )
    judge(report)
    (aside / target.REPORT).write_text(report.text(), encoding="utf-8")
    lost = report.exported.kl / report.effect.kl if report.effect.kl else 0.0
    if lost > LOST_SHARE:
        values = {"share": f"{min(1.0, lost):.0%}", "dtype": report.dtype}
        job.tell(Finding("export.partly-rounded-away", "warning", str(job.target), values))
    return report


def _load(
    job: _Job,
    folder: Path,
    say: Callable[[Finding], None] = lambda finding: None,
    longer: window.Longer | None = None,
    grown: vocabulary.Growth | None = None,
) -> nn.Module:
    """In float32, whatever `quantization_bit` says to the other commands."""
    return load.load_for(
        job.run, folder, dtype="float32", device=job.device, quantised=False, say=say, longer=longer, grown=grown
    )


def _base(job: _Job, longer: window.Longer | None, grown: vocabulary.Growth | None) -> tuple[nn.Module, list[str]]:
    """What the adapters stand on: the base as published, or with weights rounded as in training; which these are."""
    if job.rounded is None:
        return _load(job, job.base, job.tell, longer, grown), []
    few = load.load(
        job.base,
        dtype=job.rounded.dtype,
        device=job.device,
        trust_remote_code=job.run.model.trust_remote_code,
        quantise=job.rounded.asked,
    )
    model = _load(job, job.base, job.tell, longer, grown)
    return model, plain.put_into(model, few)


@dataclass(frozen=True)
class _Merged:
    """What is known once the weights are written; the module itself is gone. fine, coarse: see `_noises`."""

    prompts: list[list[int]]
    reference: list[Tensor]
    effect: Difference
    difference: Difference
    fine: Difference
    coarse: Difference
    changed: int
    tied: bool


def _merge_and_write(job: _Job, aside: Path) -> _Merged:
    longer = window.for_use(job.run, job.base, job.added)
    grown = vocabulary.for_use(job.added)
    model, other = _base(job, longer, grown)
    prompts, tied = _prompts(job, model), is_tied(model)
    base_logits = proof.logits(model, prompts)
    model = adapters.open(model, job.added, job.base).module
    reference = proof.logits(model, prompts) if job.added else base_logits
    layers = merge.adapted(model)
    zero = merge.is_zero(layers)
    names = sorted({*other, *merge.merge(model, layers)})
    merged = proof.logits(model, prompts) if job.added else reference
    shard_bytes = int(job.run.export.export_size * weights.GB)
    changed = merge.write(model, job.base, aside, dtypes=job.dtypes, shard_bytes=shard_bytes, grown=grown)
    _something_changed(job, zero, changed)
    fine, coarse = _noises(job, model, names, prompts, merged)
    return _Merged(
        prompts, reference, effect=proof.compare(reference, base_logits), difference=proof.compare(reference, merged),
        fine=fine, coarse=coarse, changed=changed, tied=tied,
    )  # fmt: skip


def _noises(
    job: _Job, model: nn.Module, names: Sequence[str], prompts: Sequence[Sequence[int]], logits: Sequence[Tensor]
) -> tuple[Difference, Difference]:
    """What float32 arithmetic may do to the logits, and what it and rounding to the files' dtype may do together.

    The model is spent afterwards.
    """
    everything = [name for name, value in model.named_parameters() if value.is_floating_point()]
    fine = proof.noise(model, everything, prompts, logits, "float32")
    main, own = _main_dtype(job.dtypes), set(merge.dtypes_of(job.base, "auto").values())
    # Only what is really rounded: the merged weights, or all of them where the dtype is another than the base's.
    rounded = everything if own != {main} else names
    if main == "float32" or not rounded:
        return fine, fine
    coarse = proof.noise(model, rounded, prompts, logits, main)
    return fine, Difference(fine.max_abs + coarse.max_abs, fine.kl + coarse.kl, coarse.same_winner)


def judge(report: ExportReport) -> None:
    """Refuse what differs by more than noise can explain; the nearest cause first."""
    for what, found, allowed in (
        ("export.merge-differs", report.merged, report.float32_allowed),
        ("export.reopened-differs", report.reopened, report.float32_allowed),
        ("export.files-differ", report.exported, report.exported_allowed),
    ):
        if not found.within(allowed):
            raise ProofError(
                what, where=report.folder, max_abs=found.max_abs, kl=found.kl,
                max_abs_allowed=allowed.max_abs, kl_allowed=allowed.kl,
            )  # fmt: skip


def _prompts(job: _Job, model: nn.Module) -> list[list[int]]:
    rows = int(cast(Any, model).get_input_embeddings().weight.shape[0])
    limit = getattr(cast(Any, model).config.get_text_config(), "max_position_embeddings", None)
    prompts = proof.random_prompts(rows, limit if isinstance(limit, int) else None)
    if job.renderer is not None:
        prompts += [job.renderer.prompt([Message("user", text)]) for text in (QUESTION, *proof.TEXTS)]
    return prompts


def _something_changed(job: _Job, zero: bool, changed: int) -> None:
    if not job.added:
        return
    if zero:
        job.tell(Finding("export.adapter-is-zero", "warning", ", ".join(map(str, job.added))))
    elif changed == 0:
        raise ProofError("export.nothing-changed", where=job.target, dtype=_main_dtype(job.dtypes))


def _other_files(job: _Job, aside: Path) -> None:
    """Every file of the base that is not weights, then the tokenizer and template that were trained with."""
    save.copy_other_files(job.base, aside)
    longer = window.for_use(job.run, job.base, job.added)
    if longer is not None:
        window.say_so(aside / "config.json", longer)
    spelling.for_other_readers(aside / "config.json")
    grown = vocabulary.for_use(job.added)
    if grown is not None:
        vocabulary.say_so(aside / "config.json", grown)
    if job.run.model.infer_dtype != "auto":
        save.set_dtype(aside / "config.json", job.run.model.infer_dtype)
    if job.renderer is None:
        return
    for name, content in job.renderer.files().items():
        (aside / name).write_bytes(content)
    save.stop_everywhere(aside, job.renderer.stop_ids)


def _reopened(job: _Job, aside: Path, merged: _Merged) -> list[Tensor]:
    renderer = job.renderer
    asked: list[list[dict[str, str]]] = [[{"role": "user", "content": text}] for text in (QUESTION, *proof.TEXTS)]
    found = proof.reopen(
        aside, merged.prompts, messages=asked if renderer else (), trust_remote_code=job.run.model.trust_remote_code
    )
    if bool(found.said["tied"]) != merged.tied:
        raise ProofError("export.tie-broken", where=job.target)
    if renderer is not None:
        prompted = [renderer.prompt([Message("user", one[0]["content"])]) for one in asked]
        if found.said["prompts"] != prompted:
            job.tell(Finding("export.prompts-differ", "warning", str(job.target)))
    return found.logits


def _main_dtype(dtypes: Mapping[str, str]) -> str:
    """The dtype of most tensors."""
    names = list(dtypes.values())
    return max(set(names), key=names.count)


# ---- what is said at the end


def _proof_said(report: ExportReport) -> Finding:
    values = {
        "kl": f"{report.exported.kl:.1e}", "max_abs": f"{report.exported.max_abs:.1e}",
        "kl_allowed": f"{report.exported_allowed.kl:.1e}", "max_abs_allowed": f"{report.exported_allowed.max_abs:.1e}",
        "merged": f"{report.merged.max_abs:.1e}", "merged_allowed": f"{report.float32_allowed.max_abs:.1e}",
        "effect": f"{report.effect.kl:.1e}", "winner": f"{report.exported.same_winner:.1%}", "dtype": report.dtype,
    }  # fmt: skip
    return Finding("export.proven" if report.adapters else "export.proven-copy", "note", "", values)


def _done_said(report: ExportReport) -> Finding:
    values = {
        "files": report.files, "size": target.size(report.bytes), "tensors": report.tensors,
        "changed": report.changed, "dtype": report.dtype, "report": target.REPORT, "folder": report.folder,
    }  # fmt: skip
    return Finding("export.done", "note", report.folder, values)
