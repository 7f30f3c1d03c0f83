"""Lines that are broken where a terminal ends."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from exporter.cli.terminal import console, print_beside


def printed(head: str, body: str, width: int) -> list[str]:
    out = Console(file=io.StringIO(), width=width, markup=False)
    print_beside(out, Text(head), body)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().split("\n")[:-1]


def test_a_long_text_stays_in_its_column() -> None:
    assert printed("head  ", "one two three four five six seven", 30) == [
        "head  one two three four five",
        "      six seven",
    ]


@pytest.mark.parametrize("width", range(26, 50))
def test_a_number_is_not_torn_from_its_unit(width: int) -> None:
    for line in printed("disk  ", "7.8 GiB of 240.0 GiB free (3 %), inodes 20 % free", width):
        assert not line.strip().startswith(("GiB", "%"))


@pytest.mark.parametrize("body", ["", "text   "])
def test_nothing_trails(body: str) -> None:
    assert printed("head  ", body, 80) == [f"head  {body}".rstrip()]


@pytest.mark.parametrize(("columns", "width"), [("72", 72), (None, 1000)])
def test_a_pipe_is_as_wide_as_it_is_told_or_very_wide(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int
) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert console().width == width
