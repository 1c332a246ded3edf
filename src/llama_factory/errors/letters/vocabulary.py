"""The letters about keys that are planned or without effect.

Two tables. FEATURES: what a planned key belongs to and what to write today. REASONS: why a key is
accepted without effect. Under the ids of their letters; `explain` reads the same tables, so that both
say the same.
"""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

FEATURES: dict[str, Letter] = {
    "config.planned-fp8": Letter(
        en="computing in 8-bit floating point",
        en_cure="Remove the line; to save memory, `quantization_bit: 8` or `4` keeps the frozen base in fewer bits.",
        zh="以 8 位浮点数计算",
        zh_cure="请删除该行；若要节省内存，可用 `quantization_bit: 8` 或 `4` 压缩冻结的基座模型。",
    ),
    "config.planned-quantised-export": Letter(
        en="exporting quantised weights",
        en_cure="Remove the line and export in the base model's own format.",
        zh="导出量化权重",
        zh_cure="请删除该行，以基座模型自身的格式导出。",
    ),
    "config.planned-hub": Letter(
        en="uploading to a hub, and hubs other than Hugging Face",
        en_cure="Remove the line, export to a folder with `export_dir`, and upload that folder.",
        zh="上传到模型库，以及 Hugging Face 以外的模型库",
        zh_cure="请删除该行，用 `export_dir` 导出到文件夹后自行上传。",
    ),
    "config.planned-media": Letter(
        en="models that see or hear",
        en_cure="Remove the line; text models are built.",
        zh="视觉与语音模型",
        zh_cure="请删除该行；目前支持文本模型。",
    ),
    "config.planned-engines": Letter(
        en="engines other than transformers for answers",
        en_cure="Remove the line, or write `infer_backend: huggingface`.",
        zh="transformers 以外的推理引擎",
        zh_cure="请删除该行，或写 `infer_backend: huggingface`。",
    ),
    "config.planned-surgery": Letter(
        en="changing the model's structure before training",
        en_cure="Remove the line; the model is trained as it was published.",
        zh="训练前改动模型结构",
        zh_cure="请删除该行；模型按发布时的结构训练。",
    ),
    "config.planned-adapters": Letter(
        en="choosing adapters from a folder of several",
        en_cure="Remove the line and write the path of each adapter in `adapter_name_or_path`.",
        zh="从含多个适配器的文件夹中选取适配器",
        zh_cure="请删除该行，并在 `adapter_name_or_path` 中写出每个适配器的路径。",
    ),
    "config.planned-preferences": Letter(
        en="learning from preferences and rewards",
        en_cure="Remove the line and use `stage: sft`.",
        zh="偏好与奖励学习",
        zh_cure="请删除该行，使用 `stage: sft`。",
    ),
    "config.planned-losses": Letter(
        en="the share of tokens that are predicted right, beside the validation loss",
        en_cure="Remove the line; the validation loss is built: `val_size` or `eval_dataset` with `eval_strategy`.",
        zh="除验证损失外的词元预测正确率",
        zh_cure="请删除该行；目前支持验证损失：`val_size` 或 `eval_dataset`，配合 `eval_strategy`。",
    ),
    "config.planned-mixing": Letter(
        en="other orders of rows, and leaving out the last step of an epoch",
        en_cure="Remove the line. Every row comes once an epoch, shuffled by `data_seed`; `mix_strategy`, `packing` "
        "and `streaming` are built.",
        zh="其他的取行顺序，以及舍弃每轮最后一步",
        zh_cure="请删除该行。每行每轮恰好一次，按 `data_seed` 打乱；`mix_strategy`、`packing` 与 `streaming` 已实现。",
    ),
    "config.planned-thinking": Letter(
        en="keeping the thoughts of earlier turns, and tools in another form than the template's own",
        en_cure="Remove the line: `enable_thinking` chooses between thinking and plain answers, and tools are written "
        "as the template writes them.",
        zh="保留先前轮次的思考内容，以及不同于模板的工具格式",
        zh_cure="请删除该行：思考与否由 `enable_thinking` 决定，工具按模板自身的格式书写。",
    ),
    "config.planned-distributed": Letter(
        en="training with several processes or sharded weights",
        en_cure="Remove the line and train in one process; `gradient_accumulation_steps` makes large batches.",
        zh="多进程或权重分片训练",
        zh_cure="请删除该行，以单进程训练；大批次可用 `gradient_accumulation_steps`。",
    ),
    "config.planned-trackers": Letter(
        en="trackers other than TensorBoard",
        en_cure="Remove the line; `report_to: tensorboard` and trainer_log.jsonl are built.",
        zh="TensorBoard 以外的跟踪工具",
        zh_cure="请删除该行；目前支持 `report_to: tensorboard` 与 trainer_log.jsonl。",
    ),
    "config.planned-prediction": Letter(
        en="predicting a data set and scoring the answers",
        en_cure="Remove the line. The validation loss is built: `val_size` or `eval_dataset` with `eval_strategy`.",
        zh="在数据集上预测并评分",
        zh_cure="请删除该行。目前支持验证损失：`val_size` 或 `eval_dataset`，配合 `eval_strategy`。",
    ),
    "config.planned-profiling": Letter(
        en="profiling a run",
        en_cure="Remove the line; the log shows tokens per second.",
        zh="训练性能剖析",
        zh_cure="请删除该行；日志会显示每秒词元数。",
    ),
    "config.planned-loop": Letter(
        en="this variation of the training loop",
        en_cure="Remove the line; the default is what runs.",
        zh="训练循环的这一变体",
        zh_cure="请删除该行，按默认方式运行。",
    ),
    "config.planned-sampling": Letter(
        en="this way of choosing tokens",
        en_cure="Remove the line; `do_sample`, `temperature`, `top_p`, `top_k` and `repetition_penalty` are built.",
        zh="这种选词方式",
        zh_cure="请删除该行；目前支持 `do_sample`、`temperature`、`top_p`、`top_k` 与 `repetition_penalty`。",
    ),
}

