"""One maker for each kind of optimizer: the plan's numbers under the names that its package gives them.

In: `Asked`. Out: an `Engine`. A package is imported only by its own maker. Which formula, which paper and what it
costs: docs/optimizers.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch

from llama_factory.errors import InputError
from llama_factory.model.upstream import without_bitsandbytes
from llama_factory.trainer.optimizers.averaged import Averaged
from llama_factory.trainer.optimizers.badam import LayerBlocks, RatioBlocks
from llama_factory.trainer.optimizers.engine import Engine, Projected
from llama_factory.trainer.optimizers.groups import FACTOR, Asked, Group, hidden_matrices, projected

Make = Callable[[Asked], Engine]

GALORE, APOLLO = "galore_torch", "apollo_torch"


def _adam(asked: Asked) -> dict[str, Any]:
    return {"lr": asked.plan.learning_rate, "betas": asked.betas, "eps": asked.plan.adam_epsilon}


def _adamw_of(groups: list[Group], asked: Asked) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, **_adam(asked), fused=True)


def adamw(asked: Asked) -> Engine:
    """Loshchilov & Hutter 2019 (arXiv 1711.05101), alg. 2, by torch's fused kernel: one pass over the memory."""
    return Engine([_adamw_of(asked.groups(), asked)], asked.values)


def plain(name: str, asked: Asked) -> Engine:
    """torch's SGD, RMSprop and Adagrad."""
    made = getattr(torch.optim, name)(asked.groups(), lr=asked.plan.learning_rate, **asked.plan.optim_args)
    return Engine([made], asked.values)


def adafactor(asked: Asked) -> Engine:
    """Shazeer & Stern 2018 (arXiv 1804.04235) as transformers has it, at the rate that it is told."""
    from transformers.optimization import Adafactor

    settings = {"scale_parameter": False, "relative_step": False, **asked.plan.optim_args}
    return Engine([Adafactor(asked.groups(), lr=asked.plan.learning_rate, **settings)], asked.values)


def lion(asked: Asked) -> Engine:
    """Chen et al. 2023 (arXiv 2302.06675), alg. 2: the sign of a momentum."""
    from lion_pytorch import Lion

    return Engine([Lion(asked.groups(), lr=asked.plan.learning_rate, betas=asked.betas)], asked.values)


def bitsandbytes(name: str, bits: int, asked: Asked) -> Engine:
    """Dettmers et al. 2022 (arXiv 2110.02861): the same formulas, state in blocks of 8 bits. Paged on a GPU alone."""
    import bitsandbytes.optim as bnb

    plan = asked.plan
    settings: dict[str, Any] = {"lr": plan.learning_rate, "optim_bits": bits, **plan.optim_args}
    if name == "Lion":
        settings["betas"] = asked.betas
    elif name == "AdEMAMix":
        beta3 = settings.pop("beta3", 0.9999)
        settings |= {"betas": (*asked.betas, beta3), "eps": plan.adam_epsilon}
    elif name == "AdamW":
        settings |= {"betas": asked.betas, "eps": plan.adam_epsilon}
    if plan.paged:
        settings["is_paged"] = True
    return Engine([getattr(bnb, name)(asked.groups(), **settings)], asked.values)


def _low_rank(asked: Asked, **more: Any) -> list[Group]:
    """Two kinds of groups: what is projected, with how, and all else."""
    low = asked.plan.low_rank
    inside, outside = asked.split(projected(asked))
    how = {
        "rank": low.rank, "update_proj_gap": low.update_interval, "scale": low.scale, "proj_type": low.proj_type,
        **more,
    }  # fmt: skip
    return [*asked.groups(outside), *asked.groups(inside, **how)]


def galore_adamw(asked: Asked) -> Engine:
    """Zhao et al. 2024 (arXiv 2403.03507), alg. 2: Adam on the gradient's projection onto its own singular vectors."""
    library, projector = without_bitsandbytes(GALORE, "adamw"), without_bitsandbytes(GALORE, "galore_projector")
    made = library.AdamW(_low_rank(asked), **_adam(asked), no_deprecation_warning=True)
    return Projected([made], asked.values, projector.GaLoreProjector)


def galore_adafactor(asked: Asked) -> Engine:
    """The same with Adafactor's moments, at the rate that it is told."""
    library, projector = without_bitsandbytes(GALORE, "adafactor"), without_bitsandbytes(GALORE, "galore_projector")
    settings = {"scale_parameter": False, "relative_step": False}
    made = library.Adafactor(_low_rank(asked), lr=asked.plan.learning_rate, **settings)
    return Projected([made], asked.values, projector.GaLoreProjector)


