"""What the commands say when all is well, both languages side by side. (Errors: `errors.letters`.)

`said("version.title", "zh", version="1.0")`. A table of values and one function; nothing is chosen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_factory.apps.words_of_data import WORDS as OF_DATA
from llama_factory.apps.words_of_data import Said
from llama_factory.apps.words_of_plans import WORDS as OF_PLANS
from llama_factory.errors import Language


def said(id: str, language: Language, **values: Any) -> str:
    text = WORDS[id].zh if language == "zh" else WORDS[id].en
    return text.format_map(values) if values else text


COMMANDS: Mapping[str, Said] = {
    "init": Said("write a commented configuration to start from", "生成一份带注释的配置"),
    "convert": Said("write a data set in another form", "把数据集转换成另一种格式"),
    "clean": Said("clean a data file into another one, or say what is in it", "清洗数据文件，或说明其中的问题"),
    "check": Said("look for what would train a bad model, without training", "训练之前的检查，不做训练"),
    "plan": Said("memory and time of every method, and which one to take", "各方法所需的内存与时间，以及如何选择"),
    "show": Said("rows of the data as the model reads them, token by token", "逐个词元展示模型看到的数据行"),
    "train": Said("train a model", "训练模型"),
    "chat": Said("talk with a model in the terminal", "在终端与模型对话"),
    "export": Said("merge an adapter into its model, for other programs to load", "把适配器合并进模型，供其他程序加载"),
    "list": Said(
        "templates, data sets, methods, and the models in ./models", "列出模板、数据集、方法和 ./models 中的模型"
    ),
    "explain": Said("what a configuration key means", "解释一个配置项"),
    "env": Said("this machine and the versions in use", "显示本机与各库版本"),
    "version": Said("name and version", "显示名称与版本"),
    "help": Said("this page, or a page on one command", "显示本页，或某个命令的说明"),
}
"""Every command with its line in `help`, in the order in which a person meets them."""

PLANNED = ("api", "eval", "webchat", "webui")
"""Commands of the tutorials' program that are to come; asked for, they are refused with that word."""

USAGE: Mapping[str, tuple[str, ...]] = {
    "init": ("[FILE] [lora|freeze|full]",),
    "convert": (
        "IN OUT --to openai|sharegpt|alpaca|prompt_response|text|classification [--register NAME]",
        "IN OUT --to FORMAT [--system TEXT] [--dataset_dir FOLDER] [--on-bad-row skip] [--overwrite]",
    ),
    "clean": (
        "IN",
        "IN OUT [--drop REGEX] [--replace REGEX TEXT] [--whitespace] [--unicode [nfc|nfkc]] [--duplicates]",
        "IN OUT [--near-duplicates [0.8]] [--min-characters N] [--max-words N] [--max-tokens N] [--language en,zh]",
        "IN OUT ... [--against FILE] [--fields KEY,KEY] [--report PATH] [--dry-run] [--on-bad-row skip] [--overwrite]",
    ),
    "check": ("FILE [KEY=VALUE ...] [--json] [--step | --config-only]",),
    "plan": (
        "FILE [KEY=VALUE ...] [--memory 24GB] [--gpu NAME] [--gpus N] [--rows N] [--hours H] [--json]",
        "--model PATH_OR_NAME [--memory 24GB] [--gpu NAME] [--gpus N] [--rows N] [--hours H] [KEY=VALUE ...] [--json]",
    ),
    "show": (
        "FILE [KEY=VALUE ...] [row=N|FILE:N,...] [--tokens] [--html PATH] [--json]",
        "dataset=NAME template=NAME model_name_or_path=PATH [--first|--random|--longest [N]] [--overwrite]",
    ),
    "train": ("FILE [KEY=VALUE ...]", "--KEY VALUE [--FLAG ...]"),
    "chat": ("FILE [KEY=VALUE ...]", "--KEY VALUE [--FLAG ...]"),
    "export": ("FILE [KEY=VALUE ...]", "--KEY VALUE [--FLAG ...]"),
    "list": ("[templates|datasets|methods|models]",),
    "explain": ("[KEY]",),
    "env": ("",),
    "version": ("",),
    "help": ("[COMMAND]",),
}

