"""What a canary builds, and what BuildKit tells of it: how long each step took, what failed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.llb import text_file
from exporter.canaries import Step, StepTime
from exporter.model import CanarySettings, Driver
from exporter.words import line

LABEL = "buildfarm-exporter.canary"
"""The image that a canary leaves in an Engine has this label."""

_MIB = 1024**2
_BLOCK, _IMAGE = 4 * _MIB, 8 * _MIB

_NANOSECONDS = 1e9

_START, _END = "start", "end"
_PULL = re.compile(r"\[internal\] load metadata for |\[[^]]*\] FROM ")
_EXPORT = "exporting to "
_COMMAND = re.compile(
    r".*(process \".*\" did not complete successfully|executor failed running \[.*\]): ", re.DOTALL
)
_SOLVE = re.compile(r"(failed to solve( with frontend [\w.]+)?|failed to create LLB definition): ")


def dockerfile(mark: str, settings: CanarySettings) -> str:
    """Write down the work, for any shell with busybox or coreutils.

    Every command has the mark in it, and so have the records it leaves. The disk's works in a
    cache mount, and random data for the export comes at the end: BuildKit 0.32 keeps the layers of
    a command that was cancelled, and what is below them, until it is started anew.
    """
    lines = [f"FROM {settings.base_image}", f"LABEL {LABEL}={mark}", f"RUN : {mark} {_START}"]
    if settings.cpu:
        lines.append(f"RUN : {mark} {Step.CPU}; {_hash(settings.cpu)}")
    if settings.disk:
        mount = f"--mount=type=cache,id={mark},target=/canary"
        lines.append(f"RUN {mount} : {mark} {Step.DISK}; cd /canary && {_write(settings.disk)}")
        lines.append(
            f"RUN : {mark} {_END}; head -c {_image(settings)} /dev/urandom >/canary.random"
        )
    return "\n".join(lines) + "\n"


def _hash(total: int) -> str:
    """Hash so many bytes; a shell alone does not look at how the first half of a pipe ended."""
    read = f"{{ head -c {total} /dev/zero || touch /canary.failed; }}"
    return f"{read} | sha256sum && [ ! -e /canary.failed ]"


def _write(total: int) -> str:
    """Write so many bytes that no file system can compress, and wait until the disk has them.

    Making all of them at random would take longer than writing them. So the file is doubled, with a
    period longer than what is compressed at a time, by few processes: emulated, each takes a while.
    """
    block = min(total, _BLOCK)
    commands = [f"head -c {block} /dev/urandom >file"]
    at, end = block // _MIB, total // _MIB
    while at < end:
        count = min(at, end - at)
        commands.append(
            f"dd if=file of=file bs=1M seek={at} count={count} conv=notrunc status=none"
        )
        at += count
    if rest := (total - block) % _MIB:
        commands.append(f"head -c {rest} /dev/urandom >>file")
    commands += ["dd if=/dev/null of=file conv=notrunc,fsync status=none", "rm file"]
    return " && ".join(commands)


def _image(settings: CanarySettings) -> int:
    """How many bytes the image has more than the base image."""
    return min(settings.disk, _IMAGE)


def solve_request(
    mark: str, platform: str, settings: CanarySettings, driver: Driver
) -> pb.SolveRequest:
    """Ask for the work: nothing from the cache, nothing into the history.

    The image gets no name. A BuildKit of its own then stores none, only compresses its layers, as
    it does before a push; an Engine's stores it as an untagged one.
    """
    work = text_file("Dockerfile", dockerfile(mark, settings), f"{mark} dockerfile")
    return pb.SolveRequest(
        Ref=mark,
        Internal=True,
        Frontend="dockerfile.v0",
        FrontendAttrs={"platform": platform, "no-cache": ""},
        # Without a context the frontend looks for .dockerignore at a client that is not there.
        FrontendInputs={"dockerfile": work, "context": work},
        Exporter="moby" if driver is Driver.DOCKER else "image",
    )


@dataclass(slots=True)
class _Vertex:
    """A step of BuildKit's."""

    part: Step | str | None
    """What it belongs to: a step of ours, or the command before or after them."""
    cached: bool = False
    intervals: dict[int, int | None] = field(default_factory=dict)
    """Start to end, in nanoseconds: it is taken up again and again, at first to be resolved."""
    error: str = ""
    said: bytes = b""
    """What it wrote last."""


