"""Which of the policy's ways equal the plain forward for a model type: the witness behind proven.json.

In: a model type. Out: a `Verdict`: the layouts whose log-probabilities and gradients equal those of the
plain forward (transformers' own, attention by definition, one row at a time, all logits), each row alone
and beside others, and what is done to the logits after the head. Every verdict has a counter-check: that
earlier tokens matter to later ones, so that a leak between rows could not hide.

It writes nothing; `scripts/prove_models.py` gathers the verdicts, the tests repeat them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llama_factory.model.layouts import Layout
from llama_factory.model.policy import PACKING, Policy
from llama_factory.model.proven import Proof
from llama_factory.records import Batch
from llama_factory.testing.tiny import VOCABULARY, tiny_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = 1e-5
LENGTHS = (9, 2, 14, 1, 5, 13, 9, 8)
"""Of the rows: longer than the tiny window and chunk, of similar and of equal length, one that predicts nothing."""

COMMON = 6
"""Tokens that all rows of the shared layout begin with: more than the tiny window."""

SEEDS = (0, 1)
"""Of weights and rows: a way has to hold for each."""

NO_INPUTS: tuple[str, ...] = ()
INPUTS = (NO_INPUTS, ("token_type_ids",), ("mm_token_type_ids",), ("token_type_ids", "mm_token_type_ids"))
MULTIPLY = ("logit_scale", "lm_head_multiplier", "logits_scaling")
DIVIDE = ("logits_scaling", "logits_mup_width_multiplier")
SOFTCAP = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")


@dataclass(frozen=True, slots=True)
class Verdict:
    """proof: what may stand in proven.json. differences: the largest ones seen, also of what was refused."""

    proof: Proof
    differences: dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Log-probabilities of the supervised tokens, and every parameter's gradient for a given weighting of them."""

    logprob_S: Tensor
    gradients: dict[str, Tensor]


class Unfit(Exception):
    """No comparison can be made, and why."""


def prove(model_type: str) -> Verdict:
    """The verdict on one type."""
    bench = _Bench(model_type)
    try:
        bench.find_inputs()
        bench.refuse_the_unfit()
        proof = bench.rule()
    except Unfit as verdict:
        return Verdict(Proof((), bench.name, inputs=bench.inputs, why=str(verdict)), bench.differences)
    layouts: tuple[Layout, ...] = ()
    for layout in Layout:  # the packing ones first: where they hold, the others use their attention too
        if bench.holds(replace(proof, layouts=(*layouts, layout)), layout):
            layouts = (*layouts, layout)
    why = "" if Layout.PACKED in layouts else "in one long row its documents would meet"
    why = why if layouts else "its attention with the default kernel is not what its definition says"
    return Verdict(replace(proof, layouts=layouts, why=why), bench.differences)


def rows(lengths: Sequence[int], vocabulary: int = VOCABULARY, seed: int = 0, common: int = 0) -> tuple[Batch, Tensor]:
    """Random rows, about two tokens in three supervised, and a gradient for each log-probability.

    common: that many first tokens are the same in all rows, which are longer by them.
    """
    lengths = [common + length for length in lengths]
    chance = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids_T = chance.integers(3, vocabulary, offsets[-1]).astype(np.int32)
    for start in offsets[:-1]:
        ids_T[start : start + common] = ids_T[:common]
    weight_T = (chance.random(offsets[-1]) < 0.67).astype(np.float32)
    weight_T[offsets[1:] - 1] = 1.0
    weight_T[offsets[:-1]] = 0.0
    grad_S = torch.from_numpy(chance.standard_normal(int(weight_T.sum())).astype(np.float32))
    return Batch(ids_T, weight_T, offsets, np.arange(len(lengths))), grad_S


