"""The letters of `data` about where rows lie: kinds of files, folders, hubs, buckets, keys of the registry."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

_SKIP = "Correct the row, or set `on_bad_row: skip` to leave such rows out."
_SKIP_ZH = "请修正该行，或设置 `on_bad_row: skip` 跳过此类行。"

_KINDS: dict[str, Letter] = {
    "data.library-needed": Letter(
        en="the library `{library}` is needed to read this data, and it is not installed.",
        en_cure='pip install "{install}"',
        zh="读取该数据需要 `{library}`，但尚未安装。",
        zh_cure='pip install "{install}"',
    ),
    "data.file-type": Letter(
        en="files of the type `{suffix}` cannot be read.",
        en_cure="Known: {known}; each also packed, as .gz or .zst.",
        zh="无法读取 `{suffix}` 类型的文件。",
        zh_cure="支持的类型：{known}；均可再用 .gz 或 .zst 压缩。",
    ),
    "data.damaged-packing": Letter(
        en="the packed file cannot be unpacked: {reason}.",
        en_cure="It was cut off or changed on its way. Copy or download it again.",
        zh="压缩文件无法解压：{reason}。",
        zh_cure="文件在传输中被截断或损坏，请重新复制或下载。",
    ),
    "data.damaged-table": Letter(
        en="the table cannot be read: {reason}.",
        en_cure="It was cut off, or is of another kind than its name says. Copy or write it again.",
        zh="无法读取该数据表：{reason}。",
        zh_cure="文件被截断，或实际类型与文件名不符。请重新复制或生成。",
    ),
    "data.table-not-utf8": Letter(
        en="a text of the row is not UTF-8.",
        en_cure=_SKIP,
        zh="该行的文本不是 UTF-8。",
        zh_cure=_SKIP_ZH,
    ),
    "data.json-in-txt": Letter(
        en="this .txt holds JSON: its brackets and quotes would be learned as text.",
        en_cure="Give it the ending that it has earned: .jsonl or .json.",
        zh="该 .txt 文件的内容是 JSON：括号和引号会被当作正文学习。",
        zh_cure="请将扩展名改为 .jsonl 或 .json。",
    ),
    "data.csv-cells": Letter(
        en="expected {expected} cells, as in the header, found {found}.",
        en_cure="A cell that holds the separator or a line break stands in double quotes. " + _SKIP,
        zh="应与表头一致，有 {expected} 个单元格，实际为 {found} 个。",
        zh_cure="含分隔符或换行的单元格须用双引号括起。" + _SKIP_ZH,
    ),
    "data.broken-csv": Letter(
        en="the record that starts here breaks: {reason}.",
        en_cure="A quote inside a quoted cell is written twice. Nothing after this place can be trusted, so "
        "`on_bad_row: skip` does not help. Correct the file.",
        zh="从此处开始的记录有误：{reason}。",
        zh_cure="引号内的引号须写两次。此处之后的内容都不可信，`on_bad_row: skip` 也无济于事。请修正文件。",
    ),
    "data.csv-separator": Letter(
        en="the header is one cell with `{found}` in it; this kind of file is separated by `{expected}`.",
        en_cure="Save it with that separator; for tabs, with the ending .tsv.",
        zh="表头只有一个单元格，其中含有 `{found}`；此类文件应以 `{expected}` 分隔。",
        zh_cure="请用该分隔符重新保存；若以制表符分隔，扩展名应为 .tsv。",
    ),
    "data.csv-no-name": Letter(
        en="column {number} has no name in the header.",
        en_cure="Name every column in the first line.",
        zh="表头中第 {number} 列没有名称。",
        zh_cure="请在第一行写出每一列的名称。",
    ),
}

_FOLDERS: dict[str, Letter] = {
    "data.no-data-files": Letter(
        en="there are no data files. Found: {found}.",
        en_cure="Data files end in: {known}; each also packed, as .gz or .zst.",
        zh="没有数据文件。现有：{found}。",
        zh_cure="数据文件的扩展名：{known}；均可再用 .gz 或 .zst 压缩。",
    ),
    "data.mixed-kinds": Letter(
        en="the folder holds files of more than one kind: {kinds}.",
        en_cure="One data set is files of one kind: they may be copies of each other. Move the others away.",
        zh="文件夹中有多种类型的文件：{kinds}。",
        zh_cure="一个数据集应只含一种类型的文件（不同类型可能互为副本）。请移走其余文件。",
    ),
    "data.too-nested": Letter(
        en="`{name}` lies deeper than one folder below.",
        en_cure="Name the inner folder itself, or several of them one by one in `dataset:`.",
        zh="`{name}` 位于超过一层的子文件夹中。",
        zh_cure="请直接指定内层文件夹，或在 `dataset:` 中逐一列出。",
    ),
    "data.shard-missing": Letter(
        en="{missing} of {count} files of one series are missing; the first is `{name}`.",
        en_cure="Copy or download the data set again, whole.",
        zh="同一系列的 {count} 个文件缺少 {missing} 个，首个为 `{name}`。",
        zh_cure="请重新完整地复制或下载该数据集。",
    ),
    "data.no-split": Letter(
        en="there is no split `{split}`{hint}. Splits: {known}.",
        en_cure="Give one of them as `split` in dataset_info.json.",
        zh="没有名为 `{split}`{hint} 的划分。现有：{known}。",
        zh_cure="请在 dataset_info.json 的 `split` 中填写其一。",
    ),
    "data.no-folder": Letter(
        en="no data file lies below `{folder}`{hint}. Folders: {known}.",
        en_cure="Correct `folder` in dataset_info.json.",
        zh="`{folder}`{hint} 下没有数据文件。现有文件夹：{known}。",
        zh_cure="请在 dataset_info.json 中修正 `folder`。",
    ),
    "data.files-chosen": Letter(
        en="{count} files are read, as the split `{split}`; left out: {left}.",
        en_cure="`split` and `folder` in dataset_info.json choose others.",
        zh="读取 {count} 个文件（划分 `{split}`）；未读取：{left}。",
        zh_cure="可用 dataset_info.json 中的 `split` 与 `folder` 选择其他文件。",
    ),
    "data.fewer-samples": Letter(
        en="`num_samples: {wanted}` asks for more rows than there are: {found} are read, each once.",
        en_cure="Rows are not repeated to fill a number; to learn them more often, raise num_train_epochs.",
        zh="`num_samples: {wanted}` 超过现有行数：共读取 {found} 行，每行一次。",
        zh_cure="不会为凑足数量而重复数据行；如需多次学习，请增大 num_train_epochs。",
    ),
}

_HUBS: dict[str, Letter] = {
    "data.hub-unreachable": Letter(
        en="{hub} cannot be reached, and no copy is on this disk: {reason}.",
        en_cure="Set HF_ENDPOINT to a mirror, or USE_MODELSCOPE_HUB=1 to ask ModelScope; or download the files "
        "elsewhere and give their path as `dataset:`.",
        zh="无法连接 {hub}，本机也没有副本：{reason}。",
        zh_cure="可将 HF_ENDPOINT 设为镜像地址，或设置 USE_MODELSCOPE_HUB=1 使用 ModelScope；也可在别处下载后将文件"
        "路径填入 `dataset:`。",
    ),
    "data.hub-no-such": Letter(
        en="{hub} has no data set of this name, or it is private.",
        en_cure="Check `owner/name`. A private one needs `hf_hub_token` or HF_TOKEN. For a file here, check its path.",
        zh="{hub} 上没有该名称的数据集，或其为私有。",
        zh_cure="请检查 `所有者/名称`。私有数据集需要 `hf_hub_token` 或 HF_TOKEN。若为本地文件，请检查路径。",
    ),
    "data.hub-gated": Letter(
        en="its owner gives this data set only to those who asked for it.",
        en_cure="Accept its terms on its page, then set `hf_hub_token` or HF_TOKEN.",
        zh="该数据集需先向所有者申请访问权限。",
        zh_cure="请在其页面上同意条款，然后设置 `hf_hub_token` 或 HF_TOKEN。",
    ),
    "data.hub-script": Letter(
        en="its rows are made by a program, `{script}`, and code from data is never run.",
        en_cure="Look for a copy of the data set as parquet or JSON, or make the files elsewhere and give their path.",
        zh="其数据由程序 `{script}` 生成，而本程序从不运行数据中的代码。",
        zh_cure="请寻找该数据集的 parquet 或 JSON 版本，或在别处生成文件后填写路径。",
    ),
    "data.hub-incomplete": Letter(
        en="files of the data set are not on this disk: {missing}.",
        en_cure="Give the same command again with a network, or download the data set again.",
        zh="本机缺少该数据集的文件：{missing}。",
        zh_cure="请联网后重新执行同一命令，或重新下载该数据集。",
    ),
    "data.subset-needed": Letter(
        en="the data set has several subsets, and none is the default: {known}.",
        en_cure="Give one of them as `subset` in dataset_info.json.",
        zh="该数据集有多个子集且没有默认值：{known}。",
        zh_cure="请在 dataset_info.json 的 `subset` 中填写其一。",
    ),
    "data.no-subset": Letter(
        en="there is no subset `{subset}`{hint}. Subsets: {known}.",
        en_cure="Correct `subset` in dataset_info.json.",
        zh="没有名为 `{subset}`{hint} 的子集。现有：{known}。",
        zh_cure="请在 dataset_info.json 中修正 `subset`。",
    ),
    "data.card-broken": Letter(
        en="the head of the data set's card cannot be read: {reason}.",
        en_cure="It says which files belong to which split. Tell its owner, or download the files and give their path.",
        zh="无法读取该数据集说明页的头部：{reason}。",
        zh_cure="其中写明各划分对应的文件。请告知所有者，或下载文件后填写路径。",
    ),
    "data.no-remote-registry": Letter(
        en="the repository has no dataset_info.json. Found: {found}.",
        en_cure="`dataset_dir: REMOTE:owner/name` names a data set of a hub with such a file at its top.",
        zh="该仓库中没有 dataset_info.json。现有：{found}。",
        zh_cure="`dataset_dir: REMOTE:所有者/名称` 应指向顶层含有该文件的 Hub 数据集。",
    ),
    "data.cloud-scheme": Letter(
        en="addresses that start with `{found}://` cannot be read.",
        en_cure="Known: {known}.",
        zh="无法读取以 `{found}://` 开头的地址。",
        zh_cure="支持：{known}。",
    ),
    "data.cloud-nothing": Letter(
        en="nothing stands at this address.",
        en_cure="Check the bucket's name, the path, and that your account may list it.",
        zh="该地址下没有内容。",
        zh_cure="请检查存储桶名称、路径，以及账户是否有列出权限。",
    ),
    "data.cloud-failed": Letter(
        en="the files cannot be fetched: {reason}.",
        en_cure="Check the network and the account of the bucket, or download the files and give their path.",
        zh="无法获取文件：{reason}。",
        zh_cure="请检查网络与存储桶账户，或下载文件后填写路径。",
    ),
    "data.not-fetched": Letter(
        en="the files of the data set were not fetched before they were read.",
        en_cure="This is a fault of the program. Please report it.",
        zh="读取数据集之前没有获取其文件。",
        zh_cure="这是程序自身的错误，请反馈。",
    ),
}

_KEYS: dict[str, Letter] = {
    "data.key-only-hub": Letter(
        en="`{key}` chooses a part of a data set of several files, and there is none such here.",
        en_cure="Remove it from dataset_info.json, or name the folder or file that holds that part.",
        zh="`{key}` 用于从多个文件的数据集中选择一部分，而此处没有可选的部分。",
        zh_cure="请从 dataset_info.json 中删除，或直接指定包含该部分的文件夹或文件。",
    ),
    "data.num-samples": Letter(
        en="expected `num_samples` to be a whole number from 1 on, found {found}.",
        en_cure="Correct it in dataset_info.json, or remove it to read all rows.",
        zh="`num_samples` 应为不小于 1 的整数，实际为 {found}。",
        zh_cure="请在 dataset_info.json 中修正，或删除以读取全部数据。",
    ),
    "data.two-judgements": Letter(
        en="`ranking: true` says that each row has two answers, `kto_tag` that it has one that was judged.",
        en_cure="Keep what the rows have.",
        zh="`ranking: true` 表示每行有两个回答，而 `kto_tag` 表示每行只有一个被评判的回答。",
        zh_cure="请只保留与数据相符的一项。",
    ),
    "data.script": Letter(
        en="`script_url` is a program that makes the rows, and code from data is never run.",
        en_cure="Run it yourself, write the rows to a file, and give that as `file_name`.",
        zh="`script_url` 是生成数据的程序，而本程序从不运行数据中的代码。",
        zh_cure="请自行运行，将数据写入文件，并填写 `file_name`。",
    ),
    "data.openmind": Letter(
        en="openMind (`om_hub_url`) cannot be asked: it has no client for this kind of system.",
        en_cure="Add `hf_hub_url` or `ms_hub_url` beside it, or download the files and give `file_name`.",
        zh="无法访问 openMind（`om_hub_url`）：没有适用于本系统的客户端。",
        zh_cure="请同时填写 `hf_hub_url` 或 `ms_hub_url`，或下载文件后填写 `file_name`。",
    ),
}

LETTERS: dict[str, Letter] = {**_KINDS, **_FOLDERS, **_HUBS, **_KEYS}
