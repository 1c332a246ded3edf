"""The letters about kernels: why layers are computed by torch's own ways on a processor that could do better
(`model.native`), and why a kernel that was asked for by name cannot be taken.
"""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

_SLOWER = "Nothing to do: the results are the same but for rounding, training is slower by about a fifth. "
_ZH_SLOWER = "无需处理：除舍入外结果相同，训练约慢五分之一。"

LETTERS: dict[str, Letter] = {
    "model.native-compiler": Letter(
        en="layers are computed without kernels of our own: none of {found} is installed to compile them.",
        en_cure=_SLOWER + "To have them, install a C++ compiler (Debian, Ubuntu: `apt install g++`).",
        zh="未使用自带的计算内核：没有安装 {found} 中的任何一个编译器。",
        zh_cure=_ZH_SLOWER + "如需启用，请安装 C++ 编译器（Debian、Ubuntu：`apt install g++`）。",
    ),
    "model.native-failed": Letter(
        en="layers are computed without kernels of our own: compiling them failed: {found}",
        en_cure=_SLOWER
        + "A newer compiler may know this processor (g++ 10 or later does); `CXX=/path/to/g++` names one.",
        zh="未使用自带的计算内核：编译失败：{found}",
        zh_cure=_ZH_SLOWER + "较新的编译器可能支持此处理器（g++ 10 及以上），可用 `CXX=/path/to/g++` 指定。",
    ),
    "model.native-folder": Letter(
        en="layers are computed without kernels of our own: they cannot be kept: {found}",
        en_cure=_SLOWER + "To have them, name a folder that can be written to: `LLAMA_FACTORY_CACHE=/folder`.",
        zh="未使用自带的计算内核：无法保存编译结果：{found}",
        zh_cure=_ZH_SLOWER + "如需启用，请指定可写的文件夹：`LLAMA_FACTORY_CACHE=/folder`。",
    ),
    "model.native-threads": Letter(
        en="layers are computed without kernels of our own: they need the one OpenMP that torch has, found: {found}.",
        en_cure=_SLOWER + "Where two are found, another library brought its own: a fresh environment has one.",
        zh="未使用自带的计算内核：需要与 torch 共用唯一的 OpenMP 库，实际找到：{found}。",
        zh_cure=_ZH_SLOWER + "若找到两个，则是其他库自带的；新建虚拟环境即可。",
    ),
    "model.native-different": Letter(
        en="layers are computed without kernels of our own: {found} came out different from its formula here.",
        en_cure=_SLOWER + "Please report this with the output of `llamafactory-cli env` and of `c++ --version`.",
        zh="未使用自带的计算内核：{found} 在本机与其公式结果不符。",
        zh_cure=_ZH_SLOWER + "请附上 `llamafactory-cli env` 与 `c++ --version` 的输出进行报告。",
    ),
    "model.no-flash": Letter(
        en="`flash_attn: fa2` needs a CUDA GPU of the Ampere generation (8.0) or later, bf16 or fp16, and attention "
        "heads of at most 256 numbers, a multiple of 8. Here: {found}.",
        en_cure="Leave the key out: `auto` takes the fastest kernel that this machine has.",
        zh="`flash_attn: fa2` 需要 Ampere（8.0）或更新的 CUDA GPU、bf16 或 fp16，且注意力头宽度不超过 256 "
        "并为 8 的倍数。当前：{found}。",
        zh_cure="请去掉此键：`auto` 会使用本机可用的最快算子。",
    ),
}
