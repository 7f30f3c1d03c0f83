"""Printing for people, and for pipes."""

from __future__ import annotations

import os
import re
import textwrap

from rich.console import Console
from rich.text import Text

# Wide enough for any line: what reads a pipe breaks lines itself, if at all.
_PIPE_WIDTH = 1000
_NARROWEST = 20

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=[%A-Za-z])")
_NO_BREAK = "\u00a0"


def console() -> Console:
    """Make a console for stdout that takes all text as it is."""
    found = Console(highlight=False, markup=False, emoji=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = _PIPE_WIDTH
    return found


def print_beside(console: Console, head: Text, body: str) -> None:
    """Print ``head`` and beside it ``body``, broken where the terminal ends, in a column."""
    glued = _BEFORE_UNIT.sub(_NO_BREAK, body)
    room = max(console.width - head.cell_len, _NARROWEST)
    lines = textwrap.wrap(glued, room, break_on_hyphens=False) or [""]
    margin = Text(" " * head.cell_len)
    for number, line in enumerate(lines):
        text = (margin if number else head) + line.replace(_NO_BREAK, " ")
        text.rstrip()
        console.print(text, soft_wrap=True)
