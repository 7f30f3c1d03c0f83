"""As much of the Dockerfile's language as a small build takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

SCRATCH = "scratch"

# They change what an image says of itself, and make no layer.
_NO_STEP = ("ARG", "CMD", "ENTRYPOINT", "ENV", "STOPSIGNAL", "USER")

_FROM = re.compile(r"(?:--platform=\S+\s+)?(?P<image>\S+)(?:\s+[Aa][Ss]\s+(?P<name>\S+))?")
_FLAG = re.compile(r"--mount=(?P<options>\S+)\s+")
_COPY = re.compile(r"--from=(?P<stage>\S+)\s+(?P<source>\S+)\s+(?P<target>\S+)")


@dataclass(frozen=True, slots=True)
class Run:
    """``RUN``: the command for the shell."""

    command: str
    caches: Mapping[str, str] = field(default_factory=dict)
    """Cache mounts: their IDs, by the directories that they are at."""


@dataclass(frozen=True, slots=True)
class Copy:
    """``COPY --from``: a file of an earlier stage."""

    stage: int
    source: str
    target: str


@dataclass(slots=True)
class Stage:
    """``FROM`` and what follows it."""

    base: str
    """An image's name as it is written, or ``scratch``."""
    name: str
    earlier: int | None
    """The stage that it is based on instead."""
    steps: list[tuple[str, Run | Copy]] = field(default_factory=list)
    """Each with its text."""
    labels: dict[str, str] = field(default_factory=dict)
    alone: bool = True
    """No other stage is in the file."""

    @property
    def from_image(self) -> bool:
        """Whether an image is pulled for it, which is a step as well."""
        return self.earlier is None and self.base != SCRATCH

    def prefix(self, place: int) -> str:
        """What the name of its first, second, … step begins with."""
        label = "" if self.alone else f"{self.name} "
        return f"[{label}{place}/{self.from_image + len(self.steps)}] "

    def named_steps(self) -> Iterator[tuple[str, Run | Copy]]:
        """The steps, each with its vertex's name."""
        for place, (text, step) in enumerate(self.steps, 1 + self.from_image):
            yield self.prefix(place) + text, step


def parse(text: str) -> list[Stage]:
    """Read a Dockerfile.

    :raises ValueError: with what BuildKit says, and for what a simulated builder can't do.
    """
    stages: list[Stage] = []
    for number, line in _lines(text):
        word, _, rest = line.partition(" ")
        try:
            _take(stages, word.upper(), rest.strip())
        except ValueError as error:
            raise ValueError(f"dockerfile parse error on line {number}: {error}") from None
    if not stages:
        raise ValueError("file with no instructions")
    for stage in stages:
        stage.alone = len(stages) == 1
    return stages


def _take(stages: list[Stage], instruction: str, rest: str) -> None:
    step: Run | Copy
    if instruction == "FROM" and (found := _FROM.fullmatch(rest)):
        name = found["name"] or f"stage-{len(stages)}"
        stages.append(Stage(found["image"], name, _index(stages, found["image"])))
        return
    if instruction in _NO_STEP:
        return
    if not stages:
        raise ValueError("no build stage in current context")
    if instruction == "LABEL":
        for pair in shlex.split(rest):
            key, _, value = pair.partition("=")
            stages[-1].labels[key] = value
        return
    if instruction == "RUN" and rest:
        step = _run(rest)
    elif (
        instruction == "COPY"
        and (found := _COPY.fullmatch(rest))
        and (stage := _index(stages[:-1], found["stage"])) is not None
    ):
        step = Copy(stage, found["source"], found["target"])
    else:
        raise ValueError(f"a simulated builder can't do this: {instruction} {rest}")
    stages[-1].steps.append((f"{instruction} {rest}", step))


def _run(rest: str) -> Run:
    caches: dict[str, str] = {}
    while found := _FLAG.match(rest):
        options: dict[str, str] = {}
        for option in found["options"].split(","):
            key, _, options[key] = option.partition("=")
        if options.get("type") != "cache" or "target" not in options:
            raise ValueError(f"a simulated builder can't do this: {found[0]}")
        caches[options["target"]] = options.get("id", options["target"])
        rest = rest[found.end() :]
    return Run(rest, caches)


def _index(stages: list[Stage], wanted: str) -> int | None:
    """Find a stage by its name or number."""
    for number, stage in enumerate(stages):
        if wanted in (stage.name, str(number)):
            return number
    return None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Give the instructions, each with the number of its first line."""
    number, lines = 0, iter(text.splitlines())
    for line in lines:
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        first = number
        while line.rstrip().endswith("\\"):
            number += 1
            line = line.rstrip()[:-1] + next(lines, "")
        yield first, line.strip()
