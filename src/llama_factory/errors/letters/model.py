"""The letters of `model`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "model.policy-want": Letter(
        en="a forward was asked for {want}; it gives log-probabilities.",
        en_cure="This is a bug of ours. Please report it with the file named below.",
        zh="前向计算被要求给出 {want},但它只给出对数概率。",
        zh_cure="这是我们的错误。请附上下方所列文件进行报告。",
    ),
    "model.policy-lost-boundaries": Letter(
        en="{module} received a row of several documents without their boundaries.",
        en_cure="They would have seen each other, so nothing was computed. This is a bug of ours: please report it "
        "with the model's name and the versions from `llamafactory-cli env`.",
        zh="{module} 收到一行包含多个文档的数据,但缺少文档边界。",
        zh_cure="文档之间会互相可见,因此没有进行计算。这是我们的错误:请附上模型名称和 `llamafactory-cli env` 的版本信息进行报告。",
    ),
    "model.policy-unproven-layout": Letter(
        en="layout '{layout}' is not proven for model type '{type}'.",
        en_cure="Leave the layout out: the fastest proven one is taken.",
        zh="布局 '{layout}' 未被证明适用于模型类型 '{type}'。",
        zh_cure="请不要指定布局:程序会采用已证明的最快布局。",
    ),
    "model.policy-differs": Letter(
        en="the fast path of {type} differs from the plain one by {difference:.1e} in a log-probability "
        "(allowed: {allowed:.1e}).",
        en_cure="Nothing was trained. Please report the model's name and the versions from `llamafactory-cli env`.",
        zh="{type} 的快速路径与普通路径的对数概率相差 {difference:.1e}(允许 {allowed:.1e})。",
        zh_cure="没有进行任何训练。请报告模型名称和 `llamafactory-cli env` 的版本信息。",
    ),
}
