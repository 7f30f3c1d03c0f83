"""One canary build against a builder at the seam of its Control client: however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from exporter.actions.canary import CLEAN_UP, CanaryProgress, CanaryResult, run_canary
from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.control import Control
from exporter.buildkit.node import NodeClient
from exporter.canaries import CanaryOutcome, Step
from exporter.errors import Layer, NodeError, Reason, RemoteError
from exporter.model import Builder, CanarySettings, Driver, NodeSpec, UnixEndpoint
from tests.actions.canaries import MARK, MIB, RUN, Told, message, record
from tests.actions.fakes import act

pytestmark = pytest.mark.virtual_time

SETTINGS = CanarySettings(base_image="busybox:1", cpu=64 * MIB, disk=32 * MIB, timeout=60)
LOST = NodeError(Layer.BUILDKIT, Reason.BUILDKIT, "BuildKit ended the connection")

STEPS = (
    Told("sha256:m", "[internal] load metadata for docker.io/library/busybox:1", 0.0, 0.1),
    Told("sha256:b", "[1/5] FROM docker.io/library/busybox:1@sha256:6", 0.1, 0.5),
    Told("sha256:s", RUN.format("[2/5]", "start"), 0.5, 1.0),
    Told("sha256:c", RUN.format("[3/5]", "cpu; head"), 1.0, 3.0),
    Told("sha256:d", RUN.format("[4/5]", "disk; cd"), 3.0, 4.0),
    Told("sha256:e", "exporting to image", 4.0, 5.0),
)
USERS = record("u0", "mount / from exec /bin/sh -c make", at=-9)
MADE = (
    record("c0", f"{MARK} dockerfile", at=0),
    record("b0", "pulled from docker.io/library/busybox:1@sha256:6", at=0.5),
    record("c1", f"mount / from exec /bin/sh -c : {MARK} start", "b0", at=1),
)


def refused(said: str) -> RemoteError:
    """What BuildKit answers to a build that fails."""
    return RemoteError(Layer.BUILDKIT, Reason.BUILDKIT, f"n1/farm0: Solve: {said}", 2)


@dataclass
class FakeBuildKit:
    """Builds, a step a second; stands for the :class:`Control` of a builder and the node around."""

    steps: Sequence[Told] = STEPS
    end: Any = None
    """How the build ends: an exception is raised, ``...`` hangs."""
    usage: Any = None
    """As ``end``, for ``DiskUsage``; a list is worked off, its last entry stays."""
    lingers: float = 0.0
    """Seconds for which the records stay in use after the end."""
    made: Sequence[pb.UsageRecord] = MADE
    heard: int | None = None
    """After so many steps the stream that tells of the build is lost."""
    images: list[str] = field(default_factory=list)
    used: Mapping[str, NodeError] = field(default_factory=dict)
    """Why images can't be removed."""
    records: dict[str, pb.UsageRecord] = field(default_factory=lambda: {USERS.ID: USERS})
    requests: list[pb.SolveRequest] = field(default_factory=list)
    removed: list[set[str]] = field(default_factory=list)
    building: bool = False
    open: int = 0
    holders: int = 0
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def client(self) -> NodeClient:
        return cast(NodeClient, self)

    @property
    def spec(self) -> NodeSpec:
        return NodeSpec("n1", UnixEndpoint("/run/docker.sock"))

    @property
    def engine(self) -> FakeBuildKit:
        return self

    @contextmanager
    def held(self) -> Iterator[None]:
        self.holders += 1
        try:
            yield
        finally:
            self.holders -= 1

    def new_control(self, builder: Builder) -> Control:
        if not builder.running:
            raise NodeError(Layer.BUILDKIT, Reason.BUILDKIT, f"{builder.name} does not run")
        self.open += 1
        return cast(Control, self)

    def close(self) -> None:
        self.open -= 1

    async def disk_usage(self) -> list[pb.UsageRecord]:
        usage = self.usage
        if isinstance(usage, list):
            usage = usage.pop(0) if len(usage) > 1 else usage[0]
        await act(usage)
        return list(self.records.values())

    async def remove(self, ids: Collection[str]) -> set[str]:
        self.removed.append(set(ids))
        gone = {i for i in ids if i in self.records and not self.records[i].InUse}
        for name in gone:
            del self.records[name]
        return gone

    async def solve(self, request: pb.SolveRequest) -> pb.SolveResponse:
        self.requests.append(request)
        self.records |= {one.ID: _in_use(one, True) for one in self.made}
        self.images.append("sha256:made")
        self.building = True
        try:
            await asyncio.sleep(len(self.steps))
            await act(self.end)
            return pb.SolveResponse()
        finally:
            self.building = False
            self._ended.set()
            asyncio.get_running_loop().call_later(self.lingers, self._release)

    def _release(self) -> None:
        self.records |= {i: _in_use(one, False) for i, one in self.records.items()}

    async def status(self, ref: str) -> AsyncGenerator[pb.StatusResponse, None]:
        assert ref == MARK
        for told in self.steps[: self.heard]:
            yield message(told.begun)
            await asyncio.sleep(0.9)
            yield message(told)
        if self.heard is not None:
            raise LOST
        await self._ended.wait()

    async def untagged_images(self, label: str) -> list[str]:
        assert label == "buildfarm-exporter.canary"
        return list(self.images)

    async def remove_image(self, image: str) -> None:
        await act(self.used.get(image))
        self.images.remove(image)

    async def run(
        self,
        driver: Driver = Driver.CONTAINER,
        settings: CanarySettings = SETTINGS,
        *,
        running: bool = True,
        on_progress: Any = lambda _: None,
    ) -> CanaryResult:
        builder = Builder("farm0", driver, container="c0", running=running)
        result = await run_canary(
            self.client, builder, "linux/arm64", settings, on_progress, token=lambda: "00ff"
        )
        assert (self.building, self.open, self.holders) == (False, 0, 0)
        return result

    def clean(self) -> bool:
        """Whether only users' records are left, and no image."""
        return self.records == {USERS.ID: USERS} and (not self.images)


def _in_use(one: pb.UsageRecord, used: bool) -> pb.UsageRecord:
    changed = pb.UsageRecord()
    changed.CopyFrom(one)
    changed.InUse = used
    return changed


async def test_every_step_is_timed_and_nothing_is_left() -> None:
    buildkit = FakeBuildKit(images=[])
    result = await buildkit.run(Driver.DOCKER)
    assert (result.outcome, result.detail) == (CanaryOutcome.OK, None)
    assert {step: round(time.seconds, 3) for step, time in result.steps.items()} == {
        Step.PULL: 0.5,
        Step.CPU: 2.0,
        Step.DISK: 1.0,
        Step.EXPORT: 1.0,
    }
    assert not result.steps[Step.PULL].cached
    (request,) = buildkit.requests
    assert (request.Ref, request.FrontendAttrs["platform"]) == (MARK, "linux/arm64")
    assert buildkit.removed == [{"c0", "b0", "c1"}]
    assert buildkit.clean()


async def test_only_an_engine_keeps_an_image() -> None:
    buildkit = FakeBuildKit(images=["sha256:another"])
    await buildkit.run(Driver.CONTAINER)
    assert buildkit.images == ["sha256:another", "sha256:made"]


async def test_progress_is_told_as_it_changes() -> None:
    heard: list[CanaryProgress] = []
    await FakeBuildKit().run(on_progress=heard.append)
    assert [(told.step, len(told.done)) for told in heard] == [
        (Step.PULL, 0),
        (None, 1),
        (Step.CPU, 1),
        (None, 2),
        (Step.DISK, 2),
        (None, 3),
        (Step.EXPORT, 3),
        (None, 4),
    ]


async def test_a_base_image_that_nobody_had_to_pull_was_there() -> None:
    """An Engine's BuildKit does not call a step cached for which it has the image."""
    there = record("b0", "from local ", at=-5)
    buildkit = FakeBuildKit(made=(MADE[0], there, MADE[2]))
    assert (await buildkit.run()).steps[Step.PULL].cached
    assert buildkit.removed == [{"c0", "c1"}]


async def test_a_build_that_fails_says_where_and_why() -> None:
    said = 'process "/bin/sh -c x" did not complete successfully: exit code: 1'
    failed = Told("sha256:d", RUN.format("[4/5]", "disk; cd"), 3.0, 3.1, error=said)
    buildkit = FakeBuildKit(steps=(*STEPS[:4], failed), end=refused(said))
    result = await buildkit.run()
    assert (result.outcome, result.detail) == (CanaryOutcome.FAILED, "disk: exit code: 1")
    assert list(result.steps) == [Step.PULL, Step.CPU]
    assert not buildkit.records.keys() - {"u0"}


@pytest.mark.parametrize(
    ("end", "detail"),
    [
        (refused("failed to solve: no such frontend"), "no such frontend"),
        (LOST, "buildkit: buildkit: BuildKit ended the connection"),
        (
            NodeError(Layer.BUILDKIT, Reason.BUILDKIT, "went\0 \x1b[2Jaway"),
            "buildkit: buildkit: went [2Jaway",
        ),
    ],
)
async def test_a_build_that_ends_without_a_failed_step_says_why(
    end: NodeError, detail: str
) -> None:
    result = await FakeBuildKit(end=end).run()
    assert (result.outcome, result.detail) == (CanaryOutcome.FAILED, detail)


async def test_a_builder_that_does_not_run() -> None:
    result = await FakeBuildKit().run(running=False)
    assert result == CanaryResult(
        CanaryOutcome.FAILED, {}, "buildkit: buildkit: farm0 does not run"
    )


async def test_a_builder_that_does_not_answer_is_not_built_on() -> None:
    buildkit = FakeBuildKit(usage=LOST)
    result = await buildkit.run()
    assert (result.outcome, result.detail) == (CanaryOutcome.FAILED, str(LOST))
    assert (buildkit.requests, buildkit.removed) == ([], [])


@pytest.mark.parametrize(("heard", "steps"), [(0, []), (4, [Step.PULL, Step.CPU])])
async def test_a_build_that_is_not_told_of_to_its_end_lacks_times(
    heard: int, steps: list[Step]
) -> None:
    """It was built all the same."""
    buildkit = FakeBuildKit(heard=heard)
    result = await buildkit.run()
    assert (result.outcome, list(result.steps)) == (CanaryOutcome.OK, steps)
    assert result.detail == f"not all of its times are known: {LOST}"
    assert not buildkit.records.keys() - {"u0"}


async def test_an_image_that_somebody_runs_keeps_no_records() -> None:
    used = RemoteError(Layer.ENGINE, Reason.ENGINE, "image is being used by container c1", 409)
    buildkit = FakeBuildKit(images=["sha256:old"], used={"sha256:old": used})
    result = await buildkit.run(Driver.DOCKER)
    assert result.outcome is CanaryOutcome.OK
    assert result.detail == f"an image of a canary could not be removed: {used}"
    assert (buildkit.images, buildkit.records) == (["sha256:old"], {USERS.ID: USERS})


async def test_a_build_that_takes_too_long_is_cancelled() -> None:
    buildkit = FakeBuildKit(steps=(*STEPS[:3], STEPS[3].begun), end=...)
    result = await buildkit.run()
    assert result.outcome is CanaryOutcome.TIMEOUT
    assert result.detail == "not done in 1 min: cancelled in step cpu"
    assert list(result.steps) == [Step.PULL]
    assert not buildkit.records.keys() - {"u0"}


async def test_a_task_that_is_cancelled_leaves_no_build_and_no_records() -> None:
    buildkit = FakeBuildKit(end=..., lingers=1.0)
    task = asyncio.create_task(buildkit.run(Driver.DOCKER))
    await asyncio.sleep(3)
    assert (buildkit.building, buildkit.open, buildkit.holders) == (True, 1, 1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert (buildkit.building, buildkit.open, buildkit.holders) == (False, 0, 0)
    assert buildkit.clean()


async def test_records_that_are_in_use_for_a_moment_are_waited_for() -> None:
    buildkit = FakeBuildKit(lingers=1.0)
    assert (await buildkit.run(Driver.DOCKER)).detail is None
    assert buildkit.clean()


async def test_records_that_stay_in_use_are_left_and_told_of() -> None:
    buildkit = FakeBuildKit(lingers=1e6)
    result = await buildkit.run()
    assert result.outcome is CanaryOutcome.OK
    assert result.detail == "BuildKit still holds records of it; the next canary removes them"
    assert buildkit.records.keys() == {"u0", "b0", "c0", "c1"}


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(LOST, "buildkit: buildkit: BuildKit ended the connection"), (..., "no answer in time")],
)
async def test_what_can_not_be_removed_is_told_of_and_not_waited_for_long(
    trouble: Any, said: str
) -> None:
    loop = asyncio.get_running_loop()
    result = await FakeBuildKit(usage=[None, trouble]).run()
    assert result.outcome is CanaryOutcome.OK
    assert result.detail == f"what it left could not be removed: {said}"
    assert loop.time() <= len(STEPS) + CLEAN_UP + 1
