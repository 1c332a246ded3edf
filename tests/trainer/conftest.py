"""Puts `trainer_toys` within reach of the tests of this folder, and of the processes that they start."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
