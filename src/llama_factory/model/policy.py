"""The policy: a model as the trainer sees it. Batches go in, log-probabilities of supervised tokens come out.

In: any causal language model of transformers, bare or wrapped by peft, and batches of rows laid end to end.
Out: for every token with a weight, log p(token | the tokens before it in its row), in float32, with
gradients to whatever is trainable.

The hidden states are computed once; only those that stand before a supervised token meet the head, in
chunks. Model types for which this is shown equal to the plain forward stand in `proven.json`; every
other type takes the plain path (row by row, all logits) and `describe()` says so.

It weighs nothing, sums nothing and updates nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from llama_factory.errors import InputError, OurFault, ProofError
from llama_factory.model import adapters, attention, load, proven, upstream, varlen, whole
from llama_factory.model import rows as rows_of_head
from llama_factory.model.frozen import Frozen, lay_out
from llama_factory.model.head import LogitRule, logprobs_of, precise, token_logprobs
from llama_factory.model.layouts import Backbone, Layout, Supervised, hidden_states, supervised
from llama_factory.model.lora import FusedLinear
from llama_factory.model.measures import Measure, Reference, measure, plainly
from llama_factory.model.methods.names import layers
from llama_factory.model.noise import Noise
from llama_factory.model.prefix import FrozenLayers, RowFile, below
from llama_factory.model.quantised import guards
from llama_factory.model.swap import bare
from llama_factory.records import Batch

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Want(str, Enum):
    """What a forward can be asked for; `mean`, `entropy` and `divergence` are those of `model/measures.py`."""

    LOGPROBS = "logprobs"
    MEAN = "mean"
    ENTROPY = "entropy"
    DIVERGENCE = "divergence"


LOGPROBS = frozenset({Want.LOGPROBS})

PACKING = frozenset({Layout.SHARED, Layout.PACKED})
"""Layouts whose rows are kept apart by our attention alone."""

SPOKEN = {Layout.SHARED: "packed rows, a common beginning once"}

ALLOWED_EXACT = 1e-3
ALLOWED_HALF = 5e-2
"""Mean difference of a row's log-probability in company and alone: rounding stays below, rows that meet stay above."""

ALLOWED_HALF_PLAIN = 0.25
"""The same between two ways of computing in half precision, whose roundings add up over the layers."""


@dataclass(frozen=True, slots=True)
class PolicyOutput:
    """logprob_S: float32 log-probability of each supervised token; index_S: its place in the batch.

    measured: what else was asked for, (S) in float32 each.
    """

    logprob_S: Tensor
    index_S: Tensor
    measured: Mapping[Measure, Tensor] = field(default_factory=dict)