REASONS: dict[str, tuple[str, str]] = {
    "config.idle-no-loader": (
        "rows are read straight from a memory-mapped store, no loader process waits for them",
        "数据直接从内存映射的存储读取，无需加载进程",
    ),
    "config.idle-own-threads": (
        "each row is turned into tokens once, and the tokenizer uses threads of its own",
        "每行只分词一次，且分词器自带多线程",
    ),
    "config.idle-keyed": (
        "prepared data are kept under a key made of their content, so an old cache cannot be taken for new data",
        "预处理结果按内容命名保存，旧缓存不会被误用",
    ),
    "config.idle-always-converted": (
        "the result of `pissa_init` is always written as an ordinary adapter on the base as published",
        "`pissa_init` 的结果始终保存为原始基座上的普通适配器",
    ),
    "config.idle-one-process": (
        "one process trains, so no process waits for another",
        "训练只有一个进程，不存在进程间等待",
    ),
    "config.idle-no-debug": (
        "a number that is not finite always stops the run and names its rows",
        "出现非有限数值时总会停止并指出所在的行",
    ),
    "config.idle-loss-scale": (
        "fp16 is not scaled by settings of another engine",
        "fp16 不按其他引擎的设置缩放",
    ),
    "config.idle-no-padding": (
        "rows are laid end to end, cut by length into micro-batches, and never padded",
        "数据首尾相接，按长度组成微批，不做填充",
    ),
    "config.idle-eval-batch": (
        "validation rows are measured in micro-batches as large as training's, and the loss does not depend on it",
        "验证数据按与训练相同大小的微批测量，损失与其无关",
    ),
    "config.idle-counted": (
        "tokens are always counted and logged",
        "词元数总会统计并写入日志",
    ),
    "config.idle-speed": (
        "it would change only how fast another program computes, never the result",
        "它只影响其他程序的计算速度，不影响结果",
    ),
    "config.idle-precision": (
        "`bf16`, `fp16` and `pure_bf16` alone decide the precision",
        "精度只由 `bf16`、`fp16`、`pure_bf16` 决定",
    ),
    "config.idle-own-loop": (
        "it sets up the Trainer of transformers, and the loop here is another one",
        "它用于设置 transformers 的 Trainer，而此处是自有的训练循环",
    ),
    "config.idle-screen": (
        "what is shown follows the terminal, and the log on disk is always whole",
        "屏幕输出随终端调整，磁盘日志总是完整的",
    ),
    "config.idle-safetensors": (
        "weights are always written as safetensors",
        "权重总是以 safetensors 格式写出",
    ),
    "config.idle-device-map": (
        "a quantised model lies where `device_map` says, like any other",
        "量化模型与其他模型一样，由 `device_map` 决定所在设备",
    ),
    "config.idle-compute-format": (
        "quantised weights compute in the run's own format (`bf16`, `fp16`, `infer_dtype`) and are stored as bytes",
        "量化权重以本次运行的格式（`bf16`、`fp16`、`infer_dtype`）计算，并以字节存储",
    ),
    "config.idle-untrusted": (
        "text of a row never becomes a control token",
        "数据中的文本永远不会变成控制符",
    ),
}


def _planned(feature: Letter) -> Letter:
    return Letter(
        en=f"`{{key}}` is known and not built yet: {feature.en}.",
        en_cure=feature.en_cure,
        zh=f"`{{key}}` 属于已知但尚未实现的功能：{feature.zh}。",
        zh_cure=feature.zh_cure,
    )


def _idle(reason: tuple[str, str]) -> Letter:
    return Letter(
        en=f"`{{key}}` has no effect here: {reason[0]}.",
        en_cure="Nothing to do; the line may stay or go.",
        zh=f"`{{key}}` 在此不起作用：{reason[1]}。",
        zh_cure="无需处理，该行可留可删。",
    )


WORDS: dict[str, Letter] = {
    **{id: _planned(feature) for id, feature in FEATURES.items()},
    **{id: _idle(reason) for id, reason in REASONS.items()},
}
"""They are letters of `config`, and join its table."""
