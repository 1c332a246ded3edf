"""What `plan` says, in both languages. `words` joins them to its own."""

from __future__ import annotations

from collections.abc import Mapping

from llama_factory.apps.words_of_data import Said

WORDS: Mapping[str, Said] = {
    "about.plan": Said(
        "Says what a training would take before it is begun: memory part by part, disk and time, for every method and "
        "every width of the frozen weights, beside what the tutorials print; the best method that fits with 20 % of "
        "the memory left free, and a configuration that is ready to run. For a file, or for a model by folder (its "
        "config.json is enough) or name, such as Qwen2.5-7B. --memory and --gpus describe one or more GPUs; without "
        "them the plan is for this machine. --gpu names a card (a100, h100, rtx3090, ...), which gives its memory and "
        "speed. --rows and --hours say how much data and time there is. No weights are loaded. Exit code 0, or 4 when "
        "the file's run does not fit.",
        "在训练开始之前说明所需资源：逐项列出各方法、各种冻结权重位宽所需的内存、磁盘与时间，并与教程中的数字对照；"
        "给出在预留 20 % 内存时可用的最佳方法，以及一份可直接运行的配置。可用于配置文件，也可用于模型文件夹"
        "（只需 config.json）或 Qwen2.5-7B 这样的名称。--memory 与 --gpus 描述一块或多块 GPU，不写则按本机规划；"
        "--gpu 指定型号（a100、h100、rtx3090 等），由此得知显存与速度。--rows 与 --hours 说明数据量与时间预算。"
        "不加载权重。退出码为 0；配置文件的训练放不下时为 4。",
    ),
    "plan.model": Said(
        "{name}: {count} billion weights, {layers} layers of width {width}, vocabulary {vocab} ({type})",
        "{name}：{count} 亿个权重，{layers} 层，宽度 {width}，词表 {vocab}（{type}）",
    ),
    "plan.room-here": Said(
        "Memory: {memory} free on this machine; {usable} to plan with, 20 % are kept free",
        "内存：本机可用 {memory}；按 {usable} 规划，预留 20 %",
    ),
    "plan.room-gpu": Said(
        "Memory: {memory} on each of {gpus} GPU(s){card}; {usable} to plan with, 20 % are kept free",
        "显存：{gpus} 块 GPU{card}，每块 {memory}；按 {usable} 规划，预留 20 %",
    ),
    "plan.batch": Said(
        "At a time: {rows} row(s), {tokens} tokens, {learned} of them learned{checkpointing}",
        "每次计算：{rows} 行，{tokens} 个词元，其中 {learned} 个参与训练{checkpointing}",
    ),
    "plan.checkpointing": Said(", with gradient checkpointing", "，使用梯度检查点"),
    "plan.run": Said("This run ({name}): {total}, {verdict}", "本次训练（{name}）：{total}，{verdict}"),
    "plan.fits": Said("fits", "放得下"),
    "plan.fits-not": Said("does not fit", "放不下"),
    "plan.parts": Said("Part by part", "逐项"),
    "plan.weights": Said("weights", "权重"),
    "plan.laid_out": Said("laid out", "重排权重"),
    "plan.masters": Said("masters", "主权重"),
    "plan.gradients": Said("gradients", "梯度"),
    "plan.optimiser": Said("optimiser", "优化器"),
    "plan.activations": Said("activations", "激活值"),
    "plan.logits": Said("logits", "输出分数"),
    "plan.buffers": Said("buffers", "缓冲"),
    "plan.holes": Said("holes", "碎片"),
    "plan.saving": Said("saving", "保存"),
    "plan.process": Said("process", "进程"),
    "plan.table": Said("Memory in GB by method and bits of the frozen weights", "各方法与冻结权重位宽所需内存（GB）"),
    "plan.hours": Said("time, 16 bit", "时间（16 位）"),
    "plan.legend": Said(
        "* fits. In brackets: what two tutorials print, bytes a weight times weights; neither counts what grows with "
        "the batch, and one counts LoRA at five times its frozen weights.",
        "* 表示放得下。括号内为两篇教程的数字（每个权重的字节数乘以权重数）；二者都没有计入随批量增长的部分，"
        "其中一篇把 LoRA 算成冻结权重的五倍。",
    ),
    "plan.batches": Said(
        "{total} rows an update, memory at rows x accumulation{checkpointing}",
        "每次更新 {total} 行，行数 x 累积步数{checkpointing}",
    ),
    "plan.divided": Said("On {gpus} GPUs each would hold", "{gpus} 块 GPU 时每块占用"),
    "plan.one-process": Said(
        "(This release trains in one process; the figures are formulas.)", "（当前版本以单进程训练，此处为公式估算。）"
    ),
    "plan.disk": Said(
        "Disk: {model} for the model, {checkpoint} a checkpoint", "磁盘：模型 {model}，每个检查点 {checkpoint}"
    ),
    "plan.time": Said("Time: about {hours} ({rate})", "时间：约 {hours}（{rate}）"),
    "plan.rate": Said("{tokens} tokens/s", "每秒 {tokens} 个词元"),
    "plan.choice": Said("Take {name}{bits}{how}: {why}", "选择 {name}{bits}{how}：{why}"),
    "plan.one-row": Said(", one row at a time", "，每次一行"),
    "plan.then": Said(" ({total})", "（{total}）"),
    "plan.bits": Said(", {bits} bit", "，{bits} 位"),
    "plan.best-fits": Said("the best result that fits the memory.", "内存允许的最佳效果。"),
    "plan.best-fits-few": Said(
        "with {rows} rows all weights would learn them by heart; it is the best of the others that fits.",
        "仅 {rows} 行数据，训练全部权重会死记硬背；在其余方法中它是放得下的最佳选择。",
    ),
    "plan.best-in-time": Said(
        "the best result that fits the memory and {hours} h.", "在内存与 {hours} 小时内的最佳效果。"
    ),
    "plan.better": Said("{name}{bits} would take {total}{time}.", "{name}{bits} 需要 {total}{time}。"),
    "plan.none": Said("Nothing fits as it is.", "现有条件下都放不下。"),
    "plan.change": Said("Cheapest changes, each enough by itself:", "代价最小的改动（任一即可）："),
    "plan.changes": Said("Cheapest changes, needed together:", "代价最小的改动（需同时采用）："),
    "plan.micro-batch": Said("fewer tokens at a time, the same rows an update", "每次计算更少词元，每次更新的行数不变"),
    "plan.change.checkpointing": Said("activations twice, about a third more time", "激活值重复计算，约多三分之一时间"),
    "plan.half-format": Said("compute in bf16", "以 bf16 计算"),
    "plan.lora": Said("train small matrices beside the weights", "只训练旁路小矩阵"),
    "plan.four-bit": Said("frozen weights in 4 bit", "冻结权重量化为 4 位"),
    "plan.cutoff": Said("half the length of a row; longer rows are lost", "行长减半，更长的行会丢失"),
    "plan.smaller": Said(
        "Even then it does not fit. The largest well-known model that LoRA trains here: {name}",
        "即使如此仍放不下。此处可用 LoRA 训练的最大知名模型：{name}",
    ),
    "plan.hopeless": Said(
        "Even then it does not fit, and neither does any well-known model.", "即使如此仍放不下，其他知名模型也放不下。"
    ),
    "plan.yaml": Said(
        "Ready to run (`llamafactory-cli train` this file):", "可直接运行的配置（`llamafactory-cli train`）："
    ),
    "plan.yaml-own": Said(
        "Your configuration fits as it is and stays as it is (`llamafactory-cli train` this file):",
        "您的配置放得下，保持不变（`llamafactory-cli train`）：",
    ),
    "plan.check": Said(
        "memory planned for the largest batch: {size} (`plan` says more)",
        "最大一批所需内存的规划：{size}（详见 `plan`）",
    ),
}
