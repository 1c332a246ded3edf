"""How a run goes: batches, steps, precision; what is measured, kept and logged. Optimizer and schedule stand beside it.

What it deliberately does not do: know what this machine can compute. `bf16: true` is a wish that `machine` judges.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import model_validator

from llama_factory.config.keys import Section, key
from llama_factory.config.sections.objective import Loss, Noise
from llama_factory.config.sections.optimizer import Optimizer
from llama_factory.config.sections.schedule import Schedule
from llama_factory.config.values import Choice, Flag, Names, Number, Path, PathOrFlag, UnreadableError, Whole, as_bool

SEED_MAX = 2**32 - 1


class Training(Section):
    title = ("training", "训练")

    output_dir: Annotated[str | None, Path()] = key(
        None,
        en="The folder of this run: the trained weights, checkpoints, logs, the plot, the resolved configuration.",
        zh="本次训练的文件夹：权重、检查点、日志、曲线图与最终配置。",
        starter="saves/my-model",
    )
    overwrite_output_dir: Annotated[bool, Flag()] = key(
        False,
        en="Start anew in an output_dir that holds another run.",
        zh="output_dir 中已有其他训练时重新开始。",
    )
    resume_from_checkpoint: Annotated[str | bool | None, PathOrFlag()] = key(
        None,
        en="Go on from a checkpoint: true = the newest whole one in output_dir, or the path of one.",
        zh="从检查点继续：true 表示 output_dir 中最新的完整检查点，也可写路径。",
    )
    per_device_train_batch_size: Annotated[int, Whole(at_least=1)] = key(
        1,
        en="Rows per device in one micro-batch; times gradient_accumulation_steps it gives the rows of an update.",
        zh="每个设备一个微批的行数；乘以 gradient_accumulation_steps 即一次更新的行数。",
        unit="rows",
        starter=1,
    )
    gradient_accumulation_steps: Annotated[int, Whole(at_least=1)] = key(
        1,
        en="Micro-batches whose gradients are added up before the weights move.",
        zh="累加多少个微批的梯度后更新一次权重。",
        unit="micro-batches",
        starter=8,
    )
    micro_batch_tokens: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Tokens computed at a time. Changes speed and memory, not the result. Nothing given: the machine decides.",
        zh="一次计算的词元数。只影响速度与内存，不影响结果；不填则按机器选择。",
        unit="tokens",
    )
    num_train_epochs: Annotated[float, Number(above=0)] = key(
        3.0,
        en="How often the whole data set is gone through.",
        zh="完整遍历数据集的次数。",
        unit="epochs",
        starter=3.0,
    )
    max_steps: Annotated[int, Whole(at_least=1, also=(-1,))] = key(
        -1,
        en="Number of updates, in place of num_train_epochs. -1 = num_train_epochs decides.",
        zh="更新次数，优先于 num_train_epochs；-1 表示由 num_train_epochs 决定。",
        unit="steps",
    )
    seed: Annotated[int, Whole(at_least=0, at_most=SEED_MAX)] = key(
        42,
        en="Start of all random numbers: the same seed gives the same run.",
        zh="随机数种子：相同的种子得到相同的训练。",
    )
    bf16: Annotated[bool | None, Flag()] = key(
        None,
        en="Compute in bf16; what is trained stays in fp32. Nothing given: where the machine computes in it.",
        zh="以 bf16 计算，训练的权重仍为 fp32；不填则在机器支持时使用。",
        starter="# true",
    )
    fp16: Annotated[bool | None, Flag()] = key(
        None,
        en="Asks for half precision: taken as bf16 where the machine computes in it, else as fp32, and said so.",
        zh="要求半精度：机器支持 bf16 时用 bf16，否则用 fp32，并会说明。",
    )
    pure_bf16: Annotated[bool, Flag()] = key(
        False,
        en="Keep what is trained in bf16 too. Saves memory; small updates are lost.",
        zh="训练的权重也用 bf16。节省内存，但较小的更新会丢失。",
    )
    skip_bad_batch: Annotated[int, Whole(at_least=0)] = key(
        0,
        en="How many steps whose loss or gradient is no finite number are passed over; one more ends the run. "
        "0 = the first one ends it.",
        zh="损失或梯度不是有限数值的训练步最多跳过多少次；再多一次则结束训练。0 表示第一次即结束。",
        unit="steps",
    )
    gradient_checkpointing: Annotated[bool | None, Flag()] = key(
        None,
        en="Compute activations twice to save memory. Without it: only where the plan needs it to fit.",
        zh="重复计算激活值以节省内存。不填则仅在规划认为否则放不下时使用。",
    )
    ignore_memory_plan: Annotated[bool, Flag()] = key(
        False,
        en="Train though the plan says that memory will not be enough.",
        zh="即使规划认为内存不足，仍然训练。",
    )
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    loss: Loss = Loss()
    noise: Noise = Noise()


class Best(Section):
    title = ("the best model", "最佳模型")

    early_stopping: Annotated[bool, Flag()] = key(
        False,
        en="Stop when the validation loss gets no better. Where eval_strategy does not say when: after every epoch.",
        zh="验证损失不再变好时停止；未给出 eval_strategy 时每轮之后测量。",
    )
    early_stopping_patience: Annotated[int, Whole(at_least=1)] = key(
        3,
        en="With early_stopping: how many measurements in a row may be no better than the best.",
        zh="early_stopping 时，允许连续多少次测量不优于最好的一次。",
        unit="measurements",
    )
    early_stopping_threshold: Annotated[float, Number(at_least=0)] = key(
        0.0,
        en="With early_stopping: a gain that is not larger than this does not count.",
        zh="early_stopping 时，不超过此值的改善不计。",
    )
    load_best_model_at_end: Annotated[bool | None, Flag()] = key(
        None,
        en="The result has the weights of the best measurement, also kept in output_dir/best. Nothing given: with "
        "early_stopping.",
        zh="结果采用验证最好时的权重（同时保存在 output_dir/best）；不填则随 early_stopping。",
    )
    metric_for_best_model: Annotated[
        str,
        Choice(
            ("eval_loss",),
            planned=("accuracy", "eval_accuracy", "eval_bleu-4", "eval_rouge-1", "eval_rouge-2", "eval_rouge-l"),
            also={"loss": "eval_loss"},
            pattern=r"eval_\w+_loss",
            shown="eval_NAME_loss",
        ),
    ] = key(
        "eval_loss",
        en="What the best model is the best by: eval_loss, or eval_NAME_loss with eval_on_each_dataset.",
        zh="以哪个指标判断最佳模型：eval_loss，或在 eval_on_each_dataset 下用 eval_名称_loss。",
    )
    greater_is_better: Annotated[bool | None, Flag()] = key(
        None,
        en="Whether a larger metric_for_best_model is better. For a loss only false makes sense.",
        zh="metric_for_best_model 是否越大越好；对损失只能为 false。",
    )

    @property
    def keeps_best(self) -> bool:
        """`load_best_model_at_end`, with its default filled in."""
        return self.early_stopping if self.load_best_model_at_end is None else self.load_best_model_at_end

    @property
    def asked_by(self) -> str:
        """The key that needs measurements, if any does."""
        return "early_stopping" if self.early_stopping else "load_best_model_at_end" if self.keeps_best else ""


class Evaluation(Section):
    title = ("evaluation", "验证")

    eval_strategy: Annotated[
        Literal["no", "steps", "epoch"], Choice(("no", "steps", "epoch"), also={"false": "no"})
    ] = key(
        "no",
        en="When the validation loss is measured: every eval_steps steps, after every epoch, or not.",
        zh="何时测量验证损失：每 eval_steps 步、每轮之后，或不测量。",
        starter="# steps",
    )
    eval_steps: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Steps between two measurements with eval_strategy: steps. Nothing given: logging_steps.",
        zh="eval_strategy: steps 时两次测量之间的步数；不填则同 logging_steps。",
        unit="steps",
        starter="# 100",
    )
    do_eval: Annotated[bool, Flag()] = key(
        False,
        en="Measure the validation loss. Where eval_strategy does not say when: after every epoch.",
        zh="测量验证损失；未给出 eval_strategy 时每轮之后测量。",
    )

    @model_validator(mode="before")
    @classmethod
    def _asked_for_without_a_time_means_every_epoch(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "eval_strategy" in given:
            return given
        best = given.get("best", {})
        if any(_is_true(best.get(key)) for key in ("early_stopping", "load_best_model_at_end")):
            return {**given, "eval_strategy": "epoch" if given.get("eval_steps") is None else "steps"}
        return {**given, "eval_strategy": "epoch"} if _is_true(given.get("do_eval")) else given

    best: Best = Best()


def _is_true(value: object) -> bool:
    try:
        return as_bool(value)
    except UnreadableError:
        return False


class Saving(Section):
    title = ("saving", "保存")

    save_strategy: Annotated[
        Literal["no", "steps", "epoch"], Choice(("no", "steps", "epoch"), planned=("best",), also={"false": "no"})
    ] = key(
        "steps",
        en="When a checkpoint is written: every save_steps steps, after every epoch, or only the end result.",
        zh="何时写检查点：每 save_steps 步、每轮之后，或只写最终结果。",
    )
    save_steps: Annotated[int, Whole(at_least=1)] = key(
        500,
        en="Steps between two checkpoints with save_strategy: steps.",
        zh="save_strategy: steps 时两个检查点之间的步数。",
        unit="steps",
        starter=100,
    )
    save_total_limit: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Keep this many checkpoints; the oldest goes when a new one is whole. Nothing given: all.",
        zh="保留的检查点个数，新的写完后删除最旧的；不填则全部保留。",
        unit="checkpoints",
        starter=2,
    )


class Logging(Section):
    title = ("logging", "日志")

    logging_steps: Annotated[int, Whole(at_least=1)] = key(
        10,
        en="Steps between two lines of the log.",
        zh="两行日志之间的步数。",
        unit="steps",
        starter=10,
    )
    logging_dir: Annotated[str | None, Path()] = key(
        None,
        en="Folder for TensorBoard. Nothing given: inside output_dir.",
        zh="TensorBoard 文件夹；不填则在 output_dir 内。",
    )
    plot_loss: Annotated[bool, Flag()] = key(
        False,
        en="Draw the loss into training_loss.png.",
        zh="将损失曲线画入 training_loss.png。",
        starter=True,
    )
    report_samples: Annotated[int, Whole(at_least=0, at_most=16)] = key(
        2,
        en="How many rows are answered before and after training, for report.html. 0 = none.",
        zh="为 report.html 用多少条数据展示训练前后的回答；0 表示不生成。",
        unit="rows",
    )
    report_to: Annotated[
        tuple[str, ...],
        Names(
            words=("none", "tensorboard"),
            planned=("all", "wandb", "mlflow", "swanlab", "comet_ml", "clearml", "neptune", "trackio", "dvclive"),
        ),
    ] = key(
        ("tensorboard",),
        en="Who else listens to the log. none = nobody.",
        zh="日志还发给谁；none 表示无。",
    )
