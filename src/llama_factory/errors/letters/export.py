"""The letters of `export`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    # -- before the work
    "export.no-model": Letter(
        en="`model_name_or_path` is missing.",
        en_cure="Set it to the base model that is to be exported.",
        zh="缺少 `model_name_or_path`。",
        zh_cure="请将其设为要导出的基座模型。",
    ),
    "export.no-folder": Letter(
        en="`export_dir` is missing.",
        en_cure="Set it to the folder that is to be made, such as `models/my_model`.",
        zh="缺少 `export_dir`。",
        zh_cure="请将其设为要生成的文件夹，例如 `models/my_model`。",
    ),
    "export.not-a-folder": Letter(
        en="`export_dir` is a file.",
        en_cure="Name a new folder.",
        zh="`export_dir` 是一个文件。",
        zh_cure="请指定新文件夹。",
    ),
    "export.onto-its-source": Letter(
        en="`export_dir` is, or holds, the folder that is read: {source}.",
        en_cure="Name another folder; the source is never written to.",
        zh="`export_dir` 就是或包含要读取的文件夹：{source}。",
        zh_cure="请指定其他文件夹；源文件夹绝不会被写入。",
    ),
    "export.folder-in-use": Letter(
        en="`export_dir` holds {count} files that are not of an earlier export: {found}.",
        en_cure="Name a new folder, or move these files away. Nothing was changed.",
        zh="`export_dir` 中有 {count} 个文件不属于之前的导出：{found}。",
        zh_cure="请指定新文件夹，或移走这些文件。没有做任何改动。",
    ),
    "export.no-room": Letter(
        en="the export needs {needed} on this disk; {free} are free.",
        en_cure="Free some space, or set `export_dir` to a folder on another disk.",
        zh="导出需要 {needed} 磁盘空间，目前可用 {free}。",
        zh_cure="请释放空间，或将 `export_dir` 设到其他磁盘。",
    ),
    "export.no-memory": Letter(
        en="merging is done in float32 and needs {needed} of memory; {free} are free.",
        en_cure="Close other programs, or export on a larger machine.",
        zh="合并以 float32 进行，需要 {needed} 内存，目前可用 {free}。",
        zh_cure="请关闭其他程序，或在更大的机器上导出。",
    ),
    "export.no-tokenizer": Letter(
        en="neither the model nor the adapter brings a tokenizer.",
        en_cure="The weights are exported alone. Set `tokenizer_name` to add one.",
        zh="模型和适配器都没有分词器。",
        zh_cure="只导出权重。如需分词器，请设置 `tokenizer_name`。",
    ),
    # -- proofs that failed
    "export.not-finite": Letter(
        en="the merged weights hold numbers that are not finite.",
        en_cure="Nothing was exported. Take an older checkpoint of the adapter.",
        zh="合并后的权重含有非有限数值。",
        zh_cure="没有导出任何内容。请使用适配器较早的检查点。",
    ),
    "export.other-keys": Letter(
        en="{count} weights are in only one of base and export: {found}.",
        en_cure="Nothing was exported. This is a bug of ours, please report it with the model's name.",
        zh="有 {count} 个权重只存在于基座或导出结果之一：{found}。",
        zh_cure="没有导出任何内容。这是我们的错误，请连同模型名称一起报告。",
    ),
    "export.written-wrong": Letter(
        en="what was read back is not what was written.",
        en_cure="Nothing was exported. Look after the disk and the memory of this machine, then export again.",
        zh="读回的内容与写入的不一致。",
        zh_cure="没有导出任何内容。请检查本机的磁盘和内存，然后重新导出。",
    ),
    "export.nothing-changed": Letter(
        en="the adapter is not zero, yet the merged weights in {dtype} are the base's: rounding took all of it.",
        en_cure="Nothing was exported. Set `infer_dtype: float32`, or train longer.",
        zh="适配器不为零，但合并后的 {dtype} 权重与基座相同：舍入抹去了全部改动。",
        zh_cure="没有导出任何内容。请设置 `infer_dtype: float32`，或训练更久。",
    ),
    "export.merge-differs": Letter(
        en="merged weights answer differently than the adapter on its base: a logit by {max_abs:.1e} "
        "(allowed {max_abs_allowed:.1e}), KL {kl:.1e} (allowed {kl_allowed:.1e}), both in float32.",
        en_cure="Nothing was exported. Please report this with the model's name and adapter_config.json.",
        zh="合并后的权重与基座加适配器的回答不同：logit 最大相差 {max_abs:.1e}（允许 {max_abs_allowed:.1e}），"
        "KL 为 {kl:.1e}（允许 {kl_allowed:.1e}），均以 float32 计算。",
        zh_cure="没有导出任何内容。请连同模型名称和 adapter_config.json 一起报告。",
    ),
    "export.reopened-differs": Letter(
        en="plain transformers in a clean process computes other answers from these files than this process: "
        "a logit by {max_abs:.1e} (allowed {max_abs_allowed:.1e}), KL {kl:.1e} (allowed {kl_allowed:.1e}).",
        en_cure="Nothing was exported. Compare the versions that `llamafactory-cli env` prints, then report this.",
        zh="干净进程中的 transformers 用这些文件算出的结果与本进程不同：logit 最大相差 {max_abs:.1e}"
        "（允许 {max_abs_allowed:.1e}），KL 为 {kl:.1e}（允许 {kl_allowed:.1e}）。",
        zh_cure="没有导出任何内容。请核对 `llamafactory-cli env` 列出的版本，然后报告。",
    ),
    "export.files-differ": Letter(
        en="reopened in a clean process, the files answer differently than the adapter on its base: a logit by "
        "{max_abs:.1e} (allowed {max_abs_allowed:.1e}), KL {kl:.1e} (allowed {kl_allowed:.1e}).",
        en_cure="Nothing was exported. Please report this with the model's name and adapter_config.json.",
        zh="在干净进程中重新打开后，文件与基座加适配器的回答不同：logit 最大相差 {max_abs:.1e}"
        "（允许 {max_abs_allowed:.1e}），KL 为 {kl:.1e}（允许 {kl_allowed:.1e}）。",
        zh_cure="没有导出任何内容。请连同模型名称和 adapter_config.json 一起报告。",
    ),
    "export.will-not-reopen": Letter(
        en="plain transformers could not open what was written: {found}.",
        en_cure="Nothing was exported. If the model needs its own code, set `trust_remote_code: true`.",
        zh="transformers 无法打开导出的内容：{found}。",
        zh_cure="没有导出任何内容。若模型需要自带代码，请设置 `trust_remote_code: true`。",
    ),
    "export.reopened-incomplete": Letter(
        en="reopened by plain transformers, {count} weights did not find their place: {found}.",
        en_cure="Nothing was exported. Please report this with the model's name.",
        zh="用 transformers 重新打开时，有 {count} 个权重没有对应位置：{found}。",
        zh_cure="没有导出任何内容。请连同模型名称一起报告。",
    ),
    "export.tie-broken": Letter(
        en="head and embedding share their weights in the base, but not in the export, or the other way round.",
        en_cure="Nothing was exported. Please report this with the model's name.",
        zh="基座的输出头与嵌入是否共享权重，与导出结果不一致。",
        zh_cure="没有导出任何内容。请连同模型名称一起报告。",
    ),
    # -- said along the way
    "export.adapter-is-zero": Letter(
        en="the adapter is zero: it was never trained, and changes nothing.",
        en_cure="The export is the base. Take the adapter of a run that has finished.",
        zh="适配器为零：从未训练过，不产生任何改变。",
        zh_cure="导出结果即为基座。请使用已完成训练的适配器。",
    ),
    "export.partly-rounded-away": Letter(
        en="the adapter does so little that rounding to {dtype} costs {share} as much as it does.",
        en_cure="The files are right. To keep all of it, set `infer_dtype: float32`.",
        zh="适配器的作用很小，舍入到 {dtype} 造成的差异达到其作用的 {share}。",
        zh_cure="文件是正确的。如需完整保留，请设置 `infer_dtype: float32`。",
    ),
    "export.prompts-differ": Letter(
        en="plain transformers turns messages into other tokens than were trained on.",
        en_cure="Programs that build prompts with the tokenizer alone may answer worse than `chat` here.",
        zh="transformers 将消息转换成的词元与训练时不同。",
        zh_cure="仅用分词器构造提示的程序，回答可能不如此处的 `chat`。",
    ),
    "export.proven": Letter(
        en="Proof: reopened in a clean process, the files in {dtype} differ from adapter-on-base by KL {kl} "
        "(allowed {kl_allowed}) and {max_abs} in a logit (allowed {max_abs_allowed}).",
        en_cure="Merge alone, in float32: {merged} (allowed {merged_allowed}). What the adapter does: KL {effect}. "
        "Same likeliest token: {winner}.",
        zh="证明：在干净进程中重新打开，{dtype} 文件与基座加适配器相差 KL {kl}（允许 {kl_allowed}），"
        "logit 最大相差 {max_abs}（允许 {max_abs_allowed}）。",
        zh_cure="仅合并（float32）：{merged}（允许 {merged_allowed}）。"
        "适配器的作用：KL {effect}。最可能词元一致率：{winner}。",
    ),
    "export.proven-copy": Letter(
        en="Proof: reopened in a clean process, the files in {dtype} differ from the model by KL {kl} "
        "(allowed {kl_allowed}) and {max_abs} in a logit (allowed {max_abs_allowed}).",
        en_cure="Same likeliest token: {winner}.",
        zh="证明：在干净进程中重新打开，{dtype} 文件与原模型相差 KL {kl}（允许 {kl_allowed}），"
        "logit 最大相差 {max_abs}（允许 {max_abs_allowed}）。",
        zh_cure="最可能词元一致率：{winner}。",
    ),
    "export.done": Letter(
        en="{tensors} weights, {changed} of them changed, {size} in {files} files; the figures are in {report}.",
        en_cure="Chat with it: `llamafactory-cli chat model_name_or_path={folder}`",
        zh="共 {tensors} 个权重，其中 {changed} 个被改变，{size},{files} 个文件；数据见 {report}。",
        zh_cure="开始对话：`llamafactory-cli chat model_name_or_path={folder}`",
    ),
}
