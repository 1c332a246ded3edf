"""The letters of `generation`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "generation.empty-prompt": Letter(
        en="the prompt is empty.",
        en_cure="Say something first.",
        zh="提示为空。",
        zh_cure="请先输入内容。",
    ),
    "generation.outside-vocabulary": Letter(
        en="the prompt holds token {found}, but the model knows only {rows}.",
        en_cure="The tokenizer belongs to another model. Set `tokenizer_name` so that the two match.",
        zh="提示中有词元 {found}，但模型只有 {rows} 个。",
        zh_cure="分词器属于另一个模型。请设置 `tokenizer_name` 使两者一致。",
    ),
    "generation.prompt-too-long": Letter(
        en="the prompt has {found} tokens, the model's window {window}.",
        en_cure="Ask something shorter, or begin a new conversation.",
        zh="提示有 {found} 个词元，而模型窗口为 {window}。",
        zh_cure="请缩短问题，或开始新对话。",
    ),
    "generation.not-finite": Letter(
        en="after {tokens} tokens the model computed numbers that are not finite.",
        en_cure="Set `infer_dtype: float32`. If it stays so, the weights are damaged: take an older checkpoint.",
        zh="在 {tokens} 个词元之后，模型算出了非有限数值。",
        zh_cure="请设置 `infer_dtype: float32`。若仍如此，则权重已损坏，请使用较早的检查点。",
    ),
    "generation.no-memory": Letter(
        en="the memory of this machine does not hold a conversation of {tokens} tokens.",
        en_cure="Type `clear` to begin a new one, or set a smaller `max_new_tokens`.",
        zh="本机内存不足以容纳 {tokens} 个词元的对话。",
        zh_cure="请输入 `clear` 开始新对话，或减小 `max_new_tokens`。",
    ),
    "generation.unknown-weight": Letter(
        en="new values came for a weight that the model does not have.",
        en_cure="Nothing was changed. This is a bug of ours, please report it.",
        zh="收到了模型中不存在的权重的新值。",
        zh_cure="没有做任何改动。这是我们的错误，请报告。",
    ),
    "generation.other-shape": Letter(
        en="new values have the shape {found}, the weight has {expected}.",
        en_cure="Nothing was changed. This is a bug of ours, please report it.",
        zh="新值的形状为 {found}，而权重为 {expected}。",
        zh_cure="没有做任何改动。这是我们的错误，请报告。",
    ),
}
