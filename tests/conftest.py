"""What the tests of several rooms stand on: tiny models made on the spot, the real one, the shared data, the wheel.

`tiny_model` is always there. `real_model` is fetched by `scripts/fetch_model.py`; where it is missing its tests
are skipped with that reason, and under LLAMA_FACTORY_REQUIRE_MODEL=1 (`make test`, CI) they fail. The same goes for
`real_tokenizer` and `real_jinja`, fetched by `scripts/fetch_templates.py`.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
TINY_TOKENIZER_TEXTS = (
    "history_en.json", "history_zh.json", "identity.json", "messages_en.jsonl", "messages_zh.json",
    "prompt_response_en.jsonl", "prompt_response_zh.jsonl", "text_en.jsonl", "text_zh.jsonl", "thinking_zh.json",
)  # fmt: skip
"""Named, so that a new data set does not change what every tiny model has for tokens."""
CHATML = (
    "{%- if messages[0]['role'] != 'system' -%}"
    "{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need the real model share one process: two of them at once slow each other down."""
    for item in items:
        if item.get_closest_marker("real") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("real"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer Llama with random weights, a byte-level BPE and a ChatML template. Read only."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def tiny_hunyuan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same size as a Hunyuan, with the control tokens of its family and no template of its own. Read only."""
    control = ("<｜hy_place▁holder▁no▁3｜>", "<｜hy_begin▁of▁sentence｜>", "<｜hy_User｜>", "<｜hy_Assistant｜>")
    return make_tiny_model(
        tmp_path_factory.mktemp("tiny-hunyuan"),
        kind="hunyuan_v1_dense",
        control=(*control, "<｜hy_place▁holder▁no▁2｜>"),
        template=None,
    )


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The folder of SmolLM2-135M-Instruct. Read only."""
    folder = ROOT / "models" / "SmolLM2-135M-Instruct"
    if not (folder / "config.json").is_file():
        reason = f"the real model is missing: run `python scripts/fetch_model.py` ({folder.relative_to(ROOT)})"
        if os.environ.get("LLAMA_FACTORY_REQUIRE_MODEL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def real_tokenizer() -> Callable[[str], Path]:
    """Name -> the folder of that published tokenizer: qwen3, llama2, llama3, llama3_1, deepseek_v3, gemma3, gptoss.

    Each holds tokenizer.json and tokenizer_config.json, the latter with the model's own chat template (llama2 and
    gptoss have none). Read only.
    """
    return lambda name: _fetched(fetch_templates().tokenizer_folder(name))


@pytest.fixture(scope="session")
def real_jinja() -> Mapping[str, Path]:
    """Name -> file of seventy published chat templates. Read only."""
    found = {file.stem: file for file in sorted(_fetched(fetch_templates().jinja_folder()).glob("*.jinja"))}
    assert len(found) == fetch_templates().JINJA_COUNT
    return found


def fetch_templates() -> ModuleType:
    """`scripts/fetch_templates.py`, which knows where its files lie."""
    if str(ROOT / "scripts") not in sys.path:
        sys.path.append(str(ROOT / "scripts"))
    return importlib.import_module("fetch_templates")


def _fetched(folder: Path) -> Path:
    if not folder.is_dir():
        reason = f"{folder.name} is missing in the cache: run `python scripts/fetch_templates.py`"
        if os.environ.get("LLAMA_FACTORY_REQUIRE_MODEL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data sets that stand beside the checkout and are not redistributed with it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside this checkout")
    return folder


@pytest.fixture(scope="session")
def tracked() -> Callable[..., list[str]]:
    """Files that git knows (or would, if added) under some folders; never what lies there ignored."""

    def listed(*folders: str) -> list[str]:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders]
        names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
        return [name for name in names if name and (ROOT / name).is_file()]

    return listed


@pytest.fixture(scope="session")
def clone(tracked: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout without anything that git ignores, plus one file that a user put into data/."""
    folder = tmp_path_factory.mktemp("clone")
    for name in tracked("."):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "data" / "my_private_rows.json").write_text("[]")
    return folder


@pytest.fixture(scope="session")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(target), "."]
    subprocess.run(command, cwd=clone, check=True, capture_output=True)
    (found,) = target.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def new_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes environments that have every library of ours (as links, read only) but not this package."""
    ours = Path(sysconfig.get_path("purelib"))
    lent = tmp_path_factory.mktemp("lent")
    for entry in ours.iterdir():
        if not entry.name.startswith(("llama_factory", "__editable__", "_virtualenv", "distutils-precedence")):
            (lent / entry.name).symlink_to(entry)

    def make() -> Path:
        folder = tmp_path_factory.mktemp("fresh")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        python = str(folder / "bin" / "python")
        ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        home = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
        (Path(home) / "lent.pth").write_text(f"{lent}\n")
        return folder

    return make


@pytest.fixture(scope="session")
def installed(wheel: Path, new_environment: Callable[[], Path]) -> Path:
    """The `bin` of a fresh environment with the wheel in it."""
    folder = new_environment()
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q", "--no-index"]
    subprocess.run([*pip, "--find-links", str(wheel.parent), "llama-factory"], check=True, capture_output=True)
    return folder / "bin"


def make_tiny_model(
    folder: Path,
    *,
    kind: str = "llama",
    control: tuple[str, ...] = ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    template: str | None = CHATML,
) -> Path:
    """`control`: the control tokens, the padding first and the end of a turn last."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=list(control),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(ROOT / "data" / name) for name in TINY_TOKENIZER_TEXTS], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=control[-1], pad_token=control[0], model_max_length=4096
    )
    fast.chat_template = template
    fast.save_pretrained(folder)

    config = AutoConfig.for_model(
        kind,
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder
