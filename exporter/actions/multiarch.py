"""A canary build over the whole farm: ``docker buildx build --push``, as its users build.

It builds twice. The first build is new on every node; it pushes an image and the shared cache.
The second one builds the same, each platform on another node where there is one for it: that node
can have its steps from the shared cache only.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from exporter.actions.multiarch_builder import BuildxError, StoredBuilder, read_builder
from exporter.actions.multiarch_output import (
    Node,
    Progress,
    read_built,
    read_images,
    read_nodes,
)
from exporter.canaries import (
    CANARY_ARGUMENT,
    CanaryOutcome,
    CanaryTrigger,
    MultiarchRecord,
    MultiarchRun,
)
from exporter.dockercli import DockerCli, DockerCliError, DockerCliLateError
from exporter.model import MultiarchSettings
from exporter.words import line

# Only what every shell has built in: an emulator may start no second program.
_DOCKERFILE = f"""\
FROM {{image}}
USER 0
ARG {CANARY_ARGUMENT}
RUN echo "${CANARY_ARGUMENT}" > /canary.1
RUN read -r id < /canary.1 && echo "$id" > /canary.2
RUN read -r id < /canary.2 && echo "$id" > /canary.3
"""
# Nodes keep what they are sent by the name of the folder.
_CONTEXT = "buildfarm-canary"
_ASK_TIMEOUT = 60.0
_OVERWRITTEN = (
    "nodes that build together write their caches to the same place, and the last one replaces "
    "the others' (https://github.com/docker/buildx/issues/1044)"
)


async def run_multiarch(
    settings: MultiarchSettings,
    *,
    trigger: CanaryTrigger,
    now: Callable[[], float],
    docker: DockerCli,
    platforms: Sequence[str] = (),
    on_progress: Callable[[str], None] = lambda _: None,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> MultiarchRecord:
    """Build over the whole farm; what came of it, whatever goes wrong.

    ``platforms``: none means those that the builder's nodes were made for, and of a node that was
    made for none in particular its own. ``on_progress`` is told what happens, in words.

    Cancelled, it ends the builds on the nodes.
    """
    record = MultiarchRecord(
        new_id(), settings.builder, trigger, CanaryOutcome.OK, now(), finished_at=0.0
    )
    canary = _Canary(settings, record.id, now, docker, on_progress)
    outcome, said = CanaryOutcome.OK, ""
    try:
        with TemporaryDirectory(prefix="buildfarm-canary-") as folder:
            await canary.run(Path(folder), platforms)
    except DockerCliLateError as error:
        outcome, said = CanaryOutcome.TIMEOUT, str(error)
    except (DockerCliError, BuildxError) as error:
        outcome, said = CanaryOutcome.FAILED, str(error)
    except OSError as error:
        outcome, said = CanaryOutcome.FAILED, f"no place for a copy of the builder: {error}"
    return dataclasses.replace(
        record,
        outcome=outcome,
        finished_at=now(),
        first=canary.first,
        second=canary.second,
        across_nodes=canary.across_nodes,
        pushed=canary.pushed,
        detail=canary.detail(said),
    )


@dataclass(slots=True)
class _Canary:
    """One such build, and what is known of it so far."""

    settings: MultiarchSettings
    id: str
    now: Callable[[], float]
    docker: DockerCli
    on_progress: Callable[[str], None]
    first: MultiarchRun | None = None
    second: MultiarchRun | None = None
    across_nodes: bool | None = None
    pushed: tuple[str, ...] = ()
    down: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def detail(self, error: str) -> str | None:
        """Say it all in one line."""
        down = [f"node {name} does not answer: {why}" for name, why in self.down.items()]
        # buildx says of one node only, and not of which.
        explained = any(why in error for why in self.down.values())
        said = [*down, *([] if explained or not error else [error]), *self.notes]
        return line("; ".join(said)) or None

    async def run(self, folder: Path, platforms: Sequence[str]) -> None:
        """Do it all. ``folder`` is for files, and is thrown away afterwards."""
        await self.docker.buildx_version()
        builder = await asyncio.to_thread(read_builder, self.docker.builders, self.settings.builder)
        await asyncio.to_thread(self._write, folder / _CONTEXT)
        self.on_progress(f"Looking at the nodes of {builder.name}")
        nodes = await self._look(builder, folder / "look", wanted=platforms)
        platforms = platforms or _platforms(builder, nodes)

        self.on_progress(f"Building for {', '.join(platforms)}")
        environ = await asyncio.to_thread(builder.store_in, folder / "first")
        self.first, _ = await self._build(builder, folder / "first", platforms)
        await self._check(builder, environ, platforms)
        if self.settings.cache is None or not self.first.nodes:
            return
        places = _other_places(self.first.nodes, nodes)
        if places == self.first.nodes:
            self.across_nodes = False
            self.notes.append("no platform has a second node, so the shared cache was not tried")
            return
        self.on_progress("Building again on other nodes, from the shared cache")
        moved = builder.built_on(places)
        await asyncio.to_thread(moved.store_in, folder / "second")
        again, progress = await self._build(moved, folder / "second", platforms)
        self._judge(self.first, again, progress)

    def _write(self, context: Path) -> None:
        context.mkdir()
        dockerfile = _DOCKERFILE.format(image=self.settings.base_image)
        (context / "Dockerfile").write_text(dockerfile)

    async def _look(
        self, builder: StoredBuilder, store: Path, wanted: Collection[str]
    ) -> dict[str, Node]:
        """Learn which nodes answer, and what each can build."""
        # buildx would tell what is claimed first, and so hide what a node's own platform is.
        environ = await asyncio.to_thread(builder.built_on({}).store_in, store)
        # What a node builds is known once it runs; a build would start it, too.
        boot = [] if wanted or all(builder.claimed.values()) else ["--bootstrap"]
        finished = await self.docker.run(
            *("buildx", "inspect", *boot, builder.name),
            within=self.settings.timeout,
            environ=environ,
        )
        nodes = read_nodes(finished.out)
        self.down = {name: node.error for name, node in nodes.items() if node.error is not None}
        return nodes

    async def _build(
        self, builder: StoredBuilder, store: Path, platforms: Sequence[str]
    ) -> tuple[MultiarchRun, Progress]:
        """Build, and push; the shared cache is written by the first build only."""
        progress = Progress()
        cache = f"type=registry,ref={self.settings.cache}"
        use = [f"--cache-from={cache}"] if self.settings.cache else []
        if use and self.first is None:
            use.append(f"--cache-to={cache},mode=max")
        started = self.now()
        run = self.docker.run(
            *("buildx", "build", "--builder", builder.name, "--platform", ",".join(platforms)),
            *("--push", "--tag", self.settings.push, *use, "--progress", "rawjson"),
            # It would be more to push, and say nothing of the farm.
            *("--provenance=false", "--build-arg", f"{CANARY_ARGUMENT}={self.id}"),
            # Old buildx gives what comes from stdin to one node only.
            str(store.with_name(_CONTEXT)),
            within=self.settings.timeout,
            environ={"BUILDX_CONFIG": str(store)},
            on_error_line=progress.hear,
        )
        try:
            await run
        except DockerCliError as error:
            which = "the second build, on other nodes: " if self.first else ""
            late = isinstance(error, DockerCliLateError) and progress.running
            at = f", at: {', '.join(progress.running)}" if late else ""
            raise type(error)(f"{which}{error}{at}") from error
        seconds = self.now() - started
        steps = [cached for found in progress.cached(platforms).values() for cached in found]
        nodes = await self._nodes(builder, store, platforms)
        return MultiarchRun(seconds, nodes, len(steps), sum(steps)), progress

    async def _nodes(
        self, builder: StoredBuilder, store: Path, platforms: Sequence[str]
    ) -> dict[str, str]:
        """Learn which node built which platform.

        buildx notes in its store which nodes took part; what each of them built, it knows itself.
        buildx asks all nodes of a builder at once, and takes any answer; so it is given one.
        """
        builds = await asyncio.to_thread(builder.builds_in, store)
        if len(builds) == 1:
            return dict.fromkeys(platforms, *builds)
        found: dict[str, str] = {}
        for number, (node, build) in enumerate(builds.items()):
            one = builder.only(node)
            environ = await asyncio.to_thread(one.store_in, store / f"node{number}")
            ask = ("buildx", "history", "inspect", "--builder", builder.name, "--format", "json")
            try:
                finished = await self.docker.run(*ask, build, within=_ASK_TIMEOUT, environ=environ)
                found |= dict.fromkeys(read_built(finished.out), node)
            except (DockerCliError, BuildxError) as error:
                return self._by_claims(builder, platforms, builds, error)
        return {platform: found[platform] for platform in platforms if platform in found}

    def _by_claims(
        self,
        builder: StoredBuilder,
        platforms: Collection[str],
        builds: Collection[str],
        error: Exception,
    ) -> dict[str, str]:
        """Tell which node built what where buildx is too old to have a history."""
        claimed = {p: node for node, names in builder.claimed.items() for p in names}
        found = {platform: claimed.get(platform, "") for platform in platforms}
        if set(found.values()) == set(builds):
            return found
        self.notes.append(
            f"which node built what is not known, so the shared cache was not tried: {error}"
        )
        return {}

    async def _check(
        self, builder: StoredBuilder, environ: Mapping[str, str], platforms: Sequence[str]
    ) -> None:
        """See what is at the registry now, as the user's credentials see it."""
        self.on_progress(f"Looking at {self.settings.push}")
        ask = ("buildx", "imagetools", "inspect", "--builder", builder.name, "--format")
        finished = await self.docker.run(
            *ask, "{{json .Image}}", self.settings.push, within=_ASK_TIMEOUT, environ=environ
        )
        images = read_images(finished.out, self.id)
        self.pushed = tuple(sorted(images))
        if missing := [name for name in platforms if name not in images]:
            raise BuildxError(f"{self.settings.push} lacks {', '.join(missing)} at the registry")
        if others := [name for name in platforms if not images[name]]:
            raise BuildxError(
                f"{self.settings.push} has another image for {', '.join(others)} at the registry "
                "than the one just pushed: is it pushed to by somebody else, too?"
            )

    def _judge(self, first: MultiarchRun, again: MultiarchRun, progress: Progress) -> None:
        """Tell what the second build says of the shared cache."""
        moved = [name for name, node in again.nodes.items() if first.nodes.get(name) != node]
        self.across_nodes = bool(moved)
        # What stayed on its node is cached there anyway.
        cached = progress.cached(again.nodes)
        steps = [from_cache for name in moved for from_cache in cached[name]]
        self.second = dataclasses.replace(again, steps=len(steps), cached=sum(steps))
        if without := [name for name in moved if not any(cached[name])]:
            # Of several caches at one place the last one is still there.
            several = len(set(first.nodes.values())) > 1 and len(without) < len(first.nodes)
            why = progress.unread or (_OVERWRITTEN if several else "its steps were not found there")
            self.notes.append(f"nothing of {', '.join(without)} came from the shared cache: {why}")


def _platforms(builder: StoredBuilder, nodes: Mapping[str, Node]) -> Sequence[str]:
    """Say what a builder's users expect it to build."""
    found: dict[str, None] = {}
    for name, claimed in builder.claimed.items():
        own = nodes[name].platforms[:1] if name in nodes else ()
        found |= dict.fromkeys(claimed or own)
    if not found:
        raise BuildxError(f"no node of the buildx builder '{builder.name}' tells its platforms")
    return tuple(found)


def _other_places(places: Mapping[str, str], nodes: Mapping[str, Node]) -> dict[str, str]:
    """Find another node for each platform, or the same where there is none."""

    def other(platform: str, place: str) -> str:
        candidates = (name for name in nodes if name != place)
        fit = (name for name in candidates if nodes[name].replaces(nodes[place], platform))
        return next(fit, place)

    return {platform: other(platform, place) for platform, place in places.items()}
