"""Which rows are learned from, how they become text, and what happens to rows that do not fit.

What it deliberately does not do: read a row, or know dataset_info.json. That is the `data` room's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from llama_factory.config.keys import ALL, Section, key
from llama_factory.config.sections.mixing import Learning, Mixing
from llama_factory.config.values import Choice, Flag, Names, Number, Path, Text, Whole

INT32_MAX = 2**31 - 1


class Data(Section):
    title = ("data", "数据")

    dataset: Annotated[tuple[str, ...], Names(paths=True)] = key(
        (),
        en="What is learned from: names in dataset_info.json, paths of files or folders, or owner/name on a hub.",
        zh="训练数据：dataset_info.json 中的名称、文件或文件夹的路径，或 Hub 上的 所有者/名称。",
        starter="identity",
    )
    eval_dataset: Annotated[tuple[str, ...], Names(paths=True)] = key(
        (),
        en="What the loss is validated on: names or paths as in dataset. Not together with val_size.",
        zh="验证数据：写法同 dataset。不可与 val_size 同用。",
    )
    dataset_dir: Annotated[str, Path()] = key(
        "data",
        en="The folder with dataset_info.json and the files that it names. ONLINE: names are a hub's. "
        "REMOTE:owner/name: the registry of a hub's data set.",
        zh="dataset_info.json 及其所列文件所在的文件夹。ONLINE：名称均为 Hub 上的。"
        "REMOTE:所有者/名称：使用 Hub 数据集中的登记表。",
    )
    eval_on_each_dataset: Annotated[bool, Flag()] = key(
        False,
        en="Beside eval_loss over all validation rows, tell eval_NAME_loss of each data set.",
        zh="除全部验证行的 eval_loss 外，另给出每个数据集的 eval_名称_loss。",
    )
    template: Annotated[str | None, Text()] = key(
        None,
        en="Name of the chat template. Nothing given: the model's own.",
        zh="对话模板的名称；不填则用模型自带的模板。",
        commands=ALL,
    )
    default_system: Annotated[str | None, Text()] = key(
        None,
        en="System text for conversations that have none. Nothing given: the template's own.",
        zh="对话没有系统提示时使用的系统提示；不填则用模板自带的。",
        commands=ALL,
    )
    allow_template_mismatch: Annotated[bool, Flag()] = key(
        False,
        en="Go on with a template whose control tokens or turns differ from the model's own.",
        zh="模板的控制符或轮次结构与模型自带的不同时仍然继续。",
        commands=ALL,
    )
    enable_thinking: Annotated[bool | None, Flag()] = key(
        None,
        en="What a template that knows thoughts is told: false = answer without them. Nothing given: its own choice.",
        zh="告知支持思考的模板是否思考：false 表示不思考直接回答；不填则由模板决定。",
        commands=ALL,
    )
    cutoff_len: Annotated[int, Whole(at_least=1, at_most=INT32_MAX)] = key(
        2048,
        en="The longest row that is learned whole. on_too_long says what happens to longer ones.",
        zh="完整学习的最长一行；更长的行由 on_too_long 决定。",
        unit="tokens",
        starter=1024,
    )
    tokenized_path: Annotated[str | None, Path()] = key(
        None,
        en="A folder for the tokenised rows: written if there is nothing in it, else read in place of the data files. "
        "One of other rows, another template or another cutoff_len is refused.",
        zh="存放分词结果的文件夹：为空或不存在则写入，否则代替数据文件读取。行、模板或 cutoff_len 不同时拒绝使用。",
    )
    max_samples: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Use at most this many rows of each data set.",
        zh="每个数据集最多使用的行数。",
        unit="rows",
        starter="# 1000",
    )
    val_size: Annotated[float, Number(at_least=0, whole_from=1)] = key(
        0.0,
        en="Rows kept back for validation: below 1 a share of them, from 1 on a count.",
        zh="留作验证的行：小于 1 为比例，1 及以上为行数。",
        unit="share or rows",
        starter="# 0.1",
    )
    on_bad_row: Annotated[Literal["error", "skip"], Choice(("error", "skip"))] = key(
        "error",
        en="A row that cannot be learned from: stop, or leave it out and list it.",
        zh="遇到无法学习的行：停止，或跳过并列出。",
    )
    on_too_long: Annotated[
        Literal["drop", "error", "truncate", "split"] | None, Choice(("drop", "error", "truncate", "split"))
    ] = key(
        None,
        en="A row longer than cutoff_len: drop it, stop, cut its end off, or split it. "
        "Nothing given: drop, and stop when more than 5 % would go.",
        zh="长于 cutoff_len 的行：丢弃、停止、截断或拆分。不填则丢弃，超过 5 % 时停止。",
    )
    disable_shuffling: Annotated[bool, Flag()] = key(
        False,
        en="Take the rows in the order of the files in every epoch.",
        zh="每一轮都按文件中的顺序取行。",
    )
    learning: Learning = Learning()
    mixing: Mixing = Mixing()

    @property
    def loss_names(self) -> Mapping[str, str]:
        """Of every data set that rows are validated on: the name of its own loss, where one is asked for."""
        if not self.eval_on_each_dataset:
            return {}
        found: dict[str, str] = {}
        for name in self.eval_dataset or self.dataset:
            short = re.sub(r"\W+", "_", name.rsplit("/", 1)[-1].split(".")[0]).strip("_")
            metric = f"eval_{short}_loss"
            found[name] = metric if metric not in found.values() else f"eval_{short}_{len(found) + 1}_loss"
        return found
