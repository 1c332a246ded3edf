"""The letters about what is learned and which rows make a step: keys that contradict each other, mixtures, packs."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

_TOGETHER: dict[str, Letter] = {
    "config.two-ways-to-learn": Letter(
        en="`train_on_prompt: true` learns everything, and `mask_history: true` only the last answer.",
        en_cure="Keep the one you mean.",
        zh="`train_on_prompt: true` 学习全部内容，而 `mask_history: true` 只学习最后一个回答。",
        zh_cure="请只保留其中一个。",
    ),
    "config.two-packings": Letter(
        en="`neat_packing: true` asks for packs, and `packing: false` for none.",
        en_cure="Remove one of the two lines. Rows of a pack are kept apart with either spelling.",
        zh="`neat_packing: true` 要求打包，而 `packing: false` 表示不打包。",
        zh_cure="请删除其中一行。两种写法下同一包中的行都互相隔离。",
    ),
    "config.probs-without-interleaving": Letter(
        en="`interleave_probs` gives shares, and `mix_strategy: concat` takes every row of every data set once.",
        en_cure="Write `mix_strategy: interleave_under` or `interleave_over`, or remove `interleave_probs`.",
        zh="`interleave_probs` 给出了比例，而 `mix_strategy: concat` 会把每个数据集的每一行各取一次。",
        zh_cure="请写 `mix_strategy: interleave_under` 或 `interleave_over`，或删除 `interleave_probs`。",
    ),
    "config.probs-count": Letter(
        en="expected one share for each of the {expected} data sets, found {found} in `interleave_probs`.",
        en_cure="Write as many numbers as `dataset` has names, in the same order.",
        zh="共 {expected} 个数据集，应各有一个比例，而 `interleave_probs` 中有 {found} 个。",
        zh_cure="请按 `dataset` 的顺序写出同样多的数字。",
    ),
    "config.probs-sum": Letter(
        en="the shares in `interleave_probs` add up to {found}, not to 1.",
        en_cure="Divide each by their sum.",
        zh="`interleave_probs` 中的比例之和为 {found}，而不是 1。",
        zh_cure="请将每个比例除以总和。",
    ),
    "config.stream-needs-steps": Letter(
        en="`streaming: true` reads rows only when their turn comes, so nobody knows how many steps an epoch has.",
        en_cure="Write how many steps to make, for example `max_steps: 1000`.",
        zh="`streaming: true` 只在用到时读取数据，因此无法得知一轮有多少步。",
        zh_cure="请写出要训练的步数，例如 `max_steps: 1000`。",
    ),
    "config.stream-cannot": Letter(
        en="`streaming: true` reads rows only when their turn comes, and `{other}` needs to know all of them.",
        en_cure="Remove one of the two. With streaming: `val_size` as a count, `eval_strategy: steps`, "
        "`save_strategy: steps`.",
        zh="`streaming: true` 只在用到时读取数据，而 `{other}` 需要事先知道全部数据。",
        zh_cure="请删除其中之一。流式读取时可用：`val_size` 写行数、`eval_strategy: steps`、`save_strategy: steps`。",
    ),
    "config.best-by-nothing": Letter(
        en="`metric_for_best_model: {found}` is measured by nobody; there are: {known}.",
        en_cure="Name one of these; `eval_on_each_dataset: true` measures each data set alone.",
        zh="没有任何测量会给出 `metric_for_best_model: {found}`；可用的有：{known}。",
        zh_cure="请使用其中之一；`eval_on_each_dataset: true` 会单独测量每个数据集。",
    ),
}

_MIXTURES: dict[str, Letter] = {
    "data.mixture-endless": Letter(
        en="with these shares one epoch would take about {rows} rows, {times} times as many as there are.",
        en_cure="Raise the smallest share in `interleave_probs`, or use `mix_strategy: interleave_under`.",
        zh="按此比例，一轮约需 {rows} 行，是现有行数的 {times} 倍。",
        zh_cure="请提高 `interleave_probs` 中最小的比例，或改用 `mix_strategy: interleave_under`。",
    ),
    "data.stream-empty": Letter(
        en="none of the first {buffer_size} records can be learned from.",
        en_cure="Raise `cutoff_len` or `buffer_size`, or look at the rows with `llamafactory-cli show`.",
        zh="前 {buffer_size} 条记录都无法用于学习。",
        zh_cure="请增大 `cutoff_len` 或 `buffer_size`，或用 `llamafactory-cli show` 查看数据。",
    ),
    "data.mixture-empty": Letter(
        en="all rows of `{name}` were drawn for validation: nothing is left of it to take turns with.",
        en_cure="Lower `val_size`, or take the data set out of `dataset`.",
        zh="`{name}` 的所有行都被抽作验证，没有剩余的行可供混合。",
        zh_cure="请减小 `val_size`，或将该数据集从 `dataset` 中移除。",
    ),
}

_TOKENIZED: dict[str, Letter] = {
    "data.tokenized-differs": Letter(
        en="the tokenised rows in this folder are not those that this run would make: {differences}.",
        en_cure="Remove the folder and it is written anew, or name another one in `tokenized_path`.",
        zh="该文件夹中的分词结果与本次运行所需的不同：{differences}。",
        zh_cure="请删除该文件夹以重新生成，或在 `tokenized_path` 中写另一个文件夹。",
    ),
    "data.tokenized-foreign": Letter(
        en="there is something in this folder, but not tokenised rows of this program.",
        en_cure="Name an empty or a new folder in `tokenized_path`; other programs' folders cannot be read.",
        zh="该文件夹中已有内容，但不是本程序的分词结果。",
        zh_cure="请在 `tokenized_path` 中写一个空文件夹或新文件夹；其他程序的文件夹无法读取。",
    ),
}

_TEXTS: dict[str, Letter] = {
    "render.no-end-of-document": Letter(
        en="the tokenizer names no `eos_token`: the model would never learn where a text ends.",
        en_cure="Add `eos_token` to its tokenizer_config.json, or use another tokenizer with `tokenizer_name`.",
        zh="分词器没有指定 `eos_token`：模型将无法学到文本在哪里结束。",
        zh_cure="请在其 tokenizer_config.json 中添加 `eos_token`，或用 `tokenizer_name` 换一个分词器。",
    ),
}

LETTERS: dict[str, Letter] = {**_TOGETHER, **_MIXTURES, **_TOKENIZED, **_TEXTS}
