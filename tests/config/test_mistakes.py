"""Mistakes that people make, and what exactly they are told: see the files in ``mistakes``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.config.conftest import Place, told


def _mistakes() -> Iterator[ParameterSet]:
    for file in sorted((Path(__file__).parent / "mistakes").glob("*.txt")):
        _, *parts = re.split(r"^=== (.*)\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for title, text in zip(parts[::2], parts[1::2], strict=True):
            yield pytest.param(text, id=f"{file.stem}: {title}")


@pytest.mark.parametrize("text", list(_mistakes()))
def test_mistake(place: Place, text: str) -> None:
    """All that is wrong is told at once, each mistake once, with its line, place and remedy."""
    assert place.problems(text) == told(text)
