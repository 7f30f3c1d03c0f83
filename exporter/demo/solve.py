"""``Solve`` on a simulated builder: a Dockerfile's steps, in the time its machine takes."""

from __future__ import annotations

import asyncio
import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.builders import EMBEDDED
from exporter.demo import registry, shell
from exporter.demo.builder import NO_SPACE, SimulatedBuilder
from exporter.demo.cache import Mount, Record
from exporter.demo.definition import make
from exporter.demo.dockerfile import SCRATCH, Copy, Run, Stage, parse
from exporter.demo.jobs import Job
from exporter.demo.machine import Machine
from exporter.demo.process import ProcessError, mount_of, perform

# Seconds: a question to the registry, the image from it, the start of a container.
_ASK = 0.1
_PULL = 0.3
_START = 0.05

_EXEC_FORMAT = "exec /bin/sh: exec format error"
_EXEC_FORMAT_STATUS = 255


async def solve(
    machine: Machine, builder: SimulatedBuilder, job: Job, request: pb.SolveRequest
) -> None:
    """Build what is asked for, to its end.

    :raises ValueError: with BuildKit's message, when it fails.
    :raises TimeoutError: when the daemon dies.
    """
    build = _Build(machine, builder, job, request)
    told = bool(builder.release) and not request.Internal
    if told:
        builder.history.start(request.FrontendAttrs, ref=request.Ref)
    error: str | None = "context canceled"
    try:
        async with job.life:
            await build.run()
        error = None
    except ValueError as failure:
        error = str(failure)
        raise
    finally:
        if told and request.Ref in builder.history.active:
            builder.history.complete(request.Ref, build.steps, build.cached, error)
        builder.collect_garbage()
        there = builder.cache.records
        builder.made = {d: record for d, record in builder.made.items() if record.id in there}
        builder.mounts = {i: each for i, each in builder.mounts.items() if each.record.id in there}


@dataclass(slots=True)
class _Image:
    """What a stage came to so far."""

    vertex: pb.Vertex | None = None
    """The step that made its uppermost layer; ``None``: it is empty."""
    layers: list[Record] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    """What its steps wrote: sizes by path."""

    @property
    def top(self) -> Record | None:
        return self.layers[-1] if self.layers else None


