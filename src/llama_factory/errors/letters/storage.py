"""The letters of `storage`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "storage.exists": Letter(
        en="something is already there, and nothing was written over it.",
        en_cure="Choose another place, or remove what is there if you no longer need it.",
        zh="该位置已有内容，未做任何覆盖。",
        zh_cure="请另选位置；若不再需要原有内容，请先将其删除。",
    ),
    "storage.full": Letter(
        en="the disk is full or the quota is used up ({free} free). What was there before is untouched.",
        en_cure="Free some space or choose a folder on another disk, then give the same command again.",
        zh="磁盘已满或配额已用尽（剩余 {free}）。原有内容保持不变。",
        zh_cure="请释放空间，或改用其他磁盘上的文件夹，然后重新执行同一命令。",
    ),
    "storage.refused": Letter(
        en="access was refused: {reason}.",
        en_cure="Give yourself the permission there, or choose another folder.",
        zh="访问被拒绝：{reason}。",
        zh_cure="请为自己授予该处的权限，或另选文件夹。",
    ),
    "storage.too-large": Letter(
        en="a file grew past the largest size allowed here ({reason}). What was there before is untouched.",
        en_cure="Raise the limit (`ulimit -f`), write smaller shards (`export_size`), or choose another file system.",
        zh="文件超出此处允许的最大尺寸（{reason}）。原有内容保持不变。",
        zh_cure="请提高限制（`ulimit -f`）、减小分片（`export_size`），或改用其他文件系统。",
    ),
    "storage.too-many-open": Letter(
        en="no more files can be opened ({reason}).",
        en_cure="Raise the limit, for example with `ulimit -n 4096`, then give the same command again.",
        zh="无法再打开更多文件（{reason}）。",
        zh_cure="请提高限制，例如执行 `ulimit -n 4096`，然后重新执行同一命令。",
    ),
    "storage.failed": Letter(
        en="the file system refused: {reason}.",
        en_cure="Check the disk and the path. If the disk reports errors, choose another one before training on.",
        zh="文件系统拒绝了操作：{reason}。",
        zh_cure="请检查磁盘和路径；若磁盘报错，请先更换磁盘再继续训练。",
    ),
    "storage.no-manifest": Letter(
        en="expected a `{manifest}` that lists every file with its hash, found none: the folder was never finished.",
        en_cure="Use another folder of the same run, or write this one again.",
        zh="应有记录每个文件及其哈希的 `{manifest}`，但未找到：该文件夹未写完。",
        zh_cure="请使用同一次运行的其他文件夹，或重新生成该文件夹。",
    ),
    "storage.bad-manifest": Letter(
        en="the manifest is not as it was written: {reason}.",
        en_cure="Do not use this folder; take another one of the same run, or write it again.",
        zh="清单文件与写入时不一致：{reason}。",
        zh_cure="请勿使用该文件夹；请改用同一次运行的其他文件夹，或重新生成。",
    ),
    "storage.other-schema": Letter(
        en="expected a manifest of schema {expected}, found schema {found}.",
        en_cure="Open it with the version of this program that wrote it, or upgrade this one.",
        zh="应为第 {expected} 版清单，实际为第 {found} 版。",
        zh_cure="请使用写入它的程序版本打开，或升级本程序。",
    ),
    "storage.missing-file": Letter(
        en="the manifest lists this file, but it is not there.",
        en_cure="Bring the file back, or use another folder of the same run.",
        zh="清单中列有该文件，但文件不存在。",
        zh_cure="请恢复该文件，或使用同一次运行的其他文件夹。",
    ),
    "storage.not-plain": Letter(
        en="expected a plain file, found {found}.",
        en_cure="Put the file itself there, or use another folder of the same run.",
        zh="应为普通文件，实际为{found}。",
        zh_cure="请放入文件本身，或使用同一次运行的其他文件夹。",
    ),
    "storage.wrong-size": Letter(
        en="expected {expected} bytes, found {found}: the file was cut or overwritten.",
        en_cure="Do not use this folder; take another one of the same run, or copy the file again.",
        zh="应为 {expected} 字节，实际为 {found} 字节：文件被截断或覆盖。",
        zh_cure="请勿使用该文件夹；请改用同一次运行的其他文件夹，或重新复制该文件。",
    ),
    "storage.wrong-hash": Letter(
        en="expected sha256 {expected}, found {found}: the content is not what was written.",
        en_cure="Do not use this folder; take another one of the same run, or copy the file again.",
        zh="sha256 应为 {expected}，实际为 {found}：内容与写入时不同。",
        zh_cure="请勿使用该文件夹；请改用同一次运行的其他文件夹，或重新复制该文件。",
    ),
    "storage.locked": Letter(
        en="process {pid} on {host} is using this folder since {since}.",
        en_cure="Wait until it ends, stop it, or choose another folder.",
        zh="主机 {host} 上的进程 {pid} 自 {since} 起正在使用该文件夹。",
        zh_cure="请等待其结束、停止它，或另选文件夹。",
    ),
    "storage.nothing-written": Letter(
        en="a writer was asked for files and wrote none.",
        en_cure="This is a fault of this program; please report it.",
        zh="写入程序未写出任何文件。",
        zh_cure="这是本程序的缺陷，请反馈。",
    ),
    "storage.reserved-name": Letter(
        en="a writer used the name `{manifest}`, which is kept for the manifest.",
        en_cure="This is a fault of this program; please report it.",
        zh="写入程序占用了清单专用名称 `{manifest}`。",
        zh_cure="这是本程序的缺陷，请反馈。",
    ),
}
