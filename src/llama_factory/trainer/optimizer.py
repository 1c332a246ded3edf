"""The update: AdamW on the masters, its table of names, and its state as plain tensors.

In: master tensors by name. Out: an `Optimizer` whose state goes in and out as named tensors, so that a
checkpoint needs no pickle. It does not clip, count or schedule: it is told the learning rate of each step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from llama_factory.trainer.masters import Masters
from llama_factory.trainer.plan import FitPlan

STATE = ("exp_avg", "exp_avg_sq", "step")
FACTOR = "factor"
"""Of a group: how many times the schedule's rate moves it."""

_UNDECAYED = re.compile(r"bias|layernorm|rmsnorm|(^|[._])norm($|\.)")


def decayed(module: nn.Module, names: list[str]) -> list[str]:
    """Of these parameters, those that weight decay pulls on: all but biases and the scales of norms.

    The same choice as `transformers.Trainer` makes, by name and by layer type (a test compares them).
    """
    norms = tuple(f"{name}." for name, layer in module.named_modules() if isinstance(layer, nn.LayerNorm))
    return [name for name in names if not _UNDECAYED.search(name.lower()) and not name.startswith(norms)]


class Optimizer:
    """One torch optimizer over the masters, addressed by name."""

    def __init__(self, masters: Masters, module: nn.Module, plan: FitPlan) -> None:
        self._values = masters.values
        self._torch = OPTIMIZERS[plan.optim](_groups(self._values, module, plan), plan)

    def step(self, learning_rate: float) -> None:
        for group in self._torch.param_groups:
            group["lr"] = learning_rate * group[FACTOR]
        self._torch.step()

    def state(self) -> dict[str, Tensor]:
        """`exp_avg/<name>`, `exp_avg_sq/<name>`, `step/<name>`; nothing for a parameter never touched so far."""
        return {
            f"{kind}/{name}": self._torch.state[value][kind]
            for name, value in self._values.items()
            if value in self._torch.state
            for kind in STATE
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._torch.state.clear()
        for key, tensor in state.items():
            kind, _, name = key.partition("/")
            value = self._values[name]
            # `step` stays where it was saved from: the fused kernel wants it beside the weights.
            self._torch.state[value][kind] = tensor.to(value.device).clone()


def _groups(values: Mapping[str, Tensor], module: nn.Module, plan: FitPlan) -> list[dict[str, object]]:
    """Parameters that are moved alike: with or without decay, by the same multiple of the schedule's rate."""
    pulled = set(decayed(module, list(values)))
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, value in values.items():
        groups.setdefault((plan.rate_factors.get(name, 1.0), name not in pulled), []).append(value)
    return [
        {"params": groups[factor, bare], "weight_decay": 0.0 if bare else plan.weight_decay, FACTOR: factor}
        for factor, bare in sorted(groups)
    ]


def _adamw(groups: list[dict[str, object]], plan: FitPlan) -> torch.optim.Optimizer:
    """Loshchilov & Hutter 2019 (arXiv 1711.05101), alg. 2, by torch's fused kernel: one pass over the memory."""
    return torch.optim.AdamW(
        groups,
        lr=plan.learning_rate,
        betas=(plan.adam_beta1, plan.adam_beta2),
        eps=plan.adam_epsilon,
        fused=True,
    )


OPTIMIZERS: Mapping[str, Callable[[list[dict[str, object]], FitPlan], torch.optim.Optimizer]] = {
    # Two names of one formula: what they differ in elsewhere is the kernel, and the fused one is never worse.
    "adamw_torch": _adamw,
    "adamw_torch_fused": _adamw,
}
