"""Rows for new tokens: how many an embedding and a head get, how these begin, and that they learn.

    mean of the old rows      E = 1/n sum_i e_i, for every row that is new
    noise_init                E + NOISE sd u,   sd the spread of the old rows in each column, u standard normal
    desc_init                 the mean over the tokens of a description; desc_init_w_noise adds the same noise

A row that is the mean of the old ones is given a logit h E = mean_i h e_i, so its probability is at most 1/n (the mean
of logarithms is not above the logarithm of the mean; Hewitt 2021, "Initializing new word embeddings"): new tokens do
not disturb what the model says, nor do the rows that only fill up to a multiple of 64. Those are no tokens: nothing in
the data means them, chat never draws them, and training can only make them less likely.

In: the tokenizer with its new tokens, the base's folder, or the note beside trained weights. Out: a `Growth`, the same
for training, chat and export, and a model that was grown by it. The tokens themselves are `render.growing`'s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory.config.growing import TOKENS, never_learn
from llama_factory.errors import InputError, LlamaFactoryError, MachineError, ProofError, SeveralErrors
from llama_factory.machine import is_out_of_memory
from llama_factory.model import fingerprint
from llama_factory.records import Finding
from llama_factory.render import growing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from llama_factory.config import Run
    from llama_factory.model.locate import Folders
    from llama_factory.model.weights import Entry
    from llama_factory.render import Renderer

MULTIPLE = 64
"""Rows of a grown embedding: so many, or a multiple; products of such sizes are fast."""

NOISE = 0.02
"""Of a row's start, as a share of the old rows' spread: enough to tell new rows apart, too little to be said."""

NOTE = "vocabulary"
"""Under this name the note beside trained weights has its `Growth`."""


@dataclass(frozen=True)
class Growth:
    """own: rows of the base. rows: rows once grown, the same where there were spare ones. known: tokens before the new.

    ids: of the new tokens, by their text. described: the tokens of their descriptions. noise: added to their starts.
    """

    own: int
    rows: int
    known: int
    ids: Mapping[str, int]
    described: Mapping[str, Sequence[int]] = field(default_factory=dict)
    noise: bool = False
    seed: int = 0

    @property
    def sorted_ids(self) -> list[int]:
        return sorted(self.ids.values())

    def note(self) -> dict[str, Any]:
        return asdict(self)


def for_training(run: Run, folders: Folders, renderer: Renderer) -> Growth | None:
    """What a run of `train` does to the vocabulary. Raises InputError where tokens do not fit."""
    from llama_factory.model import audit

    tokenizer, keys = renderer.tokenizer, run.model.vocabulary
    if folders.adapters:
        if tokenizer.new:
            found = growing.listed(list(tokenizer.new))
            raise InputError("model.tokens-beside-adapter", where=_where(run), found=found)
        return for_use(folders.adapters)
    own = int(audit.shape(folders.base).get("vocab_size") or 0)
    ids = dict(tokenizer.new)
    if not ids and not keys.resize_vocab:
        return None
    needed = needed_by(renderer)
    if keys.resize_vocab and needed > own:
        ids |= {str(tokenizer.rust.id_to_token(id)): id for id in range(own, needed) if tokenizer.rust.id_to_token(id)}
    if not ids:
        return None
    if needed > own and keys.resize_vocab is False:
        values = {"count": len(ids), "spare": max(0, own - min(ids.values())), "rows": own}
        raise InputError("model.no-rows-for-tokens", where=run.where("resize_vocab"), **values)
    if not keys.names_tokens:
        wrong: list[LlamaFactoryError] = [
            InputError(said.id, where=run.where("resize_vocab"), **said.values)
            for said in never_learn(run, ("resize_vocab",))
        ]
        if wrong:
            raise wrong[0] if len(wrong) == 1 else SeveralErrors(wrong)
    start = keys.init_special_tokens
    return Growth(
        own=own,
        rows=own if needed <= own else MULTIPLE * math.ceil(needed / MULTIPLE),
        known=min(min(ids.values()), own),
        ids=ids,
        described={} if start == "noise_init" else _described(run, tokenizer, ids),
        noise=start in ("noise_init", "desc_init_w_noise"),
        seed=run.training.seed,
    )


def for_use(adapters: Iterable[Path]) -> Growth | None:
    """What the base needs before adapters made here fit on it: what their notes say."""
    for folder in adapters:
        born = fingerprint.read(folder)
        said = None if born is None else born.method.get(NOTE)
        if said is not None:
            return Growth(**cast("dict[str, Any]", said))
    return None


def told(run: Run, growth: Growth | None, folders: Folders, renderer: Renderer) -> list[Finding]:
    """What is done, or that nothing has to be."""
    from llama_factory.model import audit

    if growth is not None:
        return [said(growth)]
    if not run.model.vocabulary.resize_vocab:
        return []
    values = {"rows": audit.shape(folders.base).get("vocab_size"), "needed": needed_by(renderer)}
    return [Finding("model.resize-not-needed", "note", run.where("resize_vocab"), values)]


def needed_by(renderer: Renderer) -> int:
    """Rows that the tokenizer's ids ask for."""
    return 1 + max(renderer.tokenizer.rust.get_vocab(with_added_tokens=True).values())


def said(growth: Growth) -> Finding:
    """What is done, for a person."""
    values = {
        "count": len(growth.ids), "found": growing.listed(list(growth.ids)), "own": growth.own, "rows": growth.rows,
        "padding": growth.rows - 1 - max(growth.ids.values()),
    }  # fmt: skip
    return Finding(
        "model.tokens-grown" if growth.rows > growth.own else "model.tokens-in-spare-rows", "note", "", values
    )