class Timeline:
    """What ``Status`` tells of one canary, put together.

    The times are BuildKit's own, of whole steps: starting a container, about 0.1 s, is in those of
    the CPU and the disk, for it is in users' builds too. A throughput is therefore that of the
    builder, not of its hardware; the larger the workload the closer it comes to that.
    """

    def __init__(self, mark: str, settings: CanarySettings) -> None:
        self._mark = mark
        self._bytes = {Step.CPU: settings.cpu, Step.DISK: settings.disk}
        self._bytes[Step.EXPORT] = _image(settings)
        self._vertices: dict[str, _Vertex] = {}

    def feed(self, status: pb.StatusResponse) -> None:
        """Take in one more message."""
        for told in status.vertexes:
            vertex = self._vertices.setdefault(told.digest, _Vertex(self._part(told.name)))
            vertex.cached |= told.cached
            vertex.error = told.error or vertex.error
            if told.HasField("started"):
                end = told.completed.ToNanoseconds() if told.HasField("completed") else None
                vertex.intervals[told.started.ToNanoseconds()] = end
        for said in status.logs:
            if said.vertex in self._vertices and said.msg.strip():
                self._vertices[said.vertex].said = said.msg

    @property
    def running(self) -> Step | None:
        """The step under way."""
        return next((step for step in self._steps() if self._goes_on(step)), None)

    def done(self) -> dict[Step, StepTime]:
        """The steps that went well so far, in their order."""
        return {
            step: StepTime(
                seconds=_length(vertices) / _NANOSECONDS,
                bytes=self._bytes.get(step),
                cached=step is Step.PULL and any(vertex.cached for vertex in vertices),
            )
            for step, vertices in self._steps().items()
            if not self._goes_on(step) and not any(vertex.error for vertex in vertices)
        }

    def explain(self, said: str) -> str:
        """Say in a line which step failed and why, where BuildKit's own answer was ``said``."""
        for vertex in self._vertices.values():
            if vertex.error and vertex.part:
                why = [_COMMAND.sub("", vertex.error)]
                why += vertex.said.decode(errors="replace").strip().splitlines()[-1:]
                return line(f"{vertex.part}: {': '.join(why)}")
        return line(_SOLVE.sub("", said))

    def _steps(self) -> dict[Step, list[_Vertex]]:
        """The steps that have begun."""
        found = ((step, self._of(step)) for step in Step)
        return {step: of for step, of in found if any(vertex.intervals for vertex in of)}

    def _goes_on(self, step: Step) -> bool:
        if step is Step.PULL:
            # In between two parts of it nothing is under way, and BuildKit 0.8 does not tell the
            # end of each; something is done with the image when it is there.
            return not any(vertex.intervals for vertex in self._of(_START))
        return any(None in vertex.intervals.values() for vertex in self._of(step))

    def _of(self, part: Step | str) -> list[_Vertex]:
        return [vertex for vertex in self._vertices.values() if vertex.part == part]

    def _part(self, vertex: str) -> Step | str | None:
        for part in (_START, Step.CPU, Step.DISK, _END):
            if f" : {self._mark} {part}" in vertex:
                return part
        if vertex.startswith(_EXPORT):
            return Step.EXPORT
        return Step.PULL if _PULL.match(vertex) else None


def _length(vertices: Iterable[_Vertex]) -> int:
    """Nanoseconds in which any of these was under way."""
    total = until = 0
    intervals = ((s, e) for v in vertices for s, e in v.intervals.items() if e is not None)
    for start, end in sorted(intervals):
        total += max(end - max(start, until), 0)
        until = max(until, end)
    return total
