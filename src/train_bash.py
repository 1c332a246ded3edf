"""The old way to start a training: what follows `python src/train_bash.py` is what follows `llamafactory-cli train`."""

import sys

from llama_factory.apps.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
