"""What BuildKit tells of a canary, for tests: steps, and records of the cache."""

from __future__ import annotations

from dataclasses import dataclass, replace

from google.protobuf.timestamp_pb2 import Timestamp

from exporter.buildkit import control_pb2 as pb

MIB = 1024**2
MARK = "buildfarm-canary-00ff"
RUN = f"{{}} RUN : {MARK} {{}}"
"""A command's place in the Dockerfile, and what it does."""

_EPOCH = 1_800_000_000


@dataclass(frozen=True)
class Told:
    """One step of BuildKit's, in seconds from the start."""

    digest: str
    name: str
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""

    @property
    def begun(self) -> Told:
        """The same, not done yet."""
        return replace(self, completed=None)


def message(*told: Told) -> pb.StatusResponse:
    """Put steps into a message of ``Status``."""
    return pb.StatusResponse(
        vertexes=[
            pb.Vertex(
                digest=t.digest,
                name=t.name,
                started=None if t.started is None else _time(t.started),
                completed=None if t.completed is None else _time(t.completed),
                cached=t.cached,
                error=t.error,
            )
            for t in told
        ]
    )


def record(
    name: str, description: str, *parents: str, at: float = 0.0, **more: object
) -> pb.UsageRecord:
    """Make a record of the cache, created at so many seconds."""
    known = {"ID": name, "Description": description, "Parents": parents, "Size": MIB}
    return pb.UsageRecord(CreatedAt=_time(at), **(known | more))  # type: ignore[arg-type]


def _time(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(round((_EPOCH + seconds) * 1000) * 1_000_000)
    return stamp