def plain_reference(
    model: torch.nn.Module, batch: Batch, grad_S: Tensor, inputs: tuple[str, ...] = NO_INPUTS
) -> Reference:
    """Row by row through the model's own forward; deliberately not a line shared with the policy."""
    logprobs = []
    for row in batch.rows_alone():
        ids_1T = torch.from_numpy(row.ids_T.astype(np.int64))[None]
        also = {name: torch.zeros_like(ids_1T) for name in inputs}
        logp_TV = model(input_ids=ids_1T, use_cache=False, **also).logits[0].log_softmax(-1)
        logprobs += [logp_TV[t - 1, int(row.ids_T[t])] for t in range(1, len(row.ids_T)) if row.weight_T[t]]
    logprob_S = torch.stack(logprobs)
    return Reference(logprob_S.detach(), _gradients(model, logprob_S, grad_S))


def policy_reference(policy: Policy, batches: Sequence[Batch], grad_S: Tensor) -> Reference:
    """The same from the policy, batch after batch."""
    logprob_S = torch.cat([policy.forward(batch).logprob_S for batch in batches])
    return Reference(logprob_S.detach(), _gradients(policy.module, logprob_S, grad_S))


def difference(one: Reference, other: Reference) -> tuple[float, float]:
    """Largest difference of a log-probability, and of a parameter's gradient relative to its own length.

    A gradient below a hundredth of the largest may be nothing but rounding (that of a key's bias always is)
    and is measured against that hundredth.
    """
    logprob = (one.logprob_S - other.logprob_S).abs().max().item()
    floor = 1e-2 * max(float(g.norm()) for g in other.gradients.values())
    relative = [
        float((one.gradients[name] - g).norm()) / max(float(g.norm()), floor) for name, g in other.gradients.items()
    ]
    return logprob, max(relative)


def _gradients(model: torch.nn.Module, logprob_S: Tensor, grad_S: Tensor) -> dict[str, Tensor]:
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad((logprob_S * grad_S).sum(), list(named.values()), allow_unused=True)
    zeros = (torch.zeros_like(p) if g is None else g for p, g in zip(named.values(), grads, strict=True))
    return dict(zip(named, zeros, strict=True))


