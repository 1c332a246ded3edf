"""Modules that learn whole beside an adapter: peft keeps them in a wrapper, next to the one of the base.

In: a module as it stands in the model. Out: the one that is computed with. It wraps nothing and trains nothing.
"""

from __future__ import annotations

from typing import Any, cast

from torch import nn


def at_work(module: nn.Module) -> nn.Module:
    """The module itself; of a wrapper the one inside that answers now: trained, or the base's where that is off."""
    from peft.utils import ModulesToSaveWrapper

    if not isinstance(module, ModulesToSaveWrapper):
        return module
    inside: nn.Module = module.original_module if module.disable_adapters else trained(module)
    return inside


def trained(wrapper: nn.Module) -> nn.Module:
    """The module that was trained in the place of the base's."""
    (active,) = cast(Any, wrapper).active_adapters
    return cast(Any, wrapper).modules_to_save[active]  # type: ignore[no-any-return]