def apollo_adamw(asked: Asked) -> Engine:
    """Zhu et al. 2024 (arXiv 2412.05270), alg. 1: the gradient itself, scaled as Adam would scale its projection."""
    library, drawn = without_bitsandbytes(APOLLO, "apollo"), without_bitsandbytes(APOLLO, "random_projector")
    found = without_bitsandbytes(APOLLO, "svd_projector")
    low = asked.plan.low_rank
    groups = _low_rank(asked, proj=low.proj, scale_type=low.scale_type)
    made = library.AdamW(groups, **_adam(asked), scale_front=low.scale_front)
    return Projected([made], asked.values, drawn.GradientProjector, found.GaLoreProjector)


def adam_mini(asked: Asked) -> Engine:
    """Zhang et al. 2024 (arXiv 2406.16793), alg. 1: one second moment for each head, neuron or token."""
    from adam_mini import Adam_mini

    config = _text_config(asked.module)
    heads, width = getattr(config, "num_attention_heads", None), getattr(config, "hidden_size", None)
    if not heads or not width:
        raise InputError("trainer.no-heads")
    for name, value in asked.values.items():
        if value.ndim > 2:
            raise InputError("trainer.no-heads", where=name)
    made = Adam_mini(
        named_parameters=list(asked.values.items()), **_adam(asked), weight_decay=asked.plan.weight_decay, dim=width,
        n_heads=heads, n_kv_heads=getattr(config, "num_key_value_heads", None) or heads, verbose=False,
    )  # fmt: skip
    # Its own count takes a head to be hidden_size / heads wide, which newer models do not hold to.
    made.head_numel = (getattr(config, "head_dim", None) or width // heads) * width
    ours = {value: group for group in asked.groups() for value in group["params"]}
    for group in made.param_groups:  # one a parameter: its own choice of what decays goes by other names
        group |= {key: ours[group["params"][0]][key] for key in ("weight_decay", FACTOR)}
    return Engine([made], asked.values)


def _text_config(module: torch.nn.Module) -> Any:
    config = getattr(module, "config", None)
    return cast(Any, config).get_text_config() if hasattr(config, "get_text_config") else config


def muon(asked: Asked) -> Engine:
    """Jordan et al. 2024 and Liu et al. 2025 (arXiv 2502.16982), eq. 4: orthogonal updates as long as AdamW's.

    Matrices of the layers alone; embeddings, the head, norms and biases go to AdamW at the same rate.
    """
    inside, outside = asked.split(hidden_matrices(asked))
    if not inside:
        raise InputError("trainer.no-optimizer-target", found="all", known="-")
    settings = {"adjust_lr_fn": "match_rms_adamw", **asked.plan.optim_args}
    parts: list[torch.optim.Optimizer] = [
        torch.optim.Muon(asked.groups(inside), lr=asked.plan.learning_rate, **settings)
    ]
    if outside:
        parts.append(_adamw_of(asked.groups(outside), asked))
    return Engine(parts, asked.values)


def schedule_free(name: str, asked: Asked) -> Engine:
    """Defazio et al. 2024 (arXiv 2405.15682), alg. 1: an average of the weights in place of a falling rate."""
    import schedulefree

    settings: dict[str, Any] = dict(asked.plan.optim_args)
    if name == "SGDScheduleFree":
        settings |= {"lr": asked.plan.learning_rate, "momentum": asked.plan.adam_beta1}
    else:
        settings |= _adam(asked)
    return Averaged([getattr(schedulefree, name)(asked.groups(), **settings)], asked.values)


MAKERS: Mapping[str, Make] = {
    "adafactor": adafactor,
    "adagrad": partial(plain, "Adagrad"),
    "adam_mini": adam_mini,
    "adamw": adamw,
    "adamw_8bit": partial(bitsandbytes, "AdamW", 8),
    "adamw_bnb": partial(bitsandbytes, "AdamW", 32),
    "ademamix": partial(bitsandbytes, "AdEMAMix", 32),
    "ademamix_8bit": partial(bitsandbytes, "AdEMAMix", 8),
    "apollo_adamw": apollo_adamw,
    "badam_layer": LayerBlocks.make,
    "badam_ratio": RatioBlocks.make,
    "galore_adafactor": galore_adafactor,
    "galore_adamw": galore_adamw,
    "lion": lion,
    "lion_8bit": partial(bitsandbytes, "Lion", 8),
    "lion_bnb": partial(bitsandbytes, "Lion", 32),
    "muon": muon,
    "rmsprop": partial(plain, "RMSprop"),
    "rmsprop_8bit": partial(bitsandbytes, "RMSprop", 8),
    "rmsprop_bnb": partial(bitsandbytes, "RMSprop", 32),
    "schedule_free_adamw": partial(schedule_free, "AdamWScheduleFree"),
    "schedule_free_radam": partial(schedule_free, "RAdamScheduleFree"),
    "schedule_free_sgd": partial(schedule_free, "SGDScheduleFree"),
    "sgd": partial(plain, "SGD"),
}
"""By kind, as in `config.optimizers.OPTIMIZERS`."""