WORDS: Mapping[str, Said] = {
    **OF_DATA,
    **OF_PLANS,
    "title": Said(
        "LLaMA Factory {version}: fine-tune a language model from one YAML file",
        "LLaMA Factory {version}：用一份 YAML 文件微调语言模型",
    ),
    "help.usage": Said("Usage", "用法"),
    "help.commands": Said("Commands", "命令"),
    "help.examples": Said("Examples", "示例"),
    "help.keys": Said("Keys", "配置项"),
    "help.alias": Said("`lmf` is the same program under a shorter name.", "`lmf` 是同一程序的简短名称。"),
    "help.more": Said(
        "`llamafactory-cli help COMMAND` says more. LLAMA_FACTORY_LANG=zh speaks Chinese; NO_COLOR=1 is plain.",
        "`llamafactory-cli help 命令` 查看详情。LLAMA_FACTORY_LANG=en 切换为英文，NO_COLOR=1 关闭颜色。",
    ),
    "help.exit": Said("Exit codes", "退出码"),
    "help.keys-more": Said(
        "Any of them can stand in the file or on the command line, where the command line wins. "
        "`llamafactory-cli explain KEY` says more about one.",
        "均可写在文件或命令行中，命令行优先。`llamafactory-cli explain 配置项` 查看某一项的详情。",
    ),
    "about.init": Said(
        "Writes a configuration with a comment at every key to FILE, or to train.yaml, for LoRA unless another "
        "method is named. A file that is there already is left alone.",
        "把一份逐项注释的配置写入 FILE（默认 train.yaml），默认使用 LoRA，也可指定其他方法。已存在的文件不会被改动。",
    ),
    "about.check": Said(
        "Reads the configuration, the data and the model's own files, and says what would train a bad model: rows, "
        "lengths, template and stop token, copies, leaks, steps, learning rate, disk. Shows three rows with what is "
        "trained of them. No weights are loaded. --json writes one JSON object, --config-only reads the file alone. "
        "--step then loads the weights, makes one step with the largest batch of the run, saves, opens what was saved "
        "and compares; output_dir is left alone. `train` looks at the same first, but for --step. Exit code 0 when "
        "nothing is an error, else 2, 3 or 4; with --step also 5 or 6.",
        "读取配置、数据和模型自身的文件，指出会训练出坏模型的问题：数据行、长度、模板与停止符、重复、泄漏、"
        "步数、学习率、磁盘。展示三行样例及其中参与训练的部分。不加载权重。--json 输出一个 JSON 对象，"
        "--config-only 只检查配置。--step 再加载权重，用本次训练最大的一批数据做一步训练，保存、重新打开并比较，"
        "不改动 output_dir。除 --step 外，`train` 会先做同样的检查。没有错误时退出码为 0，否则为 2、3 或 4；"
        "使用 --step 时还可能是 5 或 6。",
    ),
    "check.samples": Said("Rows as the model reads them:", "模型看到的数据行："),
    "check.steps": Said(
        "{total_steps} optimiser steps of {rows_per_step} rows; a checkpoint takes about {checkpoint}",
        "共 {total_steps} 个优化步，每步 {rows_per_step} 行；一个检查点约 {checkpoint}",
    ),
    "check.steps-packed": Said(
        "{total_steps} optimiser steps of {rows_per_step} packs, {packs} packs in all; a checkpoint takes about "
        "{checkpoint}",
        "共 {total_steps} 个优化步，每步 {rows_per_step} 个包，共 {packs} 个包；一个检查点约 {checkpoint}",
    ),
    "check.load": Said("Loading the weights ...", "正在加载权重 ……"),
    "check.step": Said("Making one step with the largest batch ...", "正在用最大的一批数据训练一步 ……"),
    "check.reopen": Said("Opening what was saved ...", "正在重新打开保存的结果 ……"),
    "check.trial": Said("One step of this run, with its largest batch", "用本次训练最大的一批数据做的一步"),
    "check.trial.batch": Said("batch", "批次"),
    "check.trial.batch-is": Said("{rows} rows, {tokens} tokens", "{rows} 行，{tokens} 个词元"),
    "check.trial.trained": Said("trained", "训练"),
    "check.trial.trained-is": Said("{trained:,} of {total:,} numbers", "{total:,} 个参数中的 {trained:,} 个"),
    "check.trial.loss": Said("loss", "损失"),
    "check.trial.loss-is": Said("{loss:.4f}, gradient norm {grad_norm:.3g}", "{loss:.4f}，梯度范数 {grad_norm:.3g}"),
    "check.trial.loss-too": Said(
        "{loss:.4f}, gradient norm {grad_norm:.3g}, after it {eval_loss:.4f} on the largest validation batch",
        "{loss:.4f}，梯度范数 {grad_norm:.3g}，此后最大的一批验证数据为 {eval_loss:.4f}",
    ),
    "check.trial.time": Said("time", "用时"),
    "check.trial.time-is": Said(
        "load {load_s:.1f} s, step {step_s:.1f} s, save and open again {reopen_s:.1f} s",
        "加载 {load_s:.1f} 秒，一步 {step_s:.1f} 秒，保存并重新打开 {reopen_s:.1f} 秒",
    ),
    "check.trial.memory": Said("memory", "内存"),
    "check.trial.memory-is": Said("at most {peak} of {ram} ({share} %)", "最多 {peak}，本机共 {ram}（{share} %）"),
    "check.trial.reopened": Said("reopened", "重新打开"),
    "check.trial.reopened-is": Said(
        "the same weights; log-probabilities differ by {difference:.2g}", "权重相同；对数概率相差 {difference:.2g}"
    ),
    "check.trial.whole": Said("whole run", "整次训练"),
    "check.trial.whole-is": Said(
        "about {duration}: an estimate, {total_steps} steps at this step's pace a token, without evaluations and "
        "checkpoints",
        "约 {duration}：估计值，{total_steps} 步均按这一步每个词元的速度计算，不含评估与保存检查点",
    ),
    "check.cut": Said(" (... {count} more characters ...) ", "（…… 此处省略 {count} 个字符 ……）"),
    "check.error": Said("error", "错误"),
    "check.warning": Said("warning", "警告"),
    "check.note": Said("note", "提示"),
    "check.result": Said(
        "{errors} errors, {warnings} warnings, {notes} notes.",
        "错误 {errors} 个，警告 {warnings} 个，提示 {notes} 个。",
    ),
    "about.train": Said(
        "Trains as the file says. Everything is checked before the first step. Ctrl-C finishes the step, saves and "
        "stops; the same command with resume_from_checkpoint=true goes on from there.",
        "按配置训练。第一步之前会检查全部内容。按 Ctrl-C 会做完当前一步、保存并停止；"
        "在同一命令后加上 resume_from_checkpoint=true 即可继续。",
    ),
    "about.chat": Said(
        "Talks with the model, and with the adapter that the file names. In a terminal: `clear` forgets the "
        "conversation, `exit` leaves, Ctrl-C stops an answer. From a pipe: one question a line, one answer each.",
        "与模型（以及配置中指定的适配器）对话。终端中：`clear` 清空对话，`exit` 退出，Ctrl-C 停止当前回答。"
        "管道输入时：每行一个问题，逐个作答。",
    ),
    "about.export": Said(
        "Merges the adapter into the model, writes it to export_dir, opens the result in a clean process and "
        "compares the two. Fails if they differ.",
        "把适配器合并进模型，写入 export_dir，再在全新进程中打开结果并与原模型比较；不一致则失败。",
    ),
    "about.list": Said(
        "Shows what can be named in a configuration. Without a word: all four lists.",
        "显示配置中可以使用的名称。不带参数时显示全部四类。",
    ),
    "about.explain": Said(
        "Shows the meaning, values and default of a key, and whether it is built. Without a key: all of them.",
        "显示某个配置项的含义、取值、默认值和状态。不带参数时列出全部配置项。",
    ),
    "about.env": Said(
        "Shows the machine and the versions of the libraries. Paste it into a report when something goes wrong.",
        "显示本机信息和各库版本。反馈问题时请附上。",
    ),
    "about.version": Said("Shows name and version.", "显示名称与版本。"),
    "about.help": Said("Shows the commands, or one of them in detail.", "显示全部命令，或某个命令的详情。"),
    "chat.loading": Said("Loading {model} ...", "正在加载 {model} ……"),
    "chat.who": Said(
        "Model     {model}\nAdapter   {adapter}\nTemplate  {template}",
        "模型    {model}\n适配器  {adapter}\n模板    {template}",
    ),
    "chat.none": Said("none", "无"),
    "chat.own-template": Said("the model's own", "模型自带"),
    "chat.forgotten": Said(
        "{folder} holds a trained adapter; adapter_name_or_path={folder} puts it on.",
        "{folder} 中有训练好的适配器；加上 adapter_name_or_path={folder} 即可使用。",
    ),
    "chat.user": Said("User: ", "用户："),
    "chat.assistant": Said("Assistant: ", "助手："),
    "chat.hint": Said(
        "`exit` leaves, `clear` forgets the conversation, `help` says more.",
        "`exit` 退出，`clear` 清空对话，`help` 查看说明。",
    ),
    "chat.help": Said(
        "clear    forget what was said\nexit     leave (Ctrl-D too)\n"
        "Ctrl-C   stop the answer; twice at the prompt: leave",
        "clear    清空对话\nexit     退出（或 Ctrl-D）\nCtrl-C   停止当前回答；在提示符处按两次则退出",
    ),
    "chat.again": Said("Ctrl-C again, or `exit`, to leave.", "再按一次 Ctrl-C 或输入 `exit` 退出。"),
    "chat.cleared": Said("The conversation is forgotten.", "对话已清空。"),
    "chat.stopped": Said("(stopped)", "（已停止）"),
    "chat.cut": Said(
        "(cut at {limit} tokens; max_new_tokens sets the limit)",
        "（已在 {limit} 个词元处截断，上限由 max_new_tokens 设定）",
    ),
    "chat.silent": Said("(the model answered nothing)", "（模型没有回答）"),
    "chat.dropped": Said(
        "(the model's window of {window} tokens is full: the {count} oldest exchanges are forgotten)",
        "（模型的窗口为 {window} 个词元，已满：最早的 {count} 轮对话已忘记）",
    ),
    "env.pins": Said(
        "The tutorials install these too ({pins}); nothing here needs them. DISABLE_VERSION_CHECK=1 leaves out what "
        "the tutorials name.",
        "教程还会安装这些库（{pins}），在这里都不需要。DISABLE_VERSION_CHECK=1 可不显示教程中的版本。",
    ),
    "init.done": Said(
        "Wrote {path}. Set the model and the data in it, then: llamafactory-cli train {path}",
        "已写入 {path}。填好模型与数据后运行：llamafactory-cli train {path}",
    ),
    "list.built": Said("built", "可用"),
    "list.planned": Said("planned", "计划中"),
    "list.templates": Said("Templates (template:)", "模板 （template：）"),
    "list.end-of-text": Said("end of text", "结束符"),
    "list.thinking.never": Said("", ""),
    "list.thinking.optional": Said("thinks, or not", "可思考"),
    "list.thinking.always": Said("thinks", "思考"),
    "list.tools": Said("tools", "工具"),
    "list.datasets": Said("Data sets (dataset:)", "数据集 （dataset：）"),
    "list.methods": Said("Methods (stage:, finetuning_type:)", "方法 （stage：、finetuning_type：）"),
    "list.models": Said("Models in ./models (model_name_or_path:)", "./models 中的模型 （model_name_or_path：）"),
    "exit.0": Said("done and checked", "完成并已核对"),
    "exit.2": Said("the configuration or the command line", "配置或命令行有误"),
    "exit.3": Said("the data", "数据有误"),
    "exit.4": Said("the machine: memory, disk, a lock, a missing library", "机器：内存、磁盘、锁或缺少的库"),
    "exit.5": Said("training diverged", "训练发散"),
    "exit.6": Said("a proof failed: what was written is not what was trained", "校验失败：写出的与训练的不一致"),
    "exit.70": Said("a fault of the program, with a report file", "程序自身错误，并写出报告文件"),
    "exit.75": Said("stopped on request; can be resumed", "按要求停止；可以继续"),
}

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": (
        "llamafactory-cli init",
        "llamafactory-cli check train.yaml",
        "llamafactory-cli train train.yaml learning_rate=1e-4",
        "llamafactory-cli chat train.yaml adapter_name_or_path=saves/my-model",
        "llamafactory-cli explain lora_rank",
    ),
    "init": ("llamafactory-cli init", "llamafactory-cli init configs/first.yaml full"),
    "convert": (
        "llamafactory-cli convert alpaca.json rows.jsonl --to openai",
        "llamafactory-cli convert turns.json data/hunyuan.json --to sharegpt --register hunyuan",
    ),
    "clean": (
        "llamafactory-cli clean rows.jsonl",
        "llamafactory-cli clean rows.jsonl clean.jsonl --duplicates --whitespace --report clean.json",
        "llamafactory-cli clean rows.jsonl clean.jsonl --drop 'As an AI' --against validation.jsonl",
    ),
    "check": (
        "llamafactory-cli check train.yaml",
        "llamafactory-cli check train.yaml cutoff_len=512 --json",
        "llamafactory-cli check train.yaml --config-only",
        "llamafactory-cli check train.yaml --step",
    ),
    "show": (
        "llamafactory-cli show train.yaml",
        "llamafactory-cli show train.yaml row=train.jsonl:812 --tokens",
        "llamafactory-cli show train.yaml --longest 5 --html rows.html",
    ),
    "train": (
        "llamafactory-cli train train.yaml",
        "llamafactory-cli train train.yaml learning_rate=1e-4 --max_steps 100 --plot_loss",
    ),
    "chat": (
        "llamafactory-cli chat --model_name_or_path models/qwen2_lora_sft --template qwen",
        "llamafactory-cli chat train.yaml adapter_name_or_path=saves/my-model",
        "llamafactory-cli chat train.yaml < questions.txt > answers.txt",
    ),
    "export": ("llamafactory-cli export merge.yaml", "llamafactory-cli export merge.yaml export_size=2"),
    "list": ("llamafactory-cli list", "llamafactory-cli list templates"),
    "plan": (
        "llamafactory-cli plan train.yaml",
        "llamafactory-cli plan --model Qwen2.5-7B --memory 24GB --rows 10000",
        "llamafactory-cli plan --model Qwen/Qwen3-8B --gpu a100 --gpus 2 --hours 12",
    ),
    "explain": ("llamafactory-cli explain lora_rank", "llamafactory-cli explain | grep warmup"),
    "env": (),
    "version": (),
    "help": ("llamafactory-cli help train",),
}
