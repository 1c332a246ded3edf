"""`python -m llama_factory`: the same as `llamafactory-cli`."""

from __future__ import annotations

import sys

from llama_factory.apps.cli import main

if __name__ == "__main__":
    sys.exit(main())
