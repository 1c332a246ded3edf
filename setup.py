"""The one step of the build that pyproject.toml cannot say: the wheel carries `data/` and `examples/`.

They stand at the root because people edit them there. A wheel gets copies inside the package, as
`llama_factory/shipped/data` and `llama_factory/shipped/examples`; an editable install gets none and
reads the real ones. Only the data sets listed here travel: whatever a user puts into `data/` stays home.
Everything else about the package is in pyproject.toml.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
DATA = (
    "README.md",
    "dataset_info.json",
    "identity.json",
    "history_en.json",
    "history_zh.json",
    "messages_en.jsonl",
    "messages_zh.json",
    "prompt_response_en.jsonl",
    "prompt_response_zh.jsonl",
    "thinking_zh.json",
    "text_en.jsonl",
    "text_zh.jsonl",
    "alpaca_en_demo.json",
    "alpaca_zh_demo.json",
    "sharegpt_en.json",
    "sharegpt_zh.json",
    "weighted_en.jsonl",
    "thinking_en.json",
    "questions_en.csv.gz",
    "tools_en.jsonl",
    "tools_zh.jsonl",
    "sharegpt_tools_en.json",
    "notes_en.txt",
    "preference_en.json",
    "preference_zh.json",
    "ranking_en.jsonl",
    "kto_en.jsonl",
    "kto_zh.json",
    "classify_en.csv",
    "classify_zh.csv",
)


class BuildWithShippedFiles(build_py):
    """`build_py`, and then the copies, unless the install is editable."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "llama_factory" / "shipped"
        files = [ROOT / "data" / name for name in DATA]
        files += sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in {".yaml", ".md"})
        for folder in ("data", "examples"):
            shutil.rmtree(target / folder, ignore_errors=True)
        for file in files:
            copy = target / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


setup(cmdclass={"build_py": BuildWithShippedFiles})
