"""The letters about LoftQ: what it begins from, and the quantised base that its result belongs on."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "config.loftq-needs-bits": Letter(
        en="`loftq_init` makes up for what quantising takes from the weights, and nothing is to be quantised.",
        en_cure="Set `quantization_bit: 4` (or 8, 3, 2), or remove `loftq_init`. A checkpoint that lies there "
        "quantised has no original weights to compare with: take the original model.",
        zh="`loftq_init` 用于弥补量化对权重造成的损失，但没有设置量化。",
        zh_cure="请设置 `quantization_bit: 4`（或 8、3、2），或删除 `loftq_init`。"
        "已量化的检查点没有可比较的原始权重：请使用原始模型。",
    ),
    "config.loftq-one-round": Letter(
        en="`loftq_iter: {found}`: every round after the first quantises other weights than the base's, and the "
        "adapter would be right on that base alone, which no other program makes.",
        en_cure="Write `loftq_iter: 1`, or leave it out. A larger `lora_rank` brings the start nearer to the weights.",
        zh="`loftq_iter: {found}`：第一轮之后的每一轮量化的都不再是基座的权重，"
        "适配器只适用于那个别的程序无法得到的基座。",
        zh_cure="请写 `loftq_iter: 1` 或删除此键。增大 `lora_rank` 可使起点更接近原权重。",
    ),
    "config.loftq-on-top": Letter(
        en="`loftq_init` and `create_new_adapter`: the adapters beneath have learned with the rounding that the new "
        "one would make up for.",
        en_cure="Remove `loftq_init`, or begin with it: leave `adapter_name_or_path` out.",
        zh="同时设置了 `loftq_init` 与 `create_new_adapter`：下层适配器是在带有量化误差的情况下学习的，"
        "而新适配器会去弥补该误差。",
        zh_cure="请删除 `loftq_init`；或从 LoftQ 开始训练，并去掉 `adapter_name_or_path`。",
    ),
    "model.loftq-begun": Letter(
        en="{layers} layers begin nearer to the original weights: rounding is off by {before} % of their length, with "
        "the adapter by {after} %.",
        en_cure="The result belongs on the base quantised as here; `chat` and `export` see to that.",
        zh="{layers} 个层以更接近原权重的状态开始：量化误差为权重长度的 {before} %，加上适配器后为 {after} %。",
        zh_cure="结果只适用于以相同方式量化的基座；`chat` 与 `export` 会保证这一点。",
    ),
    "model.loftq-nothing": Letter(
        en="`loftq_init`, but none of the layers that LoRA is put on is quantised.",
        en_cure="Name linear layers below the head in `lora_target`, or remove `loftq_init`.",
        zh="设置了 `loftq_init`，但加 LoRA 的层都没有量化。",
        zh_cure="请在 `lora_target` 中写输出头以下的线性层，或删除 `loftq_init`。",
    ),
    "model.loftq-other-weight": Letter(
        en="the files of the model have no weight that this layer was quantised from (nearest by name: {found}).",
        en_cure="Remove `loftq_init`: models whose files join or rename layers cannot begin so.",
        zh="模型文件中没有该层量化前的权重（名称最接近的：{found}）。",
        zh_cure="请删除 `loftq_init`：文件中合并或改名了层的模型无法这样开始。",
    ),
    "model.loftq-no-gain": Letter(
        en="the start of LoftQ is no nearer to the original weight: off by {before} without it, by {after} with it.",
        en_cure="Remove `loftq_init`, and please report the model.",
        zh="LoftQ 的起点没有更接近原权重：不用时误差为 {before}，使用时为 {after}。",
        zh_cure="请删除 `loftq_init`，并报告该模型。",
    ),
    "model.loftq-other-base": Letter(
        en="the adapter began with LoftQ on the base in {trained}, and is right on no other; here the base "
        "is in {here}.",
        en_cure="Write {keys}. `export` merges it onto just these weights, for programs that know no quantising.",
        zh="该适配器以 LoftQ 方式从 {trained} 的基座开始，只适用于该基座；此处的基座为 {here}。",
        zh_cure="请写 {keys}。`export` 会将其合并到这样的权重上，供不支持量化的程序使用。",
    ),
    "model.loftq-rounded-otherwise": Letter(
        en="the adapter began with LoftQ on weights that rounding took {trained} % off, and here it is {here} %: these "
        "are other weights.",
        en_cure="Quantise as in training: the same release of the package, and `infer_dtype: {dtype}`.",
        zh="该适配器以 LoftQ 方式从量化误差为 {trained} % 的权重开始，而此处误差为 {here} %：二者不是同样的权重。",
        zh_cure="请以与训练时相同的方式量化：使用相同版本的软件包，并设置 `infer_dtype: {dtype}`。",
    ),
    "model.loftq-twice": Letter(
        en="{count} of the adapters began with LoftQ: each makes up for the same rounding, together they overdo it.",
        en_cure="Give one of them, and others that were trained on top of it.",
        zh="有 {count} 个适配器以 LoftQ 方式开始：它们各自弥补同一量化误差，叠加后会过量。",
        zh_cure="请只给出其中一个，以及在其之上训练的适配器。",
    ),
    "model.no-base-folder": Letter(
        en="a start of LoRA reads the base's own files, and was not told where they are.",
        en_cure="This is a fault of this program. Please report it.",
        zh="LoRA 的初始化需要读取基座的文件，但没有给出其位置。",
        zh_cure="这是本程序的错误，请报告。",
    ),
    "export.on-rounded-base": Letter(
        en="the adapter began with LoftQ: it is merged onto the base's weights as {trained} leaves them, not as "
        "published.",
        en_cure="What is exported answers as the model did in training, in plain weights.",
        zh="该适配器以 LoftQ 方式开始：现合并到 {trained} 量化后的基座权重上，而不是原始权重。",
        zh_cure="导出的是普通权重，其回答与训练时一致。",
    ),
}
