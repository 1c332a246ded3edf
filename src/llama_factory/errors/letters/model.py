"""The letters of `model`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "model.policy-want": Letter(
        en="a forward was asked for {want}; it gives log-probabilities.",
        en_cure="This is a bug of ours. Please report it with the file named below.",
        zh="前向计算被要求给出 {want}，但它只给出对数概率。",
        zh_cure="这是我们的错误。请附上下方所列文件进行报告。",
    ),
    "model.policy-lost-boundaries": Letter(
        en="{module} received a row of several documents without their boundaries.",
        en_cure="They would have seen each other, so nothing was computed. This is a bug of ours: please report it "
        "with the model's name and the versions from `llamafactory-cli env`.",
        zh="{module} 收到一行包含多个文档的数据，但缺少文档边界。",
        zh_cure="文档之间会互相可见，因此没有进行计算。这是我们的错误："
        "请附上模型名称和 `llamafactory-cli env` 的版本信息进行报告。",
    ),
    "model.policy-unproven-layout": Letter(
        en="layout '{layout}' is not proven for model type '{type}'.",
        en_cure="Leave the layout out: the fastest proven one is taken.",
        zh="布局 '{layout}' 未被证明适用于模型类型 '{type}'。",
        zh_cure="请不要指定布局：程序会采用已证明的最快布局。",
    ),
    "model.policy-differs": Letter(
        en="the fast path of {type} differs from the plain one by {difference:.1e} in a log-probability "
        "(allowed: {allowed:.1e}).",
        en_cure="Nothing was trained. Please report the model's name and the versions from `llamafactory-cli env`.",
        zh="{type} 的快速路径与普通路径的对数概率相差 {difference:.1e}（允许 {allowed:.1e}）。",
        zh_cure="没有进行任何训练。请报告模型名称和 `llamafactory-cli env` 的版本信息。",
    ),
    "model.truncated": Letter(
        en="the file is {found} bytes long; its own header says {expected}.",
        en_cure="A download or a copy broke off. Fetch this file again.",
        zh="文件长度为 {found} 字节，而文件头要求 {expected} 字节。",
        zh_cure="下载或复制中断了。请重新获取此文件。",
    ),
    "model.not-safetensors": Letter(
        en="this file is named safetensors, but it is not one.",
        en_cure="Often it is a web page or a Git LFS pointer that was saved instead of "
        "the weights. Fetch the file again.",
        zh="此文件名为 safetensors，但内容不是。",
        zh_cure="常见原因是保存了网页或 Git LFS 指针而不是权重。请重新获取此文件。",
    ),
    "model.broken-index": Letter(
        en="expected a table of weight files, found: {found}.",
        en_cure="Fetch this file again, or the whole folder.",
        zh="应为权重文件索引表，实际为：{found}。",
        zh_cure="请重新获取此文件或整个文件夹。",
    ),
    "model.missing-shard": Letter(
        en="{count} of the weight files that the index names are missing: {missing}.",
        en_cure="Fetch them again into this folder.",
        zh="索引中列出的权重文件缺少 {count} 个：{missing}。",
        zh_cure="请将其重新下载到此文件夹。",
    ),
    "model.no-weights": Letter(
        en="expected a model with safetensors weights, found: {found}.",
        en_cure="Set `model_name_or_path` to the folder that holds config.json and the .safetensors files.",
        zh="应为包含 safetensors 权重的模型，实际找到：{found}。",
        zh_cure="请将 `model_name_or_path` 设为包含 config.json 和 .safetensors 文件的文件夹。",
    ),
    "model.no-config": Letter(
        en="there are weights ({weights}) but no config.json, so nobody can know what model they belong to.",
        en_cure="Copy config.json from where the model was published into this folder.",
        zh="此处有权重（{weights}）但没有 config.json，无法得知属于哪个模型。",
        zh_cure="请从模型发布处复制 config.json 到此文件夹。",
    ),
    "model.broken-config": Letter(
        en="this configuration cannot be read: {found}.",
        en_cure="Fetch the file again from where the model was published, or correct it by hand.",
        zh="无法读取此配置：{found}。",
        zh_cure="请从模型发布处重新获取该文件，或手工改正。",
    ),
    "model.no-model-type": Letter(
        en="config.json does not say its `model_type`.",
        en_cure="Fetch config.json again from where the model was published.",
        zh="config.json 中没有 `model_type`。",
        zh_cure="请从模型发布处重新获取 config.json。",
    ),
    "model.unknown-type": Letter(
        en="model type '{found}' is not known to this version of transformers{nearest}.",
        en_cure="If the model is newer than the library: `pip install -U transformers`.",
        zh="当前版本的 transformers 不认识模型类型 '{found}'{nearest}。",
        zh_cure="如果模型比库新，请运行 `pip install -U transformers`。",
    ),
    "model.not-causal": Letter(
        en="'{found}' is not a model that predicts the next token.",
        en_cure="Choose a causal language model: its config.json names a class that ends in ForCausalLM.",
        zh="'{found}' 不是预测下一个词元的模型。",
        zh_cure="请选择因果语言模型：其 config.json 中的类名以 ForCausalLM 结尾。",
    ),
    "model.needs-own-code": Letter(
        en="model type '{found}' runs Python code that lies in the model's own folder.",
        en_cure="Read that code. If you trust its authors, set `trust_remote_code: true`.",
        zh="模型类型 '{found}' 需要运行模型文件夹中的 Python 代码。",
        zh_cure="请先阅读该代码。若信任其作者，请设置 `trust_remote_code: true`。",
    ),
    "model.pickled-weights": Letter(
        en="the weights are pickles ({found}), which can run any program when they are opened.",
        en_cure="Take the safetensors version of this model; most publishers offer it beside the other.",
        zh="权重为 pickle 格式（{found}），打开时可能执行任意程序。",
        zh_cure="请使用该模型的 safetensors 版本，多数发布者同时提供。",
    ),
    "model.gguf-only": Letter(
        en="the folder holds a GGUF file ({found}) and no safetensors.",
        en_cure="Convert it once: `python -m llama_factory.model.gguf {file} NEW_FOLDER`, "
        "then set `model_name_or_path: NEW_FOLDER`.",
        zh="文件夹中只有 GGUF 文件（{found}），没有 safetensors。",
        zh_cure="请先转换：`python -m llama_factory.model.gguf {file} 新文件夹`,"
        "然后设置 `model_name_or_path: 新文件夹`。",
    ),
    "model.gguf-file": Letter(
        en="this is a GGUF file; training needs a folder with safetensors.",
        en_cure="Convert it once: `python -m llama_factory.model.gguf {file} NEW_FOLDER`, "
        "then set `model_name_or_path: NEW_FOLDER`.",
        zh="这是 GGUF 文件；训练需要包含 safetensors 的文件夹。",
        zh_cure="请先转换：`python -m llama_factory.model.gguf {file} 新文件夹`,"
        "然后设置 `model_name_or_path: 新文件夹`。",
    ),
    "model.file-not-folder": Letter(
        en="this is a file; a model is a folder with config.json and weights.",
        en_cure="Set `model_name_or_path` to the folder, perhaps {folder}.",
        zh="这是一个文件；模型应为包含 config.json 和权重的文件夹。",
        zh_cure="请将 `model_name_or_path` 设为文件夹，可能是 {folder}。",
    ),
    "model.adapter-not-model": Letter(
        en="the folder holds an adapter, not a model.",
        en_cure="Set `adapter_name_or_path` to it, and `model_name_or_path` to the base model that it was trained on.",
        zh="此文件夹是适配器，不是模型。",
        zh_cure="请将其设为 `adapter_name_or_path`，并将 `model_name_or_path` 设为训练时使用的基座模型。",
    ),
    "model.no-such-folder": Letter(
        en="there is no such folder{nearest}.",
        en_cure="Correct the path, or give the name of a model on the hub, such as `Qwen/Qwen2-7B`.",
        zh="没有这个文件夹{nearest}。",
        zh_cure="请改正路径，或填写模型库中的名称，例如 `Qwen/Qwen2-7B`。",
    ),
    "model.not-on-hub": Letter(
        en="there is no folder of this name here, and no such model on the hub.",
        en_cure="Correct the name. For a private model set `hf_hub_token` or run `hf auth login`.",
        zh="本地没有此名称的文件夹，模型库中也没有此模型。",
        zh_cure="请改正名称。私有模型请设置 `hf_hub_token` 或运行 `hf auth login`。",
    ),
    "model.no-such-revision": Letter(
        en="the hub knows this model, but no revision '{revision}' of it.",
        en_cure="Correct `model_revision`; `main` is the newest.",
        zh="模型库中有此模型，但没有版本 '{revision}'。",
        zh_cure="请改正 `model_revision`;`main` 为最新版本。",
    ),
    "model.gated": Letter(
        en="the hub gives this model only to those who accepted its terms.",
        en_cure="Accept them on the model's page, then set `hf_hub_token` or run `hf auth login`.",
        zh="模型库仅向接受其条款的用户提供此模型。",
        zh_cure="请在模型页面接受条款，然后设置 `hf_hub_token` 或运行 `hf auth login`。",
    ),
    "model.unreachable": Letter(
        en="there is no folder of this name here, and the hub cannot be reached.",
        en_cure="Set `model_name_or_path` to a folder on this machine. With a network: "
        "check it, or set HF_ENDPOINT to a mirror.",
        zh="本地没有此名称的文件夹，也无法连接模型库。",
        zh_cure="请将 `model_name_or_path` 设为本机文件夹。若有网络，请检查连接，或将 HF_ENDPOINT 设为镜像地址。",
    ),
    "model.hub-failed": Letter(
        en="fetching the model failed: {found}.",
        en_cure="Look at the free space and the rights of the cache folder (`cache_dir`), then run the command again.",
        zh="获取模型失败：{found}。",
        zh_cure="请检查缓存文件夹（`cache_dir`）的可用空间和权限，然后重新运行命令。",
    ),
    "model.library-missing": Letter(
        en="loading this model needs a library that is not installed: {found}",
        en_cure="Install it and run the command again.",
        zh="加载此模型需要尚未安装的库：{found}",
        zh_cure="请安装后重新运行命令。",
    ),
    "model.no-memory": Letter(
        en="the memory of this machine does not hold the model.",
        en_cure="Close other programs, or take a smaller model.",
        zh="本机内存不足以加载该模型。",
        zh_cure="请关闭其他程序，或使用更小的模型。",
    ),
    "model.will-not-load": Letter(
        en="transformers cannot load this model: {found}.",
        en_cure="Compare config.json with the published one. If the message speaks of "
        "attention, set `flash_attn: disabled`.",
        zh="transformers 无法加载此模型：{found}。",
        zh_cure="请将 config.json 与发布版本比较。若提示与 attention 有关，请设置 `flash_attn: disabled`。",
    ),
    "model.missing-weights": Letter(
        en="{count} weights of the model are in none of its files: {found}.",
        en_cure="They would start at random. Fetch the model again, and check that "
        "config.json belongs to these weights.",
        zh="模型有 {count} 个权重不在任何文件中：{found}。",
        zh_cure="它们会被随机初始化。请重新获取模型，并检查 config.json 是否与权重匹配。",
    ),
    "model.other-shapes": Letter(
        en="{count} weights have another shape than config.json says; {key} is {found}, expected {expected}.",
        en_cure="Check that config.json belongs to these weights.",
        zh="有 {count} 个权重的形状与 config.json 不符；{key} 为 {found}，应为 {expected}。",
        zh_cure="请检查 config.json 是否与这些权重匹配。",
    ),
    "model.unused-weights": Letter(
        en="{count} weights of the files have no place in the model and are not used: {found}.",
        en_cure="Usual for extra heads that only serving uses. If you expected them to count, check config.json.",
        zh="文件中有 {count} 个权重在模型中没有位置，未被使用：{found}。",
        zh_cure="对于仅推理使用的附加头这是正常的。若认为它们应当生效，请检查 config.json。",
    ),
    "model.other-architecture": Letter(
        en="`{key}: {asked}` is given, but the model's own is {own}.",
        en_cure="The key describes the model and changes nothing. Remove it, or choose the model that you meant.",
        zh="给出了 `{key}: {asked}`，但模型自身为 {own}。",
        zh_cure="此项只描述模型，不会改变模型。请删除它，或改用您想用的模型。",
    ),
    "model.no-such-target": Letter(
        en="`{found}`{nearest} is no linear layer of this model. It has: {known}.",
        en_cure="Set `{key}` to some of these, or to `all`.",
        zh="`{found}`{nearest} 不是此模型的线性层。可选：{known}。",
        zh_cure="请将 `{key}` 设为其中若干项，或设为 `all`。",
    ),
    "model.all-among-others": Letter(
        en="`all` stands among other names: {found}.",
        en_cure="Write `{key}: all`, or only the names.",
        zh="`all` 与其他名称同时出现：{found}。",
        zh_cure="请写 `{key}: all`，或只写名称。",
    ),
    "model.lora-on-tied-head": Letter(
        en="`{found}` is the output head, and this model shares its weights with the input embedding.",
        en_cure="Merging would change both. Leave it out of `{key}`.",
        zh="`{found}` 是输出头，此模型的输出头与输入嵌入共享权重。",
        zh_cure="合并会同时改变两者。请将其从 `{key}` 中去掉。",
    ),
    "model.nothing-linear": Letter(
        en="{found} has no linear layers that `{key}` could mean.",
        en_cure="Set `finetuning_type: full`, or choose another model.",
        zh="{found} 没有`{key}` 可指的线性层。",
        zh_cure="请设置 `finetuning_type: full`，或换用其他模型。",
    ),
    "model.experts-not-adapted": Letter(
        en="the experts, {share} of the weights, are stacked tensors and get no adapter; the other linear layers do.",
        en_cure="Nothing to do, if that is what you want.",
        zh="专家权重占 {share}，为堆叠张量，不加适配器；其他线性层会加。",
        zh_cure="若符合预期，无需处理。",
    ),
    "model.freeze-layers": Letter(
        en="{found} layers were asked for; the model has {layers}.",
        en_cure="Set `freeze_trainable_layers` from 1 to {layers} for the last ones, or "
        "from -1 to -{layers} for the first ones.",
        zh="要求训练 {found} 层；模型共有 {layers} 层。",
        zh_cure="请将 `freeze_trainable_layers` 设为 1 到 {layers}（最后几层）或 -1 到 -{layers}（最前几层）。",
    ),
    "model.no-layers": Letter(
        en="{found} has no list of {layers} layers to choose from.",
        en_cure="Set `finetuning_type: lora` or `full`.",
        zh="{found} 没有可供选择的 {layers} 层列表。",
        zh_cure="请设置 `finetuning_type: lora` 或 `full`。",
    ),
    "model.no-such-part": Letter(
        en="`{found}`{nearest} is no part of this model there. There are: {known}.",
        en_cure="Correct the name; parts of parts may be written with dots, such as `mlp.up_proj`.",
        zh="`{found}`{nearest} 不是此模型该处的组成部分。可选：{known}。",
        zh_cure="请改正名称；下级部分可用点号表示，例如 `mlp.up_proj`。",
    ),
    "model.nothing-trainable": Letter(
        en="with `finetuning_type: {found}` nothing of the model would learn.",
        en_cure="Choose other modules.",
        zh="使用 `finetuning_type: {found}` 时模型没有可训练的部分。",
        zh_cure="请选择其他模块。",
    ),
    "model.trainable": Letter(
        en="{trainable} of {total} numbers learn ({share}).",
        en_cure="Method: {method}.",
        zh="可训练参数 {trainable}，共 {total}（{share}）。",
        zh_cure="方法：{method}。",
    ),
    "model.not-an-adapter": Letter(
        en="expected a trained adapter, but there is no {file}.",
        en_cure="Set `adapter_name_or_path` to the `output_dir` of a LoRA run that has "
        "finished, or to one of its checkpoints.",
        zh="应为训练好的适配器，但没有 {file}。",
        zh_cure="请将 `adapter_name_or_path` 设为已完成的 LoRA 训练的 `output_dir`，或其中一个检查点。",
    ),
    "model.empty-adapter": Letter(
        en="the file holds no weights.",
        en_cure="The program that saved it lost them. Take another checkpoint, or train again.",
        zh="文件中没有任何权重。",
        zh_cure="保存它的程序丢失了权重。请使用其他检查点，或重新训练。",
    ),
    "model.adapter-kind": Letter(
        en="the adapter is of the kind {found}; what can be opened: {known}.",
        en_cure="Merge it with the program that made it, and use the result as `model_name_or_path`.",
        zh="适配器类型为 {found}；可以打开的类型：{known}。",
        zh_cure="请用生成它的程序合并，并将结果作为 `model_name_or_path`。",
    ),
    "model.adapter-newer": Letter(
        en="the adapter's configuration says things that this version of peft does not know: {found}.",
        en_cure="They are left out. If the answers are poor: `pip install -U peft`.",
        zh="适配器配置中有当前 peft 版本不认识的内容：{found}。",
        zh_cure="这些内容被忽略。若回答质量差，请运行 `pip install -U peft`。",
    ),
    "model.adapter-does-not-fit": Letter(
        en="the adapter does not fit this model: {found}.",
        en_cure="Set `model_name_or_path` to the base that it was trained on; adapter_config.json names it.",
        zh="适配器与此模型不匹配：{found}。",
        zh_cure="请将 `model_name_or_path` 设为训练时使用的基座模型；其名称见 adapter_config.json。",
    ),
    "model.adapter-from-elsewhere": Letter(
        en="the adapter was not made here, so nobody can check that this is the base it was trained on.",
        en_cure="If the answers are poor, compare `model_name_or_path` with adapter_config.json.",
        zh="该适配器不是由本程序生成，无法检查基座模型是否一致。",
        zh_cure="如果回答质量差，请将 `model_name_or_path` 与 adapter_config.json 比较。",
    ),
    "model.other-base": Letter(
        en="the adapter was trained on other weights: on {base} ({expected}…), and {given} holds {found}….",
        en_cure="Set `model_name_or_path` to the base that it was trained on. On another "
        "base an adapter gives fluent nonsense.",
        zh="该适配器是在其他权重上训练的：{base}（{expected}…），而 {given} 为 {found}…。",
        zh_cure="请将 `model_name_or_path` 设为训练时的基座模型。用在其他基座上会得到流畅但错误的结果。",
    ),
    "model.other-base-config": Letter(
        en="the weights are the ones that {adapter} was trained on, but config.json has changed since.",
        en_cure="If you did not change it on purpose, put the old one back.",
        zh="权重与 {adapter} 训练时一致，但 config.json 已改变。",
        zh_cure="如果不是有意修改，请恢复原文件。",
    ),
    "model.other-template": Letter(
        en="the adapter was trained with another {part} than the one used now.",
        en_cure="Leave `template`, `default_system` and `tokenizer_name` as they were in training (leaving them out "
        "takes what lies beside the adapter). If it is meant, set `allow_template_mismatch: true`.",
        zh="该适配器训练时使用的模板或分词器（{part}）与现在的不同。",
        zh_cure="请保持 `template`、`default_system` 和 `tokenizer_name` 与训练时一致（不填则使用适配器旁保存的）。"
        "若确有此意，请设置 `allow_template_mismatch: true`。",
    ),
    "model.other-template-allowed": Letter(
        en="the adapter was trained with another {part} than the one used now, as you allowed.",
        en_cure="Answers may be worse than they were in training.",
        zh="该适配器训练时使用的模板或分词器（{part}）与现在的不同，已按您的设置放行。",
        zh_cure="回答质量可能不如训练时。",
    ),
    "model.broken-note": Letter(
        en="the note about how this folder was made cannot be read: {found}.",
        en_cure="Remove the file to use the folder unchecked, or take another checkpoint.",
        zh="无法读取此文件夹的生成记录：{found}。",
        zh_cure="删除该文件可不经检查使用此文件夹，或换用其他检查点。",
    ),
    "model.stray-keys": Letter(
        en="{count} weights of the trained model have no place in the base's files: {found}.",
        en_cure="Nothing was left there. This is a bug of ours, unless the adapter "
        "trains embeddings or heads of its own.",
        zh="训练后的模型有 {count} 个权重在基座文件中没有位置：{found}。",
        zh_cure="未留下任何文件。除非适配器训练了自己的嵌入或输出头，否则这是我们的错误。",
    ),
    "model.other-shape": Letter(
        en="the shape is {found} where the base has {expected}.",
        en_cure="Nothing was left there. The vocabulary may have been resized: use the base that was trained on.",
        zh="形状为 {found}，而基座为 {expected}。",
        zh_cure="未留下任何文件。词表大小可能被改变：请使用训练时的基座。",
    ),
    "model.weights-behind-masters": Letter(
        en="the working weights differ from the trained ones.",
        en_cure="Nothing was written. This is a bug of ours, please report it.",
        zh="工作权重与训练所得权重不一致。",
        zh_cure="没有写入任何内容。这是我们的错误，请报告。",
    ),
    "model.written-wrong": Letter(
        en="what was read back is not what was written: {key}.",
        en_cure="Look after the disk and the memory of this machine, then run the command again.",
        zh="读回的内容与写入的不一致：{key}。",
        zh_cure="请检查本机的磁盘和内存，然后重新运行命令。",
    ),
    "model.not-finite": Letter(
        en="{key} holds numbers that are not finite.",
        en_cure="Training went wrong before this was saved. Go on from an older "
        "checkpoint with a lower `learning_rate`.",
        zh="{key} 中含有非有限数值。",
        zh_cure="保存前训练已经出错。请从较早的检查点以更低的 `learning_rate` 继续。",
    ),
    "model.gguf-library": Letter(
        en="reading a GGUF file needs a library that is not installed.",
        en_cure='pip install "llama-factory[gguf]"',
        zh="读取 GGUF 文件需要尚未安装的库。",
        zh_cure='pip install "llama-factory[gguf]"',
    ),
    "model.not-gguf": Letter(
        en="expected a GGUF file, found something else: {found}.",
        en_cure="Give the path of a .gguf file.",
        zh="应为 GGUF 文件，实际不是：{found}。",
        zh_cure="请给出 .gguf 文件的路径。",
    ),
    "model.gguf-unknown": Letter(
        en="transformers cannot read this GGUF file: {found}.",
        en_cure="Take the safetensors version of this model instead.",
        zh="transformers 无法读取此 GGUF 文件：{found}。",
        zh_cure="请改用该模型的 safetensors 版本。",
    ),
    "model.no-such-file": Letter(
        en="there is no such file.",
        en_cure="Correct the path.",
        zh="没有这个文件。",
        zh_cure="请改正路径。",
    ),
    "model.target-not-empty": Letter(
        en="the folder to write into is not empty.",
        en_cure="Name a new folder.",
        zh="要写入的文件夹不为空。",
        zh_cure="请指定新文件夹。",
    ),
    "model.answers-not-finite": Letter(
        en="before any training, in {format}, the model's log-probabilities of two rows are no finite numbers.",
        en_cure="Its weights are broken, or too large for {format}. Give `bf16: false`, or fetch the model again.",
        zh="尚未训练，模型以 {format} 计算两行数据的对数概率就不是有限数值。",
        zh_cure="权重已损坏，或超出 {format} 的范围。请设置 `bf16: false`，或重新获取模型。",
    ),
    "model.reopened-differs": Letter(
        en="what was saved and opened again is not what was trained: {count} of {total} trained tensors differ, a "
        "log-probability differs by {difference:.2g} on average ({allowed:g} is allowed).",
        en_cure="A run would end with a result that is not the model it trained. Nothing of it was kept. Look after "
        "disk and memory of this machine; if it happens again, please report it.",
        zh="保存后重新打开的模型与训练所得不一致：{total} 个被训练的张量中有 {count} 个不同，"
        "对数概率平均相差 {difference:.2g}（允许 {allowed:g}）。",
        zh_cure="正式训练的结果也会与所训练的模型不同。未保留任何文件。请检查本机的磁盘和内存；若再次出现，请反馈。",
    ),
    # Found by `audit`.
    "model.beyond-window": Letter(
        en="the model's window is {window} tokens; {count} rows are longer (the longest {longest}).",
        en_cure="Lower `cutoff_len` to {window}: beyond its window a model has learned nothing it could build on.",
        zh="模型的窗口为 {window} 个词元；有 {count} 行更长（最长 {longest}）。",
        zh_cure="请把 `cutoff_len` 降到 {window}：模型没有学过窗口之外的内容。",
    ),
    "model.beyond-window-learned": Letter(
        en="the model's window is {window} tokens, {before} of which the learned ones before every row take; {count} "
        "rows are longer than the rest (the longest {longest}).",
        en_cure="Lower `cutoff_len` to {room}: beyond its window a model has learned nothing it could build on.",
        zh="模型的窗口为 {window} 个词元，其中每行之前的可学习词元占 {before} 个；有 {count} 行超出余下部分"
        "（最长 {longest}）。",
        zh_cure="请把 `cutoff_len` 降到 {room}：模型没有学过窗口之外的内容。",
    ),
    "model.token-unknown": Letter(
        en="the rows contain token {token}, but the model knows only {size} (0 to {size} - 1).",
        en_cure="Tokenizer and model do not belong together: leave `tokenizer_name` out, or fetch the model again. "
        "Are its "
        "tokens meant to be new to the model, set `resize_vocab: true`.",
        zh="数据中出现编号为 {token} 的词元，而模型只有 {size} 个（0 至 {size} - 1）。",
        zh_cure="分词器与模型不匹配：请去掉 `tokenizer_name`，或重新下载模型。若这些词元对模型而言本是新的，请设置 "
        "`resize_vocab: true`。",
    ),
    "model.disk-short": Letter(
        en="about {needed} are needed ({kept} checkpoints of {one} and the result), {free} are free.",
        en_cure="Set `save_total_limit`, raise `save_steps`, or choose an `output_dir` on a larger disk.",
        zh="大约需要 {needed}（{kept} 个检查点，每个 {one}，另有最终结果），可用空间为 {free}。",
        zh_cure="请设置 `save_total_limit`、增大 `save_steps`，或把 `output_dir` 放到更大的磁盘上。",
    ),
}
