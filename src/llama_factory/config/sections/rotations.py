"""The keys of OFT: frozen layers whose input is turned by small orthogonal blocks.

What it deliberately does not do: know the model's layers. `oft_target` and the widths are checked in `model`.
"""

from __future__ import annotations

from typing import Annotated

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Names, Number, Whole


class Oft(Section):
    title = ("oft: frozen layers whose input is turned", "oft：旋转冻结层的输入")

    oft_rank: Annotated[int, Whole(at_least=0)] = key(
        0,
        en="Number of OFT blocks a layer. 0: as many as blocks of oft_block_size fill its width. With a number here, "
        "oft_block_size is left out.",
        zh="每层的 OFT 块数；0 表示由 oft_block_size 决定。填写后无需 oft_block_size。",
        unit="blocks",
    )
    oft_block_size: Annotated[int, Whole(at_least=0)] = key(
        32,
        en="Width of one OFT block; it must divide the input width of every layer it is put on.",
        zh="每个 OFT 块的宽度；必须整除所作用各层的输入宽度。",
    )
    oft_target: Annotated[tuple[str, ...], Names(patterns=True)] = key(
        ("all",),
        en="Names of the layers whose input is turned. all = every linear layer but the head.",
        zh="输入被旋转的层名；all 表示除输出头外的所有线性层。",
    )
    module_dropout: Annotated[float, Number(at_least=0, below=1)] = key(
        0.0,
        en="Share of OFT's blocks that turn nothing, drawn anew in every forward of training.",
        zh="训练时每次前向随机不做旋转的 OFT 块比例。",
    )

    @property
    def block_size(self) -> int:
        """`oft_block_size`; 0 where the number of blocks is given instead."""
        return 0 if self.oft_rank else self.oft_block_size
