"""Where verbs print for people: the terminal, or a pipe that has no width of its own."""

import re
import sys

from rich.console import Console

PIPE_WIDTH = 200
"""Columns in a pipe or file, where rich would assume 80 and cut what somebody greps for."""

_FULL_ID = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def console() -> Console:
    """A console of the terminal's width, or wide."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


def short_ids(text: str) -> str:
    """The text with container ids as the engine's own command line shows them: their first 12 digits."""
    return _FULL_ID.sub(r"\1", text)
