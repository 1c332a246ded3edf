"""The old way to start a training: `python src/train_bash.py --stage sft ...` is `llamafactory-cli train --stage sft ...`."""

import sys

from llama_factory.apps.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
