"""The keys of the loss, and of what is made random while training so that less is learned by heart.

What it deliberately does not do: compute either. Losses are in `losses`, noise and dropout in `model`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Flag, Number

Kind = Literal["nll", "dft", "eaft", "asft", "smoothed"]


class Loss(Section):
    title = ("the loss", "损失函数")

    use_dft_loss: Annotated[bool, Flag()] = key(
        False,
        en="DFT: each token's loss counts as much as the model already believes in it (arXiv 2508.05629).",
        zh="DFT：按模型对该词元的概率加权其损失（arXiv 2508.05629）。",
    )
    use_eaft_loss: Annotated[bool, Flag()] = key(
        False,
        en="EAFT: each token's loss counts as much as the model is undecided there (arXiv 2601.02151).",
        zh="EAFT：按模型在该处的不确定程度（熵）加权损失（arXiv 2601.02151）。",
    )
    eaft_alpha: Annotated[float, Number(at_least=0)] = key(
        1.0,
        en="With use_eaft_loss: the power of that entropy; 0 is the usual loss.",
        zh="use_eaft_loss 时熵的指数；0 即普通损失。",
    )
    use_asft_loss: Annotated[bool, Flag()] = key(
        False,
        en="ASFT: DFT, held near the base model by a divergence from it (arXiv 2509.23753). With full and freeze a "
        "second copy of the model is kept for that.",
        zh="ASFT：在 DFT 基础上以与基座模型的散度约束（arXiv 2509.23753）。full 与 freeze 会为此多保留一份模型。",
    )
    asft_alpha: Annotated[float, Number(at_least=0)] = key(
        0.1,
        en="With use_asft_loss: how much the divergence counts.",
        zh="use_asft_loss 时散度的权重。",
    )
    label_smoothing_factor: Annotated[float, Number(at_least=0, below=1)] = key(
        0.0,
        en="Share of each label that is spread over the whole vocabulary.",
        zh="标签中均匀分摊到整个词表的比例。",
    )

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The losses that are asked for; the rules allow one."""
        asked: dict[Kind, bool] = {
            "dft": self.use_dft_loss,
            "eaft": self.use_eaft_loss,
            "asft": self.use_asft_loss,
            "smoothed": self.label_smoothing_factor > 0,
        }
        return tuple(kind for kind, wanted in asked.items() if wanted) or ("nll",)

    @property
    def kind(self) -> Kind:
        return self.kinds[0]


class Noise(Section):
    title = ("noise while training", "训练时的随机扰动")

    neftune_noise_alpha: Annotated[float | None, Number(at_least=0)] = key(
        None,
        en="NEFTune: strength of the noise on the embeddings while training, such as 5 (arXiv 2310.05914).",
        zh="NEFTune：训练时加在词嵌入上的噪声强度，例如 5（arXiv 2310.05914）。",
    )
    model_dropout: Annotated[float | None, Number(at_least=0, below=1)] = key(
        None,
        en="Dropout of the model's own layers while training, such as 0.3; nothing given: as config.json says. "
        "lora_dropout is another one.",
        zh="训练时模型自身各层的 dropout，例如 0.3；不填则按 config.json。与 lora_dropout 不同。",
    )
