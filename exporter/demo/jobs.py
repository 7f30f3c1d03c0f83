"""The builds that clients asked a builder for by ``Solve``, and what ``Status`` tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256

from exporter.buildkit import control_pb2 as pb
from exporter.demo.history import timestamp

# Status may be called before Solve: BuildKit waits so many seconds for it.
_PATIENCE = 6.0


class Job:
    """One build, and all that was told of it so far."""

    def __init__(self, ref: str, clock: Callable[[], float]) -> None:
        self.ref = ref
        self.life = asyncio.timeout(None)
        """Ends when the daemon dies."""
        self._clock = clock
        self._told: list[pb.StatusResponse] = []
        self._ended = False
        self._news = _Bell()

    @contextmanager
    def vertex(self, name: str, *inputs: pb.Vertex, of: str = "") -> Iterator[pb.Vertex]:
        """Tell of a step's start and end, and of its failure.

        ``of``: what it does, where that is not its name.
        """
        below = [each.digest for each in inputs]
        vertex = pb.Vertex(
            digest="sha256:" + sha256("\n".join([of or name, *below]).encode()).hexdigest(),
            name=name,
            inputs=below,
            started=timestamp(self._clock()),
        )
        self._tell(pb.StatusResponse(vertexes=[vertex]))
        try:
            yield vertex
        except asyncio.CancelledError:
            vertex.error = "context canceled"
            raise
        except Exception as error:
            vertex.error = str(error)
            raise
        finally:
            vertex.completed.CopyFrom(timestamp(self._clock()))
            self._tell(pb.StatusResponse(vertexes=[vertex]))

    def log(self, vertex: pb.Vertex, said: str) -> None:
        """Tell what a step's process printed."""
        line = pb.VertexLog(vertex=vertex.digest, msg=f"{said}\n".encode())
        self._tell(pb.StatusResponse(logs=[line]))

    def end(self) -> None:
        """Let those who listen know that there is no more to come."""
        self._ended = True
        self._news.ring()

    async def listen(self) -> AsyncGenerator[pb.StatusResponse, None]:
        """Tell all from the beginning, until the build ends."""
        heard = 0
        while True:
            if heard < len(self._told):
                heard += 1
                yield self._told[heard - 1]
            elif self._ended:
                return
            else:
                await self._news.heard()

    def _tell(self, status: pb.StatusResponse) -> None:
        self._told.append(status)
        self._news.ring()


class Jobs:
    """The builds under way, by reference."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.running: dict[str, Job] = {}
        self._clock = clock
        self._news = _Bell()

    @contextmanager
    def begin(self, ref: str) -> Iterator[Job]:
        """Take a build in until it ends.

        :raises ValueError: when there is one of this reference.
        """
        if ref in self.running:
            raise ValueError(f"job ID {ref} exists")
        job = self.running[ref] = Job(ref, self._clock)
        self._news.ring()
        try:
            yield job
        finally:
            del self.running[ref]
            job.end()

    async def find(self, ref: str) -> Job:
        """Wait for a build to begin, if need be.

        :raises LookupError: when it does not.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                while ref not in self.running:
                    await self._news.heard()
        except TimeoutError:
            raise LookupError(f"no such job {ref}") from None
        return self.running[ref]

    def lose(self) -> None:
        """Break all of them off, as when the daemon dies."""
        for job in self.running.values():
            if not job.life.expired():
                job.life.reschedule(0.0)


class _Bell:
    """Wakes all who wait at the moment."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def heard(self) -> None:
        await self._event.wait()
