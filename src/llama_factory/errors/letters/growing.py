"""Letters about new tokens: what they are, where their rows stand, and that these learn."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "config.token-empty": Letter(
        en="`{key}` names an empty token.",
        en_cure="Remove the comma too many. A token with a comma or a space at its edge is written in a YAML list.",
        zh="`{key}` 中有空词元。",
        zh_cure="请删除多余的逗号；含逗号或首尾空格的词元请写成 YAML 列表。",
    ),
    "config.no-descriptions": Letter(
        en="`init_special_tokens: {found}` begins rows from descriptions, and there are none.",
        en_cure="Set `new_special_tokens_config` to a YAML file with lines like `<step>: a step of a proof`, or leave "
        "`init_special_tokens` out.",
        zh="`init_special_tokens: {found}` 以描述为起点，但未提供描述。",
        zh_cure="请将 `new_special_tokens_config` 设为含 `<step>: a step of a proof` 这类行的 YAML 文件，"
        "或去掉 `init_special_tokens`。",
    ),
    "config.descriptions-not-read": Letter(
        en="`new_special_tokens_config` adds its tokens, but `init_special_tokens: noise_init` begins their rows "
        "without the descriptions.",
        en_cure="Remove `init_special_tokens`: a row then begins from its description.",
        zh="`new_special_tokens_config` 会加入其词元，但 `init_special_tokens: noise_init` 不使用描述作为起点。",
        zh_cure="请删除 `init_special_tokens`，这样各行以其描述为起点。",
    ),
    "config.no-description": Letter(
        en="a description of the token {token!r} was expected, in words, and {found} was found.",
        en_cure="Write one line for each token, `<token>: a few words`; for a token without, use `add_special_tokens`.",
        zh="应有词元 {token!r} 的文字描述，实际为 {found}。",
        zh_cure="每个词元一行，如 `<token>: 几个词`；没有描述的词元请用 `add_special_tokens`。",
    ),
    "config.descriptions-empty": Letter(
        en="no token stands in this file.",
        en_cure="Write one line for each token, `<token>: a few words`, or remove `new_special_tokens_config`.",
        zh="此文件中没有词元。",
        zh_cure="每个词元一行，如 `<token>: 几个词`，或删除 `new_special_tokens_config`。",
    ),
    "config.tokens-stay-frozen": Letter(
        en="`{keys}` gives the model rows that `{other}` never trains: they would stay as they began.",
        en_cure="Set `finetuning_type: lora`, `freeze` or `full` without BAdam: with each of them the new rows learn.",
        zh="`{keys}` 会为模型增加新行，而 `{other}` 从不训练它们，它们将停留在初值。",
        zh_cure="请设置 `finetuning_type: lora`、`freeze` 或 `full`，且不使用 BAdam：这样新行会被训练。",
    ),
    "config.tokens-not-with": Letter(
        en="`{keys}` and `{other}` cannot go together.",
        en_cure="Remove one. To have both, train the new tokens first (`finetuning_type: lora` or `full`), export, and "
        "go on from the result.",
        zh="`{keys}` 与 `{other}` 不能同时使用。",
        zh_cure="请删除其一。若两者都需要，请先训练新词元（`finetuning_type: lora` 或 `full`）并导出，"
        "再从结果继续训练。",
    ),
    "render.token-known": Letter(
        en="the tokenizer has {found} already: not added again.",
        en_cure="Nothing to do where the model knows it. With `finetuning_type: lora` its row stays as it is: one that "
        "was never trained (a reserved token) learns with `additional_target: embed_tokens,lm_head`.",
        zh="分词器已有 {found}，不再重复添加。",
        zh_cure="若模型认识它则无需操作。`finetuning_type: lora` 时其行保持不变；从未训练过的词元（保留词元）"
        "请用 `additional_target: embed_tokens,lm_head` 训练。",
    ),
    "render.token-takes-control": Letter(
        en="the new token {token} overlaps with the control token {mark}: beside it, that one would not be seen any "
        "more.",
        en_cure="Choose a token that neither holds {mark} nor ends as it begins.",
        zh="新词元 {token} 与控制符 {mark} 重叠，两者相邻时后者将无法识别。",
        zh_cure="请选用既不包含 {mark}、结尾也不与其开头相同的词元。",
    ),
    "render.token-in-template": Letter(
        en="the template itself writes {token}: as a new token it would change every row, and the model would read "
        "other turns than it was made with.",
        en_cure="Choose a token that occurs in your texts alone, such as one in angle brackets.",
        zh="模板本身会写出 {token}；将其设为新词元会改变每一行，模型读到的轮次结构将与原来不同。",
        zh_cure="请选用只出现在您文本中的词元，例如带尖括号的词。",
    ),
    "render.no-tokenizer-json": Letter(
        en="new tokens are written into tokenizer.json, which this folder does not have.",
        en_cure="Make it once with transformers: `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)`.",
        zh="新词元需写入 tokenizer.json，而此文件夹中没有该文件。",
        zh_cure="请用 transformers 生成一次：`AutoTokenizer.from_pretrained(文件夹).save_pretrained(文件夹)`。",
    ),
    "model.tokens-grown": Letter(
        en="{count} new tokens ({found}): the vocabulary grows from {own} to {rows} rows, {padding} of which only fill "
        "up to a multiple of 64 and are never drawn.",
        en_cure="Nothing to do. The tokenizer with them is saved beside the weights.",
        zh="{count} 个新词元（{found}）：词表由 {own} 行增至 {rows} 行，其中 {padding} 行仅用于凑足 64 的倍数，"
        "不会被生成。",
        zh_cure="无需操作。含新词元的分词器会与权重一同保存。",
    ),
    "model.tokens-in-spare-rows": Letter(
        en="{count} new tokens ({found}) take spare rows of the {rows} that the model has ({own} before, {padding} "
        "left); each gets a new start.",
        en_cure="Nothing to do. The tokenizer with them is saved beside the weights.",
        zh="{count} 个新词元（{found}）使用模型 {rows} 行中的空余行（原有 {own} 行，剩余 {padding} 行），"
        "并各自重新初始化。",
        zh_cure="无需操作。含新词元的分词器会与权重一同保存。",
    ),
    "model.no-rows-for-tokens": Letter(
        en="{count} new tokens need rows; the model has {rows} in all, {spare} of them spare, and `resize_vocab: "
        "false` forbids more.",
        en_cure="Write `resize_vocab: true`, or remove the line.",
        zh="{count} 个新词元需要新行；模型共有 {rows} 行，空余 {spare} 行，而 `resize_vocab: false` 不允许增加。",
        zh_cure="请写 `resize_vocab: true`，或删除该行。",
    ),
    "model.resize-not-needed": Letter(
        en="`resize_vocab: true` does nothing here: the model has {rows} rows, and the tokenizer needs {needed}.",
        en_cure="Remove the line. A vocabulary is never made smaller.",
        zh="`resize_vocab: true` 在此不起作用：模型有 {rows} 行，分词器只需 {needed} 行。",
        zh_cure="可删除该行；词表不会缩小。",
    ),
    "model.tokens-beside-adapter": Letter(
        en="{found} are new, and an adapter that is trained further keeps the vocabulary that it was made with.",
        en_cure="Export the adapter, and train the new tokens on the result; or leave them out.",
        zh="{found} 为新词元，而继续训练的适配器保持其原有词表。",
        zh_cure="请先导出该适配器，再在结果上训练新词元；或去掉这些词元。",
    ),
    "model.cannot-grow": Letter(
        en="a model of the type {type} cannot get rows for new tokens: its embedding or its head is of another kind, "
        "or not as large as its configuration says.",
        en_cure="Use words that the tokenizer has in the place of new tokens.",
        zh="{type} 类型的模型无法增加新词元的行：其嵌入层或输出头为其他形式，或大小与配置不符。",
        zh_cure="请用分词器已有的词代替新词元。",
    ),
    "model.base-not-grown": Letter(
        en="this adapter has rows for new tokens and needs a model of {rows} rows; this one has {found}.",
        en_cure="Give the base model as published to `model_name_or_path`: chat, export and train grow it by the note "
        "beside the adapter. An adapter from elsewhere needs a base that was resized and saved first.",
        zh="此适配器含新词元的行，需要 {rows} 行的模型，而此模型有 {found} 行。",
        zh_cure="请在 `model_name_or_path` 中填写原始基座模型：chat、export 与 train 会按适配器旁的记录扩展它。"
        "其他来源的适配器需要先扩展并保存的基座。",
    ),
    "model.new-rows-frozen": Letter(
        en="rows of new tokens would not learn: the {found} of this model is frozen.",
        en_cure="Please report this: it should have been refused before.",
        zh="新词元的行不会被训练：此模型的 {found} 被冻结。",
        zh_cure="请报告此问题：本应在之前就被拒绝。",
    ),
    "model.tokens-and-lora": Letter(
        en="`lora_target` puts LoRA on {found}, in which rows of new tokens learn whole.",
        en_cure="Take it out of `lora_target`; to train all of it, name it in `additional_target`.",
        zh="`lora_target` 在 {found} 上使用 LoRA，而其中新词元的行完整训练。",
        zh_cure="请将其从 `lora_target` 中去掉；若要完整训练它，请写入 `additional_target`。",
    ),
    "model.vocabulary-learns": Letter(
        en="the embedding and the head learn whole beside the chosen layers, for rows of new tokens stand in them.",
        en_cure="Nothing to do. With `finetuning_type: lora` the new rows alone would learn.",
        zh="新词元的行位于嵌入层与输出头，因此二者除所选层外也完整训练。",
        zh_cure="无需操作。使用 `finetuning_type: lora` 则只训练新行。",
    ),
    "data.token-unused": Letter(
        en="{count} of {new} new tokens stand in no row that is trained on: {found}. They would learn nothing.",
        en_cure="Look for another spelling in the data (spaces, capitals), or take them out.",
        zh="{new} 个新词元中有 {count} 个未出现在任何训练数据中：{found}。它们学不到任何内容。",
        zh_cure="请检查数据中的写法（空格、大小写），或去掉这些词元。",
    ),
    "data.token-only-read": Letter(
        en="{count} of {new} new tokens stand in prompts alone: {found}. The model learns to read them, not to write "
        "them.",
        en_cure="Nothing to do if that is meant.",
        zh="{new} 个新词元中有 {count} 个只出现在提示中：{found}。模型会学习读取而非生成它们。",
        zh_cure="若符合预期则无需操作。",
    ),
}