class _Build:
    """One build. The messages of its failures are BuildKit's."""

    def __init__(
        self, machine: Machine, builder: SimulatedBuilder, job: Job, request: pb.SolveRequest
    ) -> None:
        self.steps = 0
        self.cached = 0
        self._machine = machine
        self._builder = builder
        self._cache = builder.cache
        self._job = job
        self._request = request
        self._attributes = request.FrontendAttrs
        self._platform = self._attributes.get("platform") or builder.platform
        self._held: list[Record] = []
        self._stages: list[Stage] = []
        self._images: dict[int, _Image] = {}

    async def run(self) -> None:
        if self._request.Frontend != "dockerfile.v0":
            raise ValueError(f"invalid frontend: {self._request.Frontend}")
        # The Engine has an exporter of its own, to its own images.
        exporter = "moby" if self._builder.name == EMBEDDED.name else "image"
        if self._request.Exporter not in ("", exporter):
            raise ValueError(f'exporter "{self._request.Exporter}" could not be found')
        try:
            self._stages = parse(self._dockerfile())
            image = await self._stage(len(self._stages) - 1)
            if self._request.Exporter:
                await self._export(image, self._stages[-1])
        finally:
            self._cache.release(self._held, self._machine.clock())

    def _dockerfile(self) -> str:
        inputs = {name: make(each) for name, each in self._request.FrontendInputs.items()}
        # What is missing is looked for at the client; the context, for its .dockerignore.
        if not {"context", "dockerfile"} <= inputs.keys():
            raise ValueError("no active sessions")
        given = inputs["dockerfile"]
        with self._step(given.name, of=given.digest) as vertex:
            if self._reuse(vertex) is None:
                # BuildKit 0.8 describes all such directories by the same words.
                description = given.name if self._builder.release else "fileop target"
                size = sum(map(len, given.files.values()))
                self._builder.made[vertex.digest] = self._new(description, None, size)
        path = posixpath.join("/", self._attributes.get("filename") or "Dockerfile")
        if path not in given.files:
            name = path.removeprefix("/")
            raise ValueError(f"failed to read dockerfile: open {name}: no such file or directory")
        return given.files[path].decode(errors="replace")

    async def _stage(self, number: int) -> _Image:
        """Build a stage, and before it those that it needs, once each."""
        if number not in self._images:
            stage = self._stages[number]
            image = await self._base(stage)
            for name, step in stage.named_steps():
                if isinstance(step, Run):
                    await self._run(image, name, step)
                else:
                    await self._copy(image, name, await self._stage(step.stage), step)
            self._images[number] = image
        return self._images[number]

    async def _base(self, stage: Stage) -> _Image:
        if stage.earlier is not None:
            below = await self._stage(stage.earlier)
            return _Image(below.vertex, list(below.layers), dict(below.files))
        if stage.base == SCRATCH:
            return _Image()
        image = registry.reference(stage.base)
        with self._step(f"[internal] load metadata for {image}"):
            await asyncio.sleep(self._machine.noise() * _ASK)
            registry.find(image, self._platform)
        with self._step(f"{stage.prefix(1)}FROM {image}", of=f"{image} {self._platform}") as vertex:
            layer = self._reuse(vertex)
            if layer is None:
                await asyncio.sleep(self._machine.noise() * _PULL)
                layer = self._new(f"pulled from {image}", None, registry.IMAGE_SIZE)
                self._builder.made[vertex.digest] = layer
        return _Image(vertex, [layer])

    async def _run(self, image: _Image, name: str, step: Run) -> None:
        process = f"/bin/sh -c {step.command}"
        with self._step(name, image.vertex, of=process) as vertex:
            try:
                if self._platform not in self._machine.platforms:
                    raise ProcessError(_EXEC_FORMAT_STATUS, _EXEC_FORMAT)
                mounts = {
                    target: self._mount(cache, f"cached mount {target} from exec {process}")
                    for target, cache in step.caches.items()
                }
                there = dict(image.files)
                for mount in mounts.values():
                    there |= mount.files
                acts, status = shell.read(step.command, there)
                description = f"mount / from exec {process}"
                await self._layer(image, vertex, description, acts, mounts, status)
            except ProcessError as error:
                self._job.log(vertex, error.said)
                raise ValueError(
                    f"process {json.dumps(process)} did not complete successfully: "
                    f"exit code: {error.status}"
                ) from error

    def _mount(self, cache: str, description: str) -> Mount:
        mount = self._builder.mounts.get(cache)
        if mount is not None and mount.record.id in self._cache.records:
            self._hold(mount.record)
            return mount
        mount = Mount(self._new(description, None, kind="exec.cachemount"))
        self._builder.mounts[cache] = mount
        return mount

    async def _copy(self, image: _Image, name: str, source: _Image, step: Copy) -> None:
        with self._step(name, image.vertex, source.vertex) as vertex:
            if step.source not in source.files:
                raise ValueError(
                    "failed to compute cache key: failed to calculate checksum of ref: "
                    f'"{step.source}": not found'
                )
            acts = [shell.Write(step.target, source.files[step.source])]
            try:
                await self._layer(image, vertex, name, acts)
            except ProcessError as error:
                raise ValueError(NO_SPACE) from error

    async def _export(self, image: _Image, stage: Stage) -> None:
        with self._step("exporting to image", image.vertex):
            size = sum(layer.size for layer in image.layers)
            await asyncio.sleep(self._machine.hashing(size, self._builder.platform))
            if self._request.Exporter == "moby":
                self._machine.add_image(stage.labels, image.layers)

    # ------------------------------------------------------------------------------- layers

    async def _layer(
        self,
        image: _Image,
        vertex: pb.Vertex,
        description: str,
        acts: Sequence[shell.Act],
        mounts: Mapping[str, Mount] = MappingProxyType({}),
        status: int = 0,
    ) -> None:
        """Put a layer on an image, from the cache or by doing what makes it."""
        again = "no-cache" in self._attributes
        layer = None if again else self._reuse(vertex)
        if layer is None:
            layer = self._builder.made[vertex.digest] = self._new(description, image.top)
            layer.mutable = True
            try:
                await asyncio.sleep(_START)
                everywhere = {"/": Mount(layer), **mounts}
                await perform(acts, everywhere, self._platform, self._machine, self._cache)
                if status:
                    raise ProcessError(status)
            except BaseException:
                # What is not finished is of no use to anybody.
                self._held.remove(layer)
                self._cache.release([layer], self._machine.clock())
                self._cache.remove(layer)
                raise
            self._cache.seal(layer)
        image.vertex = vertex
        image.layers.append(layer)
        for act in acts:
            match act:
                case shell.Write(path) if mount_of(path, mounts) == "/":
                    image.files[path] = act.length(image.files.get(path, 0))
                case shell.Remove(path):
                    image.files.pop(path, None)

    @contextmanager
    def _step(self, name: str, *inputs: pb.Vertex | None, of: str = "") -> Iterator[pb.Vertex]:
        self.steps += 1
        below = [vertex for vertex in inputs if vertex is not None]
        with self._job.vertex(name, *below, of=of) as vertex:
            yield vertex
        self.cached += vertex.cached

    def _reuse(self, vertex: pb.Vertex) -> Record | None:
        """Find what an earlier build left of the same step."""
        record = self._builder.made.get(vertex.digest)
        if record is None or record.mutable or record.id not in self._cache.records:
            return None
        vertex.cached = True
        return self._hold(record)

    def _new(
        self, description: str, below: Record | None, size: int = 0, kind: str = "regular"
    ) -> Record:
        now, parents = self._machine.clock(), [below.id] if below else []
        record = self._cache.add(
            size=size, now=now, used=now, kind=kind, description=description, parents=parents
        )
        return self._hold(record)

    def _hold(self, record: Record) -> Record:
        self._cache.hold([record], self._machine.clock())
        self._held.append(record)
        return record
