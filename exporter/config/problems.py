"""Everything that is wrong with a configuration, collected, then told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.errors import ConfigError

Loc = tuple[str | int, ...]
"""The way to a value: keys and list indices, outermost first."""


class Unset(str):
    """Text in place of a value that can't be had, and that a problem was written down for."""

    __slots__ = ()


def dotted(loc: Loc) -> str:
    """``("nodes", 2, "tls", "ca")`` → ``nodes[2].tls.ca``."""
    text = ""
    for step in loc:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


@dataclass(frozen=True, slots=True, order=True)
class Remark:
    """One line of text about one place in one file. The order is the order of telling."""

    order: int
    """Files are told of in the order in which they were read."""
    line: int
    loc: str
    message: str
    file: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return f"{where}{self.loc}: {self.message}" if self.loc else f"{where}{self.message}"


@dataclass(slots=True)
class Notebook:
    """Collects problems (nothing starts) and warnings (something is odd) of all files."""

    problems: set[Remark] = field(default_factory=set)
    warnings: set[Remark] = field(default_factory=set)
    files: list[str] = field(default_factory=list)

    def page(self, file: str, lines: Mapping[Loc, int], quoted: Mapping[Loc, list[Quote]]) -> Page:
        """The place to write down what is found in ``file``."""
        self.files.append(file)
        return Page(self, file, len(self.files), lines, quoted)

    def raise_problems(self) -> None:
        """Raise a :class:`ConfigError` with every problem, unless there is none."""
        if self.problems:
            raise ConfigError([str(remark) for remark in sorted(self.problems)])

    def told_warnings(self) -> tuple[str, ...]:
        """The warnings as text, in order."""
        return tuple(str(remark) for remark in sorted(self.warnings))


@dataclass(frozen=True, slots=True)
class Quote:
    """A value from the environment, and what was written in its place."""

    value: str = field(repr=False)
    written: str


@dataclass(frozen=True, slots=True)
class Page:
    """What is found in one file. Knows on which line each value is."""

    notebook: Notebook
    file: str
    order: int
    lines: Mapping[Loc, int]
    quoted: Mapping[Loc, list[Quote]]

    def line(self, loc: Loc) -> int:
        """The line of the value at ``loc``, or of the closest mapping or list around it."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 0)

    def problem(self, loc: Loc, message: str) -> None:
        """Write down what keeps the configuration from being used."""
        self.notebook.problems.add(self._remark(loc, message))

    def problem_at(self, line: int, loc: Loc, message: str) -> None:
        """Write down a problem on a line that is not where the value at ``loc`` is."""
        text = dotted(loc)
        self.notebook.problems.add(Remark(self.order, line, text, message, self.file))

    def warn(self, loc: Loc, message: str) -> None:
        """Write down what is odd, but can be used."""
        self.notebook.warnings.add(self._remark(loc, message))

    def _remark(self, loc: Loc, message: str) -> Remark:
        # What came out of the environment may be a secret: show what is written in the file.
        for at, quotes in self.quoted.items():
            if at[: len(loc)] == loc or loc[: len(at)] == at:
                for quote in quotes:
                    if len(quote.value) > 2:
                        message = message.replace(quote.value, quote.written)
        line = self.line(loc)
        return Remark(self.order, line, dotted(loc), message, self.file)