# ---- the model


def grow(model: nn.Module, growth: Growth) -> None:
    """Give a loaded model the rows, and all new tokens their start. Raises InputError where its kind cannot."""
    import torch

    whole = cast(Any, model)
    embedding, head = whole.get_input_embeddings(), whole.get_output_embeddings()
    kind = str(whole.config.model_type)
    if not _plain(embedding, head) or embedding.weight.shape[0] != growth.own:
        raise InputError("model.cannot-grow", where=_KEY, type=kind)
    tied = head.weight is embedding.weight
    own = [embedding.weight] if tied else [embedding.weight, head.weight]
    starts = [_starts(weight.detach(), growth) for weight in own]
    if growth.rows > growth.own:
        whole.resize_token_embeddings(growth.rows, mean_resizing=False)
    embedding, head = whole.get_input_embeddings(), whole.get_output_embeddings()
    for module, (mean, rows) in zip([embedding, head], starts, strict=False):
        with torch.no_grad():
            module.weight[growth.own :] = mean.to(module.weight.dtype)
            for id, row in rows.items():
                module.weight[id] = row.to(module.weight.dtype)
    _try(whole, growth, kind, tied)


def _plain(embedding: Any, head: Any) -> bool:
    from torch import nn

    return isinstance(embedding, nn.Embedding) and type(head) is nn.Linear and head.bias is None


def _starts(weight_VD: Tensor, growth: Growth) -> tuple[Tensor, dict[int, Tensor]]:
    """The mean of the old rows, and the start of each new token by its id, in fp32."""
    import torch

    spread, mean = torch.std_mean(weight_VD[: growth.known].float(), dim=0)
    generator = torch.Generator().manual_seed(growth.seed)
    rows: dict[int, Tensor] = {}
    for token, id in sorted(growth.ids.items(), key=lambda item: item[1]):
        words = growth.described.get(token)
        row = weight_VD[list(words)].float().mean(dim=0) if words else mean
        if growth.noise:
            row = row + NOISE * spread * torch.randn(mean.shape, generator=generator).to(mean.device)
        rows[id] = row
    return mean, rows


def _try(model: Any, growth: Growth, kind: str, tied: bool) -> None:
    """Not believed but seen: the last row is read and answered with, and what was one weight still is.

    The layers of a quantised model are left out: a forward may change how they are kept (`quantised.guards`).
    """
    import torch

    from llama_factory.model.quantised import layers

    ids = torch.tensor([[0, growth.rows - 1]], device=model.get_input_embeddings().weight.device)
    try:
        with torch.no_grad():
            if layers.quantised(model):
                logits = model.get_output_embeddings()(model.get_input_embeddings()(ids))
            else:
                logits = model(input_ids=ids, use_cache=False).logits
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        if is_out_of_memory(error):
            raise MachineError("model.no-memory", where=_KEY) from error
        raise InputError("model.cannot-grow", where=_KEY, type=kind) from error
    still = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    size = int(model.config.get_text_config().vocab_size)
    if not logits.shape[-1] == size == growth.rows or still != tied:
        raise InputError("model.cannot-grow", where=_KEY, type=kind)


def require_grown(model: nn.Module, growth: Growth | None, folder: Path) -> None:
    """Refuse to put an adapter with rows for new tokens on a model of another size."""
    rows = int(cast(Any, model).config.get_text_config().vocab_size)
    if growth is not None and rows != growth.rows:
        raise InputError("model.base-not-grown", where=folder, found=rows, rows=growth.rows)


def require_learning(model: nn.Module, growth: Growth | None) -> None:
    """Raises ProofError where rows of new tokens would stay as they began."""
    if growth is None:
        return
    whole = cast(Any, model)
    frozen = [
        part
        for part, module in (("embedding", whole.get_input_embeddings()), ("head", whole.get_output_embeddings()))
        if not any(value.requires_grad for value in module.parameters())
    ]
    if frozen:
        raise ProofError("model.new-rows-frozen", found=", ".join(frozen))


# ---- files


def entries(known: Mapping[str, Entry], state: Mapping[str, Tensor], growth: Growth | None) -> dict[str, Entry]:
    """The base's tensors, those that have more rows in `state` with these."""
    found = dict(known)
    if growth is None or growth.rows == growth.own:
        return found
    for key, entry in known.items():
        if key in state and entry.shape[:1] == (growth.own,) and tuple(state[key].shape) != entry.shape:
            found[key] = replace(entry, shape=(growth.rows, *entry.shape[1:]))
    return found


def say_so(file: Path, growth: Growth) -> None:
    """Let `config.json` say how many rows there are."""
    told = json.loads(file.read_text("utf-8"))
    text = told.get("text_config", told)
    for part in (told, text):
        if "vocab_size" in part or part is text:
            part["vocab_size"] = growth.rows
    file.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


_KEY = "add_tokens"


def _where(run: Run) -> str:
    return next((run.where(key) for key in TOKENS if run.value(key)), run.source)


def _described(run: Run, tokenizer: Any, ids: Mapping[str, int]) -> dict[str, list[int]]:
    """The tokens of each new token's description, none of them new."""
    words = growing.asked_of(run).described
    new = set(ids.values())
    found = {
        token: [id for id in tokenizer.rust.encode(text, add_special_tokens=False).ids if id not in new]
        for token, text in words.items()
        if token in ids
    }
    return {token: said for token, said in found.items() if said}
