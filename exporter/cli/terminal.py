"""Printing for people, and for pipes."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wide enough for any line: what reads a pipe breaks lines itself, if at all.
_PIPE_WIDTH = 1000
_NARROWEST = 20
_ANY_WIDTH = 1000

Row = dict[str, str | Text]
"""What a table has in each of its columns, from left to right."""

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=[%A-Za-z])")
_NO_BREAK = "\u00a0"


def console() -> Console:
    """Make a console for stdout that takes all text as it is."""
    found = Console(highlight=False, markup=False, emoji=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = _PIPE_WIDTH
    return found


@contextmanager
def busy(out: Console, text: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal that something goes on; what it gives changes what is said of it."""
    if not out.is_terminal:
        yield lambda _: None
        return
    with out.status(f"{text} …") as status:
        yield lambda text: status.update(f"{text} …")


def fitting(
    out: Console,
    rows: Sequence[Row],
    numbers: Collection[str],
    least_wanted: Sequence[str],
    gap: int = 2,
) -> Table:
    """Make a table of as many columns as there is room for.

    ``numbers`` are put to the right. Of ``least_wanted`` the first goes first.
    """
    left_out: set[str] = set()
    for name in (*least_wanted, None):
        table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
        columns = [column for column in rows[0] if column not in left_out]
        for column in columns:
            justify = "right" if column in numbers else "left"
            table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for row in rows:
            table.add_row(*(row[column] for column in columns))
        needed = out.measure(table, options=out.options.update(max_width=_ANY_WIDTH)).maximum
        if name is None or needed <= out.width:
            break
        left_out.add(name)
    return table


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