class Policy:
    """`module` is used as it is: what it trains, its mode and its adapters stay the caller's."""

    def __init__(
        self,
        module: nn.Module,
        *,
        compute_dtype: torch.dtype | None = None,
        layout: Layout | None = None,
        sharing: bool = True,
        table: dict[str, proven.Proof] | None = None,
        noise: float = 0.0,
        reference: Policy | None = None,
        varlen_kernel: bool = False,
    ) -> None:
        """compute_dtype: None computes in the weights' own type; another one goes through autocast.

        layout: one of the proven ones in place of the fastest. sharing: False lays every row in full.
        table: proofs in place of proven.json. noise: of NEFTune. reference: what `divergence` is from; None is this
        model without its adapters. varlen_kernel: packed rows are kept apart by torch's kernel for CUDA (`varlen`).
        """
        self.module = module
        self._base: PreTrainedModel = _inside(module)
        self._own_dtype: torch.dtype = self._base.dtype
        self.compute_dtype = compute_dtype or self._own_dtype
        proof = (proven.table() if table is None else table).get(self._base.config.model_type)
        self._proof = proof or proven.UNPROVEN
        self._head: Frozen | None = None
        self._below: FrozenLayers | None = None
        self._below_shown = False
        self._reference = reference
        self._adapted = _has_adapters(module)
        self._noise = Noise(self._base.get_input_embeddings(), noise) if noise else None
        self._may_pack = _default_kernel(self._base)
        self._sharing = sharing
        self._layout, self._reason = self._choose(layout)
        self._rule = self._proof.rule(self._base.config.get_text_config()) if self._layout else LogitRule()
        if self._may_pack and not PACKING.isdisjoint(self._proof.layouts):
            kernel = varlen if varlen_kernel else attention
            kernel.register()
            self._base.set_attn_implementation(kernel.NAME)

    def forward(self, batch: Batch, want: frozenset[Want] = LOGPROBS) -> PolicyOutput:
        """Log-probabilities of the batch's supervised tokens, in their order."""
        if Want.LOGPROBS not in want:
            raise OurFault("model.policy-want", want=sorted(want))
        rows = supervised(batch, self.device)
        more = frozenset(Measure(one.value) for one in want - LOGPROBS)
        if not rows.lengths_R:
            nothing_S = torch.zeros(0, device=self.device, requires_grad=True)
            return PolicyOutput(nothing_S, rows.index_S, dict.fromkeys(more, nothing_S))
        if more:
            found = self._measured(batch, rows, more)
        else:
            with self._precision():
                logprob_S = self._plain(batch, rows) if self._layout is None else self._chunked(self._layout, rows)
            found = PolicyOutput(logprob_S, rows.index_S)
        read = self._below is not None and self._below.all_read and torch.is_grad_enabled()
        if self._layout is not None and read and not self._below_shown:
            with self._precision():
                self._show_below(self._layout, rows, found.logprob_S)
        return found

    __call__ = forward

    @property
    def device(self) -> torch.device:
        device: torch.device = self._base.device
        return device

    @property
    def layout(self) -> Layout | None:
        """The layout taken; None for the plain path."""
        return self._layout

    def lay_out(self, free_bytes: int) -> int:
        """Bring the weights that stay as they are into the processor's own order (`model/frozen.py`).

        Of layers in one piece and of a linear head. free_bytes: the memory that there is; returns what this took.
        """
        layers = [module.frozen for module in self.module.modules() if isinstance(module, FusedLinear)]
        head = self._head_at_rest() if self._layout else None
        if not layers or head is None or head.requires_grad:
            return 0
        self._head = Frozen(head)
        return lay_out([*layers, self._head], free_bytes)

    def frozen_layers(self) -> int:
        """How many first layers give the same for a row in every epoch; 0 also where rows take the plain path."""
        return 0 if self._layout is None or (found := self._find_below()) is None else found.depth

    @property
    def bytes_a_token(self) -> int:
        """Of a hidden state, as it is computed."""
        width: int = self._base.config.get_text_config().hidden_size
        return width * self.compute_dtype.itemsize

    def keep_frozen_layers(self, file: RowFile) -> None:
        """From now on, compute what these layers make of a row once, and keep it in `file`.

        The first training batch that is read from the file whole is computed without it as well; where that differs
        by more than rounding, ProofError.
        """
        self._below = self._find_below()
        if self._below is None:
            raise OurFault("model.nothing-below", type=type(self._base).__name__)
        self._below.keep_in(file)

    def trainable(self) -> dict[str, nn.Parameter]:
        """What the optimiser may change, by the names of `module.named_parameters()`."""
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def describe(self) -> str:
        """One line: the way taken, and why."""
        kind = self._base.config.model_type
        if self._layout is None:
            return f"{kind}: plain path, row by row with all logits ({self._reason})"
        head = (
            "head at supervised tokens in chunks"
            if self._head_at_rest() is not None
            else "head as a module at supervised tokens"
        )
        laid = SPOKEN.get(self._layout, f"{self._layout.value} rows")
        return f"{kind}: {laid}, {head}" + (f" ({self._reason})" if self._reason else "")

    def plain(self, batch: Batch) -> PolicyOutput:
        """The same by the plain path: what `forward` has to equal, and slow."""
        rows = supervised(batch, self.device)
        with self._precision():
            return PolicyOutput(self._plain(batch, rows), rows.index_S)

    @torch.no_grad()
    def verify(self, batch: Batch) -> float:
        """Compare `forward` on these rows with `forward` of each alone and with `plain`, dropout off.

        The list of proven types knows classes, not every setting that a configuration may hold, nor every
        version of transformers: this asks the model itself. Rows in company must be what they are alone; the plain
        way may round differently in half precision. Returns the mean difference of a log-probability to `plain`.
        Raises InputError where the model does not answer with numbers, ProofError where the ways differ.
        """
        with self._in_evaluation(), guards.rounding_by_row(self.module):
            together_S = self.forward(batch).logprob_S
            if not torch.isfinite(together_S).all():
                format = str(self.compute_dtype).removeprefix("torch.")
                raise InputError("model.answers-not-finite", where=self._base.name_or_path, format=format)
            alone_S = torch.cat([self.forward(row).logprob_S for row in batch.rows_alone()])
            plain_S = self.plain(batch).logprob_S
        exact = self.compute_dtype == torch.float32 and not guards.rounds_inputs(self.module)
        self._allow(together_S, alone_S, ALLOWED_EXACT if exact else ALLOWED_HALF)
        return self._allow(together_S, plain_S, ALLOWED_EXACT if exact else ALLOWED_HALF_PLAIN)

    def _allow(self, ours_S: Tensor, theirs_S: Tensor, allowed: float, letter: str = "model.policy-differs") -> float:
        difference = float((ours_S - theirs_S).abs().mean())
        if not difference <= allowed:
            raise ProofError(letter, type=self._base.config.model_type, difference=difference, allowed=allowed)
        return difference

    def _find_below(self) -> FrozenLayers | None:
        alone = Layout.PACKED if self._layout in PACKING else Layout.ROWS
        if guards.rounds_inputs(self.module):  # a row's output then depends on the rows beside it
            return None
        try:
            name, _ = layers(self._base)
        except InputError:  # what has no list of layers has none to begin above
            return None
        listed = cast("nn.ModuleList", self._base.get_submodule(name))
        backbone, embedding = upstream.backbone(self._base), self._base.get_input_embeddings()
        return below(backbone, listed, embedding, alone, self._proof.inputs)

    @torch.no_grad()
    def _show_below(self, layout: Layout, rows: Supervised, logprob_S: Tensor) -> None:
        """What was kept is what would be computed now, with the weights that are there now."""
        kept, self._below_shown = self._below, True
        drawn = self._draws()
        with self._in_evaluation():
            with_file_S = self._chunked(layout, rows) if drawn else logprob_S
            self._below = None
            try:
                without_S = self._chunked(layout, rows)
            finally:
                self._below = kept
        allowed = ALLOWED_EXACT if self.compute_dtype == torch.float32 else ALLOWED_HALF
        self._allow(with_file_S, without_S, allowed, "model.kept-differs")

    @contextmanager
    def _in_evaluation(self) -> Iterator[None]:
        trained = self.module.training
        self.module.eval()
        try:
            yield
        finally:
            self.module.train(trained)

    def _choose(self, asked: Layout | None) -> tuple[Layout | None, str]:
        """The layout and the reason for it; None is the plain path."""
        shown = [it for it in self._proof.layouts if it is not Layout.SHARED or self._sharing]
        usable = [it for it in shown if it not in PACKING or self._may_pack]
        why = self._proof.why
        if usable and not self._proof.is_about(self._base):
            usable, why = [], f"{type(self._base).__name__} is not on the list of proven classes"
        if usable and _prompt_learning(self.module):
            usable, why = [], "its adapter puts tokens of its own before the row"
        if asked is not None and asked not in usable:
            raise OurFault("model.policy-unproven-layout", layout=asked.value, type=self._base.config.model_type)
        if not usable:
            return None, why
        if asked is not None or usable[0] is shown[0]:
            return asked or usable[0], why
        return usable[0], "another attention kernel was asked for"

    def _measured(self, batch: Batch, rows: Supervised, wanted: frozenset[Measure]) -> PolicyOutput:
        reference = None
        if Measure.DIVERGENCE in wanted:
            theirs = self._reference or self
            with torch.no_grad(), theirs._as_reference():
                reference = Reference(theirs._before_head(batch, rows), theirs._reference_head)
        with self._precision():
            before_SD = self._before_head(batch, rows)
            logprob_S, measured = measure(before_SD, self._logits, rows.token_S, wanted, reference)
        return PolicyOutput(logprob_S, rows.index_S, measured)

    def _before_head(self, batch: Batch, rows: Supervised) -> Tensor:
        """What stands before the head at the supervised tokens; on the plain path their logits, which it has made."""
        with self._precision():
            if self._layout is None:
                return torch.cat([logits_SV for logits_SV, _ in self._plain_logits(batch)])
            return self._hidden(self._layout, rows)

    def _logits(self, before_CD: Tensor) -> Tensor:
        if self._layout is None:
            return plainly(before_CD)
        logits_CV: Tensor = self._base.get_output_embeddings()(before_CD)
        return self._rule.apply(logits_CV.to(precise(logits_CV.dtype)))

    def _reference_head(self, before_CD: Tensor) -> Tensor:
        with self._as_reference():
            return self._logits(before_CD)

    @contextmanager
    def _as_reference(self) -> Iterator[None]:
        """Without adapters, dropout and noise."""
        if not self.module.training and not self._adapted:
            yield  # another model, which stays as it is
            return
        trained = self.module.training
        self.module.eval()
        try:
            with adapters.switched_off(self.module):
                yield
        finally:
            self.module.train(trained)

    def _hidden(self, layout: Layout, rows: Supervised) -> Tensor:
        if layout is Layout.SHARED and self._draws():
            layout = Layout.PACKED
        if self._noise is not None and self._noise.drawn:
            if layout is Layout.PADDED:  # a row's noise depends on its length, and not on its neighbours'
                layout = Layout.ROWS
            with self._noise.over(rows.lengths_R):
                return hidden_states(layout, upstream.backbone(self._base), rows, self._proof.inputs)
        backbone: Backbone = upstream.backbone(self._base)
        if self._below:
            backbone, rows = self._below.enter(rows)
        return hidden_states(layout, backbone, rows, self._proof.inputs)

    def _chunked(self, layout: Layout, rows: Supervised) -> Tensor:
        hidden_SD = self._hidden(layout, rows)
        head, learning = self._linear_head(), rows_of_head.of(self._base.get_output_embeddings())
        if learning is not None:
            hidden_SD = hidden_SD.to(self.compute_dtype)
            return rows_of_head.token_logprobs_with(hidden_SD, learning, rows.token_S, self._rule, self._head)
        if head is None:
            logits_SV = self._base.get_output_embeddings()(hidden_SD)
            return logprobs_of(self._rule.apply(logits_SV.to(precise(logits_SV.dtype))), rows.token_S)
        dtype = self.compute_dtype if torch.is_autocast_enabled(self.device.type) else head.weight.dtype
        weight_VD = head.weight.to(dtype)
        frozen = self._head if self._head is not None and self._head.weight_OI is weight_VD else None
        return token_logprobs(hidden_SD.to(dtype), weight_VD, head.bias, rows.token_S, self._rule, frozen)

    def _draws(self) -> bool:
        """Dropout or noise is at work: each row draws numbers of its own, none of its tokens stands for another's."""
        if not self.module.training:
            return False
        if self._noise is not None:
            return True
        layers = (module.p for module in self.module.modules() if isinstance(module, nn.Dropout))
        return any(layers) or any(load.dropouts(self._base.config).values())

    def _linear_head(self) -> nn.Linear | None:
        """The head if it is a linear map and nothing else; a wrapped one (an adapter, a hook) is called instead."""
        head = whole.at_work(self._base.get_output_embeddings())
        return head if type(head) is nn.Linear and bare(head) else None

    def _head_at_rest(self) -> Tensor | None:
        """The weight of a linear head; of one with rows that learn all that come before them."""
        learning = rows_of_head.of(self._base.get_output_embeddings())
        if learning is not None:
            return learning.weight_VD[: learning.start]
        head = self._linear_head()
        return None if head is None else head.weight

    def _plain(self, batch: Batch, rows: Supervised) -> Tensor:
        return torch.cat([logprobs_of(logits_SV, token_S) for logits_SV, token_S in self._plain_logits(batch)])

    def _plain_logits(self, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
        """Of every row that has supervised tokens: the logits at these, and the tokens."""
        for row in batch.rows_alone():
            ids_T = torch.from_numpy(row.ids_T.astype("int64")).to(self.device)
            index = torch.from_numpy(row.weight_T.nonzero()[0]).to(self.device)
            if index.numel():
                also = {name: torch.zeros_like(ids_T[None]) for name in self._proof.inputs}
                logits_TV = self.module(input_ids=ids_T[None], use_cache=False, **also).logits[0, -len(ids_T) :]
                yield logits_TV[index - 1], ids_T[index]

    def _precision(self) -> AbstractContextManager[Any]:
        if self.compute_dtype == self._own_dtype:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.compute_dtype)


def _inside(module: nn.Module) -> PreTrainedModel:
    """The transformers model, out of peft's wrapper if it has one."""
    from transformers import PreTrainedModel

    if isinstance(module, PreTrainedModel):
        return module
    base: PreTrainedModel = cast("PeftModel", module).get_base_model()
    return base


def _default_kernel(base: PreTrainedModel) -> bool:
    """Attention is computed by the usual kernel. Another one (`eager` where `sdpa` would do) was asked for by name."""
    kernel = base.config._attn_implementation
    return kernel in ("sdpa", attention.NAME, varlen.NAME) or (kernel == "eager" and not upstream.prefers_sdpa(base))


def _prompt_learning(module: nn.Module) -> bool:
    from transformers import PreTrainedModel

    return not isinstance(module, PreTrainedModel) and bool(
        cast("PeftModel", module).active_peft_config.is_prompt_learning
    )


def _has_adapters(module: nn.Module) -> bool:
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = any(isinstance(layer, BaseTunerLayer) for layer in module.modules())
    return layers or adapters.prompt_learning(module)
