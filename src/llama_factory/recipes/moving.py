"""The keys of the optimizer, arranged as `trainer` takes them. Wiring only, like `wiring`, which uses it.

In: the section of a run. Out: what its own section of the plan says, and what of it makes a run this run.
"""

from __future__ import annotations

from collections.abc import Mapping

from llama_factory.config import Run
from llama_factory.config.optimizers import UNPAGED
from llama_factory.config.sections.optimizer import Optimizer
from llama_factory.errors import MachineError
from llama_factory.trainer.checkpoints import Fact
from llama_factory.trainer.plan import Blocks, LowRank


def require_pages(run: Run, device: str) -> None:
    """A state in pages needs a GPU to move them out of; elsewhere bitsandbytes takes the name and does nothing."""
    optim = run.training.optimizer.optim
    if optim.startswith("paged_") and not device.startswith("cuda"):
        values = {"found": optim, "device": device, "instead": UNPAGED[optim]}
        raise MachineError("machine.no-paging", where=run.where("optim"), **values)


def low_rank(optimizer: Optimizer) -> LowRank:
    """The keys of GaLore or APOLLO, and `optim_args` over them, in which 0 was refused."""
    galore, apollo, args = optimizer.galore, optimizer.apollo, optimizer.args
    interval, scale = galore.galore_update_interval, galore.galore_scale
    proj_type: str = galore.galore_proj_type
    if optimizer.kind == "apollo_adamw":
        interval, scale = apollo.apollo_update_interval, apollo.apollo_scale
        proj_type = apollo.apollo_proj_type
    return LowRank(
        targets=optimizer.targets,
        rank=optimizer.rank,
        update_interval=int(args.get("update_proj_gap") or interval),
        scale=float(args.get("scale") or scale),
        proj_type=proj_type,
        proj=apollo.apollo_proj,
        scale_type=apollo.apollo_scale_type,
        scale_front=apollo.apollo_scale_front,
    )


def blocks(optimizer: Optimizer) -> Blocks:
    badam = optimizer.badam
    return Blocks(
        start_block=badam.badam_start_block,
        switch_mode=badam.badam_switch_mode,
        switch_interval=badam.badam_switch_interval,
        update_ratio=badam.badam_update_ratio,
        mask_mode=badam.badam_mask_mode,
        said=badam.badam_verbose > 0,
    )


def moved_by(optimizer: Optimizer) -> Mapping[str, Fact]:
    """What the optimizer's state depends on; nothing with AdamW, whose checkpoints know no such key."""
    if optimizer.kind == "adamw":
        return {}
    section = {"galore": optimizer.galore, "apollo": optimizer.apollo, "badam": optimizer.badam}.get(
        optimizer.kind.split("_")[0]
    )
    keys = {} if section is None else section.model_dump(exclude={"badam_verbose"})
    return {"optim": optimizer.kind, "optim_args": str(dict(optimizer.args)), **{key: str(keys[key]) for key in keys}}
