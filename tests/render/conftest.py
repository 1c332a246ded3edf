"""Fixtures of small tokenizer folders."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from render_helpers import CHATML, write_tokenizer

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture(scope="session")
def chatml_folder(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("chatml"), control=CONTROL, template=CHATML, eos="<|im_end|>")


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("base"), control=CONTROL, eos="<|endoftext|>")
