"""The true values of what is trained, in fp32, and their gradients.

In: the trainable parameters by name. Out: `Masters`: values and gradients by the same names.

Precision. A parameter in fp32 is its own master. A parameter in bf16 works in bf16 (forward, backward) and
has a master in fp32 beside it: bf16 keeps 8 bits, so an update smaller than 1/256 of a weight would be rounded
away, and at the learning rates of fine-tuning nearly all are. After every micro-batch its bf16 gradient is
added to an fp32 sum and dropped, so that small micro-batches late in a step are not rounded away either.
With `master_dtype="bfloat16"` (`pure_bf16`) a bf16 parameter is its own master too: half the memory, lost updates.

It does not update anything: that is `optimizer`. fp16 has no place here: without loss scaling its gradients vanish.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

import torch
from torch import Tensor, nn

from llama_factory.errors import InputError, OurFault

GLANCED = 1 << 22
"""Numbers that are squared in fp64 at a time: 64 MB, where the largest matrix could take gigabytes."""


class Masters:
    """A context: the hooks that collect gradients are on the parameters only inside it.

    values: name -> the tensor that the optimizer updates; its `.grad` is the sum over the step's micro-batches.
    """

    def __init__(self, trainable: Mapping[str, nn.Parameter], *, master_dtype: str = "float32") -> None:
        if not trainable:
            raise InputError("trainer.nothing-trainable")
        self._working = dict(trainable)
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self.values: dict[str, Tensor] = {}
        for name, parameter in self._working.items():
            if parameter.dtype == torch.float16:
                raise InputError("trainer.half-weights", where=name)
            own = parameter.dtype == torch.float32 or master_dtype == "bfloat16"
            self.values[name] = parameter if own else parameter.detach().float().clone()

    def __enter__(self) -> Masters:
        for name, parameter in self._working.items():
            parameter.grad = None
            if self.values[name] is not parameter:
                hook = _Collect(self.values[name])
                self._hooks.append(parameter.register_post_accumulate_grad_hook(hook))  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self.forget_gradients()

    def tensors(self) -> dict[str, Tensor]:
        """The values without their gradients, not copied: what is saved and handed out."""
        return {name: value.detach() for name, value in self.values.items()}

    def gradients(self) -> dict[str, Tensor]:
        """Of the parameters that the step touched: an expert that no token was sent to has none."""
        return {name: value.grad for name, value in self.values.items() if value.grad is not None}

    def forget_gradients(self) -> None:
        """Also one that a backward left on a bf16 parameter when it was broken off."""
        for name, value in self.values.items():
            value.grad = self._working[name].grad = None

    def gradient_norm(self) -> float:
        """The L2 norm over all gradients laid end to end."""
        gradients = list(self.gradients().values())
        return float(nn.utils.get_total_norm(gradients)) if gradients else 0.0

    def clip(self, norm: float, max_norm: float) -> None:
        """Scale all gradients by max_norm / norm if norm is larger, Pascanu et al. 2013 (arXiv 1211.5063), alg. 1."""
        if 0 < max_norm < norm + 1e-6:  # torch's own safeguard against a norm of 0; below it the factor is 1
            touched = [value for value in self.values.values() if value.grad is not None]
            nn.utils.clip_grads_with_norm_(touched, max_norm, torch.tensor(norm))

    def to_working(self) -> None:
        """Round the masters into the working weights. Parameters that are their own masters are left alone."""
        with torch.no_grad():
            for name, parameter in self._working.items():
                if self.values[name] is not parameter:
                    parameter.copy_(self.values[name])

    @contextmanager
    def showing(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside, the model works with these values instead of the masters', which are left alone.

        A parameter that is its own master is kept aside for as long; one whose master this is already costs nothing.
        """
        other = {name: value for name, value in values.items() if not _is_same(value, self.values[name])}
        kept = {name: one.detach().clone() for name, one in self._working.items() if name in other}
        try:
            with torch.no_grad():
                for name, value in other.items():
                    self._working[name].copy_(value)
            yield
        finally:
            with torch.no_grad():
                for name, value in kept.items():
                    self._working[name].copy_(value)

    def become(self, values: Mapping[str, Tensor]) -> None:
        """The masters, and the model with them, take these values on. What they have already costs nothing."""
        other = {name: value for name, value in values.items() if not _is_same(value, self.values[name])}
        if other:
            self.load({**self.tensors(), **other})

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Take over saved values. Names and shapes must be these; the caller has compared them."""
        if values.keys() != self.values.keys():
            raise OurFault("trainer.other-parameters-inside")
        with torch.no_grad():
            for name, value in self.values.items():
                value.copy_(values[name])
        self.to_working()

    def glance(self) -> list[float]:
        """A number for each value that another one would hardly have: the sum of its squares, with little copied."""
        return [
            math.fsum(part.double().square().sum().item() for part in torch.split(value.detach().reshape(-1), GLANCED))
            for value in self.values.values()
        ]

    def finite(self) -> bool:
        """In one pass without a copy: nan and inf both show in the smallest or the largest value."""
        edges = (edge for value in self.values.values() if value.numel() for edge in torch.aminmax(value.detach()))
        return all(math.isfinite(edge.item()) for edge in edges)


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape


class _Collect:
    """After a micro-batch: add the parameter's gradient to its master's in fp32, then drop it."""

    def __init__(self, master: Tensor) -> None:
        self._master = master

    def __call__(self, parameter: Tensor) -> None:
        gradient = parameter.grad
        parameter.grad = None
        if gradient is None:
            return
        if self._master.grad is None:
            self._master.grad = gradient.float()
        else:
            self._master.grad.add_(gradient)
