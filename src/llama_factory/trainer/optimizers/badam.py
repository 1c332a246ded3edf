"""BAdam, Luo et al. 2024 (arXiv 2404.02827): AdamW on one block of the weights at a time, by its own package.

`LayerBlocks` trains one layer for some steps, then the next; only that layer has gradients, moments and, with
`pure_bf16`, an fp32 copy. `RatioBlocks` trains a share of every matrix. Embeddings and the head are never trained,
and with layers nor is what stands outside them, as in the package. The package keeps where it stands in attributes of
its own: they go into the checkpoint as numbers, its moments and fp32 copies as tensors.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from llama_factory.config.optimizers import RESTING
from llama_factory.errors import InputError
from llama_factory.records import Finding
from llama_factory.trainer.optimizers.engine import Engine
from llama_factory.trainer.optimizers.groups import FACTOR, Asked, decayed
from llama_factory.trainer.optimizers.state import Facts, gather, put_back

NEVER = 2**53
"""Steps: so long no block is changed. The package takes -1 for "every step"."""

COPY = "fp32"
"""Kind of the tensors that are a block's fp32 copies."""

T = TypeVar("T")


def _quietly(what: Callable[[], T]) -> T:
    """It prints, and warns of fp32 weights, which here are the masters."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return what()


def _block(name: str) -> str:
    """`model.layers.3.` of `model.layers.3.mlp.up_proj.weight`; nothing for what is in no list of layers."""
    found = re.match(r".*?\.\d+\.", name)
    return found.group() if found else ""


def _interval(steps: int) -> int:
    return NEVER if steps < 0 else steps


class LayerBlocks(Engine):
    """One layer at a time. The model's own parameters follow the masters: what rests asks for no gradient."""

    def __init__(self, made: Any, asked: Asked) -> None:
        self._made = made
        self._parameters = dict(asked.module.named_parameters())
        self._pulled = set(decayed(asked.module, list(asked.values)))
        self._decay = asked.plan.weight_decay
        self._tell = asked.plan.blocks.said
        self._new: list[Finding] = []
        super().__init__([made.base_optimizer], asked.values)
        self._follow()

    @classmethod
    def make(cls, asked: Asked) -> LayerBlocks:
        from badam import BlockOptimizer

        plan, how = asked.plan, asked.plan.blocks
        blocks = list(dict.fromkeys(_block(name) for name in asked.values if _block(name)))
        if not blocks or (how.start_block or 0) >= len(blocks):
            raise InputError("trainer.no-blocks", block=how.start_block or 0, count=len(blocks))
        groups = asked.groups()
        base = torch.optim.AdamW(groups, lr=plan.learning_rate, betas=asked.betas, eps=plan.adam_epsilon, fused=True)
        make = partial(
            BlockOptimizer, base, list(asked.values.items()), block_prefix_list=[[block] for block in blocks],
            switch_block_every=_interval(how.switch_interval), switch_mode=how.switch_mode, verbose=0,
            start_block=None if how.switch_mode == "random" else how.start_block,
        )  # fmt: skip
        return cls(_quietly(make), asked)

    def step(self, rate: float) -> None:
        for name in self._copies():
            if self._values[name].grad is None:  # an expert that no token was sent to
                self._values[name].grad = torch.zeros_like(self._values[name])
        before = self._made.active_param_prefixs
        for group in self._made.param_groups:
            group["lr"] = rate
        _quietly(self._made.step)
        if self._made.active_param_prefixs is not before:
            self._follow()

    def state(self) -> tuple[dict[str, Tensor], Facts]:
        made, copies = self._made, self._copies()
        tensors, facts = gather([made.base_optimizer], {copy: name for name, copy in copies.items()}, {})
        tensors |= {
            f"{COPY}/{name}": copy.detach() for name, copy in copies.items() if self._values[name].dtype != copy.dtype
        }
        stands = {
            "active": made.block_prefix_list.index(made.active_param_prefixs),
            "next": made.current_block_idx,
            "order": list(getattr(made, "block_order", ())),
            "steps": made.global_step,
        }
        return tensors, {"values": facts, "blocks": stands}

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Begin the block that was active anew, then say how far it was."""
        made, stands = self._made, facts["blocks"]
        if stands["active"] >= made.block_num:
            raise InputError("trainer.other-optimizer-state", reason=f"{stands['active']} >= {made.block_num}")
        made.current_block_idx, made.block_order = stands["active"], list(stands["order"])
        _quietly(made.switch_trainable_params)
        made.current_block_idx, made.block_order = stands["next"], list(stands["order"])
        made.global_step = stands["steps"]
        self._follow()
        copies = self._copies()
        moments = {key: value for key, value in tensors.items() if not key.startswith(f"{COPY}/")}
        put_back([made.base_optimizer], copies, moments, facts["values"], {})
        with torch.no_grad():
            for name, copy in copies.items():
                if f"{COPY}/{name}" in tensors:
                    copy.copy_(tensors[f"{COPY}/{name}"])

    def said(self) -> list[Finding]:
        new, self._new = self._new, []
        return new

    def _copies(self) -> dict[str, Tensor]:
        """The fp32 tensors that the active block is trained in, by name."""
        names = self._made.named_parameters_list
        return {names[place][0]: copy for place, copy in self._made.param_idx2hp.items()}

    def _follow(self) -> None:
        """After a change of the block. The package would let decay pull on norms too, which it takes for matrices."""
        for name, value in self._values.items():
            self._parameters[name].requires_grad_(value.requires_grad)
            if not value.requires_grad:
                value.grad = self._parameters[name].grad = None
        copies = self._copies()
        pulled, bare = self._made.base_optimizer.param_groups
        pulled["params"] = [copy for name, copy in copies.items() if name in self._pulled]
        bare["params"] = [copy for name, copy in copies.items() if name not in self._pulled]
        pulled["weight_decay"], bare["weight_decay"] = self._decay, 0.0
        if self._tell:
            made = self._made
            values = {
                "block": made.block_prefix_list.index(made.active_param_prefixs), "count": made.block_num,
                "names": ", ".join(made.active_param_prefixs),
            }  # fmt: skip
            self._new.append(Finding("trainer.block", "note", "", values))


class RatioBlocks(Engine):
    """A share of every matrix at a time, in views of the masters: their whole gradients stay where clipping sees them.

    Two flaws of the package are kept out: its masks are shared by all matrices of one shape and change in the middle
    of a step, and drawing a scattered one sets the seed of every random number.
    """

    def __init__(self, made: Any, views: Mapping[str, Tensor], asked: Asked) -> None:
        self._made, self._views = made, dict(views)
        self._masks: dict[str, Tensor | None] = {}
        super().__init__([made], asked.values)

    @classmethod
    def make(cls, asked: Asked) -> RatioBlocks:
        from badam import BlockOptimizerRatio

        plan, how = asked.plan, asked.plan.blocks
        trained, resting = asked.split(name for name in asked.values if not RESTING.search(name))
        if not trained:
            raise InputError("trainer.no-blocks", block=0, count=0)
        parameters = dict(asked.module.named_parameters())
        for name in resting:
            asked.values[name].requires_grad_(False)
            parameters[name].requires_grad_(False)
        views = {name: asked.values[name].detach() for name in trained}
        make = partial(
            BlockOptimizerRatio, [{"params": list(views.values()), FACTOR: 1.0}], list(views.items()),
            update_ratio=how.update_ratio, mask_mode=how.mask_mode, switch_every=_interval(how.switch_interval),
            lr=plan.learning_rate, betas=asked.betas, eps=plan.adam_epsilon, include_embedding=True,
            include_lm_head=True, verbose=0,
        )  # fmt: skip
        return cls(_quietly(make), views, asked)

    def step(self, rate: float) -> None:
        made = self._made
        made.param_groups[0]["lr"] = rate
        with torch.random.fork_rng(devices=[]), torch.sparse.check_sparse_tensor_invariants(enable=False):  # type: ignore[no-untyped-call]
            for name, view in self._views.items():
                if self._values[name].grad is not None:
                    view.grad = self._values[name].grad
                    made.mask_dict[view.shape] = self._masks.get(name)
                    made.sparse_hook(view)
                    self._masks[name] = made.mask_dict.get(view.shape)
            _quietly(made.step)
        for view in self._views.values():
            view.grad = None

    def state(self) -> tuple[dict[str, Tensor], Facts]:
        tensors, facts = gather([self._made], {view: name for name, view in self._views.items()}, {})
        places = {name: self._made.sparse_dict[view] for name, view in self._views.items()}
        stands = {name: [place["offset"], place["seed"]] for name, place in places.items()}
        return tensors, {"values": facts, "places": stands, "steps": self._made.global_step}

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        put_back([self._made], self._views, tensors, facts["values"], {})
        self._made.global_step = facts["steps"]
        for name, (offset, seed) in facts["places"].items():
            self._made.sparse_dict[self._views[name]] |= {"offset": offset, "seed": seed}
        self._masks.clear()
