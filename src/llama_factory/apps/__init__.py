"""The faces of the program: the command line and the chat in a terminal.

What a face can do, a script can do through the rooms below; no logic lives here that others would miss.
"""

from __future__ import annotations