class _Bench:
    """One type on the bench: its tiny models, and what its plain forward says."""

    def __init__(self, model_type: str) -> None:
        self.model_type = model_type
        self.train = True
        self.inputs = NO_INPUTS
        self.references: list[Reference] = []
        self.differences: dict[str, str] = {}
        self.worst = (0.0, 0.0)
        model = self.model()
        self.name, self.key, self.config = type(model).__name__, model.config.model_type, model.config.get_text_config()

    def model(self, seed: int = 0, attention: str | None = "eager") -> PreTrainedModel:
        return tiny_model(self.model_type, seed=seed, attention=attention).train(self.train)

    def find_inputs(self) -> None:
        """What the plain forward gives for every seed, with the fewest inputs that it accepts."""
        why = ""
        for inputs in INPUTS:
            try:
                self.references = [
                    plain_reference(self.model(seed), *rows(LENGTHS, seed=seed), inputs) for seed in SEEDS
                ]
            except Exception as error:  # noqa: BLE001  a model may refuse in any way it likes
                why = why or f"its own forward refuses a row of text: {_short(error)}"
            else:
                self.inputs = inputs
                return
        raise Unfit(why)

    def refuse_the_unfit(self) -> None:
        """Types that are random, look ahead, or forget everything cannot be compared."""
        model = self.model()
        if self._is_random(model):
            self.train = False
            self.find_inputs()
            model = self.model()
            if self._is_random(model):
                raise Unfit("two forwards of the same row differ")
        ids_T = rows([max(LENGTHS)])[0].ids_T
        before = self._logprobs(model, ids_T)
        first, last = ids_T.copy(), ids_T.copy()
        first[0], last[-1] = 3 + (first[0] - 2) % 7, 3 + (last[-1] - 2) % 7
        if (self._logprobs(model, last) - before)[:-1].abs().max() > TOLERANCE:
            raise Unfit("it looks ahead: a later token changes an earlier log-probability")
        for row in (row.ids_T for row in rows(LENGTHS)[0].rows_alone() if len(row.ids_T) > 2):
            if (self._logprobs(model, row[:-1]) - self._logprobs(model, row)[:-1]).abs().max() > TOLERANCE:
                raise Unfit("it looks ahead: the number of later tokens changes an earlier log-probability")
        if (self._logprobs(model, first) - before)[1:].abs().max() < 100 * TOLERANCE:
            raise Unfit("the tiny model does not look back, so that nothing could be shown")

    def rule(self) -> Proof:
        """What is done to the logits, the simplest first that equals the plain forward row by row."""

        def present(names: tuple[str, ...]) -> list[str | None]:
            return [None, *(name for name in names if getattr(self.config, name, None) is not None)]

        for multiply, divide, softcap in product(present(MULTIPLY), present(DIVIDE), present(SOFTCAP)):
            proof = Proof((Layout.ROWS,), self.name, multiply, divide, softcap, self.inputs)
            if self.holds(proof, Layout.ROWS, kernels=("eager",)):
                return proof
        raise Unfit("its logits are not its head on its last hidden state")

    def holds(self, proof: Proof, layout: Layout, kernels: tuple[str | None, ...] = ("eager", None)) -> bool:
        """Equal for every seed: alone and together, with attention by definition and with the usual kernel."""
        kernels = (None,) if layout in PACKING else kernels
        common = COMMON if layout is Layout.SHARED else 0
        return all(
            self._equal(self.model(seed, kernel), proof, layout, rows(LENGTHS, seed=seed, common=common), reference)
            or self._equal_in_double(seed, kernel, proof, layout, common)
            for seed, reference in zip(SEEDS, self._references(common), strict=True)
            for kernel in kernels
        )

    def _references(self, common: int) -> list[Reference]:
        if not common:
            return self.references
        return [
            plain_reference(self.model(seed), *rows(LENGTHS, seed=seed, common=common), self.inputs) for seed in SEEDS
        ]

    def _equal(
        self, model: PreTrainedModel, proof: Proof, layout: Layout, asked: tuple[Batch, Tensor], reference: Reference
    ) -> bool:
        """Alone, together, and the model's own forward after the policy has set its attention.

        A refusal by the model is a difference.
        """
        batch, grad_S = asked
        try:
            policy = Policy(model, layout=layout, table={self.key: proof})
            seen = [
                policy_reference(policy, [batch], grad_S),
                policy_reference(policy, list(batch.rows_alone()), grad_S),
                plain_reference(model, batch, grad_S, self.inputs),
            ]
        except Exception as error:  # noqa: BLE001  a refusal in any class is a difference
            self.differences[layout.value] = _short(error)
            self.worst = (float("inf"), float("inf"))
            return False
        found = [difference(it, reference) for it in seen]
        self.differences[layout.value] = ", ".join(f"{a:.1e}/{b:.1e}" for a, b in found)
        self.worst = max(a for a, _ in found), max(b for _, b in found)
        return max(self.worst) <= TOLERANCE

    def _equal_in_double(self, seed: int, kernel: str | None, proof: Proof, layout: Layout, common: int) -> bool:
        """Log-probabilities agree and gradients miss by a hair: what double precision removes was rounding."""
        if self.worst[0] > TOLERANCE or self.worst[1] > 10 * TOLERANCE:
            return False
        asked = rows(LENGTHS, seed=seed, common=common)
        reference = plain_reference(self.model(seed).double(), *asked, self.inputs)
        return self._equal(self.model(seed, kernel).double(), proof, layout, asked, reference)

    def _is_random(self, model: PreTrainedModel) -> bool:
        """Other random numbers, another answer."""
        torch.manual_seed(12345)
        return difference(plain_reference(model, *rows(LENGTHS), self.inputs), self.references[0])[0] > TOLERANCE

    def _logprobs(self, model: PreTrainedModel, ids_T: NDArray[np.int32]) -> Tensor:
        weight_T = np.ones(len(ids_T), np.float32)
        weight_T[0] = 0.0
        batch = Batch(ids_T, weight_T, np.array([0, len(ids_T)]), np.zeros(1, np.int64))
        return plain_reference(model, batch, torch.ones(len(ids_T) - 1), self.inputs).logprob_S


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:160]
