"""The letters of `render`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "render.mould-differs": Letter(
        en="filling in what the template writes around the words of {row} gave another text than the template itself.",
        en_cure="The file was made again by running the template for every row: nothing is wrong with the rows.",
        zh="按模板固定文字填入 {row} 的内容所得的文本与模板本身的输出不同。",
        zh_cure="该文件已改为逐行运行模板重新生成，数据没有问题。",
    ),
    "render.fast-encoding-differs": Letter(
        en="{library} did not encode this as `tokenizers` does: {text}.",
        en_cure="The file was encoded again by `tokenizers` alone: nothing is wrong with the rows. "
        "`use_fast_tokenizer: false` saves the second time.",
        zh="{library} 对以下文本的分词与 `tokenizers` 不同：{text}。",
        zh_cure="该文件已改由 `tokenizers` 重新分词，数据没有问题；设置 `use_fast_tokenizer: false` 可省去重复分词。",
    ),
    "render.no-tokenizer": Letter(
        en="expected a tokenizer here (tokenizer.json, or the files it is made from), found none.",
        en_cure="Give `model_name_or_path` a folder that holds the model's tokenizer too.",
        zh="此处应有分词器（tokenizer.json，或生成它的文件），但没有找到。",
        zh_cure="请让 `model_name_or_path` 指向同时包含分词器的模型目录。",
    ),
    "render.broken-tokenizer": Letter(
        en="the tokenizer cannot be read: {reason}",
        en_cure="Fetch the model again; the file may have been cut off while it was copied.",
        zh="无法读取分词器：{reason}",
        zh_cure="请重新下载模型；文件可能在复制时被截断。",
    ),
    "render.unknown-template": Letter(
        en="expected `template` to be one of {known}, found '{found}'{near}.",
        en_cure="Leave `template` out to use the model's own, or name one of these.",
        zh="`template` 应为 {known} 之一，实际为 '{found}'{near}。",
        zh_cure="删去 `template` 即使用模型自带的模板，或改用上述名称之一。",
    ),
    "render.markers-missing": Letter(
        en="template '{template}' writes control tokens that this tokenizer does not have: {missing}.",
        en_cure="The model would see them as letters. Name the template that this model was made for.",
        zh="模板 '{template}' 使用的控制符在该分词器中不存在：{missing}。",
        zh_cure="模型只会把它们当作普通字符。请使用与该模型匹配的模板。",
    ),
    "render.template-mismatch": Letter(
        en="template '{template}' does not write what this model was trained with. After {before} the next token is\n"
        "  in the template: {ours}\n  in the model's:  {theirs}",
        en_cure="Leave `template` out to use the model's own. If you want the other one all the same, "
        "set `allow_template_mismatch: true`.",
        zh="模板 '{template}' 与该模型训练时使用的格式不同。在 {before} 之后的下一个 token 是\n"
        "  模板：{ours}\n  模型：{theirs}",
        zh_cure="删去 `template` 即使用模型自带的模板；若确要使用另一个模板，请设置 `allow_template_mismatch: true`。",
    ),
    "render.template-mismatch-allowed": Letter(
        en="template '{template}' differs from the model's own, as you allowed: after {before} it writes the token "
        "{ours} and the model's own {theirs}.",
        en_cure="Serve the model with the template saved beside the weights, not with its old one.",
        zh="模板 '{template}' 与模型自带的不同，已按您的设置放行：在 {before} 之后它写 token {ours},"
        "模型自带的写 {theirs}。",
        zh_cure="部署时请使用与权重一同保存的模板，而不是模型原来的模板。",
    ),
    "render.system-only-named": Letter(
        en="template '{template}' has the model's own turns, and a place for a system text, which the model's own "
        "template has not: the named one is used.",
        en_cure="It is saved with the result. Leave `template` out to have rows with a system text refused.",
        zh="模板 '{template}' 的对话格式与模型一致，并且能写入系统提示，而模型自带的模板不能：将使用指定的模板。",
        zh_cure="该模板会与结果一同保存。删去 `template` 则会拒绝含系统提示的数据。",
    ),
    "render.thoughts-differ-own": Letter(
        en="template '{template}' writes the model's own turns, but thoughts in another way; the model's own is used.",
        en_cure="Nothing to do: thoughts are written as this model knows them.",
        zh="模板 '{template}' 的对话格式与模型一致，但思考内容的写法不同；将使用模型自带的写法。",
        zh_cure="无需处理：思考内容将按该模型熟悉的形式书写。",
    ),
    "render.thoughts-differ-named": Letter(
        en="template '{template}' writes the model's own turns, but thoughts in another way; the named one is used.",
        en_cure="Leave `template` out to write thoughts as the model's own template does.",
        zh="模板 '{template}' 的对话格式与模型一致，但思考内容的写法不同；将使用指定的模板。",
        zh_cure="删去 `template` 即按模型自带的模板书写思考内容。",
    ),
    "render.tools-differ-own": Letter(
        en="template '{template}' writes the model's own turns, but tools in another way; the model's own is used.",
        en_cure="Nothing to do: rows with tools are written as this model knows them.",
        zh="模板 '{template}' 的对话格式与模型一致，但工具的写法不同；将使用模型自带的写法。",
        zh_cure="无需处理：含工具的数据将按该模型熟悉的形式书写。",
    ),
    "render.tools-differ-named": Letter(
        en="template '{template}' writes the model's own turns, but tools in another way; the named one is used.",
        en_cure="Leave `template` out to write tools as the model's own template does.",
        zh="模板 '{template}' 的对话格式与模型一致，但工具的写法不同；将使用指定的模板。",
        zh_cure="删去 `template` 即按模型自带的模板书写工具。",
    ),
    "render.default-system-differs": Letter(
        en="template '{template}' has the model's own turns but another default system text: {system}",
        en_cure="It is saved with the result. Leave `template` out to keep the model's own.",
        zh="模板 '{template}' 的对话格式与模型一致，但默认系统提示不同：{system}",
        zh_cure="该模板会与结果一同保存。删去 `template` 即可保留模型自带的系统提示。",
    ),
    "render.plain-form": Letter(
        en="this model has no chat template and none was named: each row becomes prompt, line break, response, "
        "end of text.",
        en_cure="Name a `template` if the model is to be used as a chat model.",
        zh="该模型没有对话模板，配置中也没有指定：每行数据将写成 提示、换行、回答、结束符。",
        zh_cure="若要作为对话模型使用，请指定 `template`。",
    ),
    "render.no-end-of-text": Letter(
        en="template '{template}' ends each answer with the end-of-text token, and this tokenizer names none.",
        en_cure="Set `eos_token` in its tokenizer_config.json to one of its special tokens.",
        zh="模板 '{template}' 以结束符结束每个回答，但该分词器没有定义结束符。",
        zh_cure="请在 tokenizer_config.json 中把 `eos_token` 设为它的某个特殊符号。",
    ),
    "render.broken-template": Letter(
        en="the chat template cannot be read: {reason}",
        en_cure="Mend chat_template.jinja, or name a `template`.",
        zh="无法解析对话模板：{reason}",
        zh_cure="请修正 chat_template.jinja，或指定 `template`。",
    ),
    "render.unusable-template": Letter(
        en="the chat template does not render a simple conversation of two questions and two answers:\n{reason}",
        en_cure="Name a `template` that fits this model.",
        zh="该对话模板无法渲染一段两问两答的简单对话：\n{reason}",
        zh_cure="请指定适合该模型的 `template`。",
    ),
    "render.prompt-differs": Letter(
        en="the prompt that this template writes for generation is not how its finished conversations begin "
        "(it ends with {tail}).",
        en_cure="The model will be asked in a form it was not trained on. Name another `template` if one fits.",
        zh="该模板生成时的提示与完整对话的开头不一致（提示结尾为 {tail}）。",
        zh_cure="模型被提问的形式将与训练时不同。如有更合适的模板，请指定 `template`。",
    ),
    "render.prompt-joined": Letter(
        en="the prompt that this template writes for generation (it ends with {tail}) is not how its finished "
        "conversations begin: each answer is learned behind the prompt, as the model will be asked.",
        en_cure="Nothing to do. Other programs that train with this template may teach another form.",
        zh="该模板生成时的提示（结尾为 {tail}）与完整对话的开头不一致：每个回答都按提问时的提示来学习。",
        zh_cure="无需处理。用该模板训练的其他程序学到的形式可能不同。",
    ),
    "render.template-refuses": Letter(
        en="the chat template does not take this conversation: {reason}",
        en_cure="Change the row, or set `on_bad_row: skip`.",
        zh="对话模板不接受这段对话：{reason}",
        zh_cure="请修改该行，或设置 `on_bad_row: skip`。",
    ),
    "render.template-fails": Letter(
        en="the chat template fails on this conversation: {reason}",
        en_cure="Change the row, set `on_bad_row: skip`, or name another `template`.",
        zh="对话模板在处理这段对话时出错：{reason}",
        zh_cure="请修改该行，设置 `on_bad_row: skip`，或指定其他 `template`。",
    ),
    "render.provenance-lost": Letter(
        en="the chat template changes a message's text in a way that cannot be followed ({operation}).",
        en_cure="What is to be learned would have to be guessed. Name another `template`.",
        zh="对话模板以无法追踪的方式改动了消息文本（{operation}）。",
        zh_cure="这样就只能猜测要学习的内容。请指定其他 `template`。",
    ),
    "render.content-lost": Letter(
        en="the chat template does not write turn {turn} ({role}) as it stands: expected {wanted}, found {found}.",
        en_cure="The model would learn from another text than yours. Change the row, or name another `template`.",
        zh="对话模板没有原样写出第 {turn} 轮（{role}）：应为 {wanted}，实际为 {found}。",
        zh_cure="模型学到的将不是您的文本。请修改该行，或指定其他 `template`。",
    ),
    "render.empty-answer": Letter(
        en="expected words in turn {turn}, which is to be learned, found an empty answer.",
        en_cure="The model would learn to say nothing. Remove the row, or set `on_bad_row: skip`.",
        zh="第 {turn} 轮是要学习的回答，但内容为空。",
        zh_cure="模型会学会什么都不说。请删除该行，或设置 `on_bad_row: skip`。",
    ),
    "render.control-in-text": Letter(
        en="the text of this row spells out a control token, and this tokenizer cannot keep the two apart.",
        en_cure="Remove the control token from the row, or set `on_bad_row: skip`.",
        zh="该行文本中出现了控制符，而该分词器无法将二者区分开。",
        zh_cure="请从该行中删除控制符，或设置 `on_bad_row: skip`。",
    ),
    "render.turns-mixed": Letter(
        en="the chat template writes other messages into the middle of turn {turn}.",
        en_cure="Name another `template`.",
        zh="对话模板在第 {turn} 轮中间插入了其他消息。",
        zh_cure="请指定其他 `template`。",
    ),
    "render.no-stop": Letter(
        en="no control token ends turn {turn}; after the answer the template writes {after}.",
        en_cure="The model would never learn to stop. Name a `template` that ends each answer.",
        zh="第 {turn} 轮没有以控制符结束；回答之后模板写的是 {after}。",
        zh_cure="模型将学不会停止。请指定会结束每个回答的 `template`。",
    ),
    "render.no-form-for-tools": Letter(
        en="this row has tools or calls them, and the chat template has no form for that.",
        en_cure="Leave the tools out, name a `template` with a form for tools, or set `on_bad_row: skip`.",
        zh="该行包含工具或工具调用，而对话模板没有相应的写法。",
        zh_cure="请去掉工具，指定支持工具的 `template`，或设置 `on_bad_row: skip`。",
    ),
    "render.thinks-though-off": Letter(
        en="turn {turn} has thoughts, and the prompt that this template writes asks for an answer without.",
        en_cure="Set `enable_thinking: true`, or remove the thoughts from the row.",
        zh="第 {turn} 轮包含思考内容，而该模板写出的提示要求不思考直接回答。",
        zh_cure="请设置 `enable_thinking: true`，或删除该行的思考内容。",
    ),
    "render.begins-otherwise": Letter(
        en="turn {turn} does not begin as the prompt of this template ends ({prompt}).",
        en_cure="The model would be asked in another form than it learned. Name a `template` that fits such rows.",
        zh="第 {turn} 轮的开头与该模板提示的结尾（{prompt}）不一致。",
        zh_cure="模型被提问的形式将与所学不同。请指定适合此类数据的 `template`。",
    ),
    "render.several-examples": Letter(
        en="one conversation became {count} examples where one was asked for.",
        en_cure="Please report this; it is a fault of the program.",
        zh="一段对话变成了 {count} 个样本，而此处只应有一个。",
        zh_cure="这是程序自身的错误，请报告。",
    ),
    # Found by `audit`.
    "render.stop-never-trained": Letter(
        en="none of the {rows} rows ends with a trained stop token ({stop}); {count} end without.",
        en_cure="The model would never stop answering. Raise `cutoff_len`, or choose `on_too_long: drop`.",
        zh="{rows} 行数据中没有一行以参与训练的停止符（{stop}）结尾；{count} 行缺少。",
        zh_cure="模型将学不会停止。请增大 `cutoff_len`，或选择 `on_too_long: drop`。",
    ),
    "render.stop-not-trained": Letter(
        en="{count} of {rows} rows end without the trained stop token ({stop}); this is the first.",
        en_cure="They were cut inside their answer. Raise `cutoff_len`, or use `on_too_long: drop`.",
        zh="{rows} 行数据中有 {count} 行结尾没有参与训练的停止符（{stop}）；此处为第一行。",
        zh_cure="这些行在回答中被截断。请增大 `cutoff_len`，或使用 `on_too_long: drop`。",
    ),
    "render.pad-is-stop": Letter(
        en="the tokenizer pads with {pad}, which also ends an answer.",
        en_cure="Nothing to do here, where nothing is padded; programs that mask padding by its id would not train it.",
        zh="该分词器用 {pad} 填充，而它同时也是停止符。",
        zh_cure="此处不使用填充，无需处理；按编号屏蔽填充的其他程序会因此学不到停止。",
    ),
    "render.stop-not-in-config": Letter(
        en="the template ends an answer with {stop}, but the model's own configuration stops at {ends}.",
        en_cure="Nothing to do here, where both stop; another program needs {stop} among its stop tokens.",
        zh="模板以 {stop} 结束回答，而模型自身的配置在 {ends} 处停止。",
        zh_cure="此处两者都会停止，无需处理；其他程序需要把 {stop} 加入停止符。",
    ),
}
