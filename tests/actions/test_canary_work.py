"""What a canary builds, run by a real shell, and the times that BuildKit tells of it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.actions.canary_work import Timeline, dockerfile, solve_request
from exporter.buildkit import control_pb2 as pb
from exporter.canaries import Step, StepTime
from exporter.model import CanarySettings, Driver
from tests.actions.canaries import MARK, MIB, RUN, Told, message

SETTINGS = CanarySettings(base_image="busybox:1", cpu=64 * MIB, disk=32 * MIB)


def _command(step: str, settings: CanarySettings) -> str:
    """The shell command of a step."""
    (line,) = re.findall(
        rf"^RUN .*: {MARK} {step}; (.*)$", dockerfile(MARK, settings), re.MULTILINE
    )
    return str(line)


def _shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = command.replace("/canary", str(folder))
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "total", [1, 1000, MIB, 4 * MIB, 4 * MIB + 1, 5_000_000, 13 * MIB, 20_000_001]
)
def test_so_many_bytes_are_written_that_do_not_compress(total: int, tmp_path: Path) -> None:
    command = _command("disk", CanarySettings(disk=total))
    kept = _shell(f"rm() {{ mv file kept; }}; {command}", tmp_path)
    assert (kept.returncode, kept.stderr) == (0, "")
    data = (tmp_path / "kept").read_bytes()
    assert len(data) == total
    # As a file system sees it: each 128 KiB by itself, of nearly all byte values.
    starts = range(0, total, 128 * 1024)
    assert total < 1024 or all(len(set(data[s : s + 128 * 1024])) > 120 for s in starts[:-1])


def test_what_was_written_is_synced_once_and_removed(tmp_path: Path) -> None:
    command = _command("disk", SETTINGS)
    assert command.count("fsync") == 1
    assert command.endswith("fsync status=none && rm file")
    assert _shell(command, tmp_path).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_can_not_be_written_to_fails_the_step(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to("/dev/full")
    said = _shell(_command("disk", SETTINGS), tmp_path)
    assert said.returncode != 0
    assert "No space left on device" in said.stderr


def test_so_many_bytes_are_hashed(tmp_path: Path) -> None:
    """The hash is that of the zeros."""
    said = _shell(_command("cpu", CanarySettings(cpu=3)), tmp_path)
    assert said.returncode == 0
    assert said.stdout.startswith(
        "709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c"
    )


def test_bytes_that_could_not_be_read_fail_the_step(tmp_path: Path) -> None:
    """Not a quick hash of nothing, which would be a fine throughput."""
    command = _command("cpu", SETTINGS)
    said = _shell(f"head() {{ return 1; }}; {command}", tmp_path / "canary")
    assert said.returncode != 0


@pytest.mark.parametrize(
    ("cpu", "disk", "steps"),
    [
        (1, 1, ["start", "cpu", "disk", "end"]),
        (1, 0, ["start", "cpu"]),
        (0, 1, ["start", "disk", "end"]),
        (0, 0, ["start"]),
    ],
)
def test_a_workload_of_nothing_is_left_out(cpu: int, disk: int, steps: list[str]) -> None:
    text = dockerfile(MARK, CanarySettings(base_image="busybox:1", cpu=cpu, disk=disk))
    assert text.startswith("FROM busybox:1\n")
    assert re.findall(rf": {MARK} (\w+)", text) == steps


@pytest.mark.parametrize(
    ("driver", "exporter"),
    [(Driver.DOCKER, "moby"), (Driver.CONTAINER, "image"), (Driver.REMOTE, "image")],
)
def test_a_build_without_session_cache_or_history(driver: Driver, exporter: str) -> None:
    request = solve_request(MARK, "linux/arm64", SETTINGS, driver)
    assert (request.Ref, request.Internal, request.Session) == (MARK, True, "")
    assert dict(request.FrontendAttrs) == {"platform": "linux/arm64", "no-cache": ""}
    assert set(request.FrontendInputs) == {"context", "dockerfile"}
    assert dockerfile(MARK, SETTINGS).encode() in request.SerializeToString()
    assert request.Exporter == exporter


# As BuildKit 0.32 told it: a layer is resolved, pulled and unpacked in parts; two messages of one
# part; what belongs to no step.
PULL = (
    Told("sha256:f", f"{MARK} dockerfile", 0.0, 0.01),
    Told("sha256:m", "[internal] load metadata for docker.io/library/busybox:1", 0.01, 0.03),
    Told("sha256:b", "[1/4] FROM docker.io/library/busybox:1@sha256:6", 0.04, 0.05),
    Told("sha256:b", "[1/4] FROM docker.io/library/busybox:1@sha256:6", 0.05),
    Told("sha256:b", "[1/4] FROM docker.io/library/busybox:1@sha256:6", 0.05, 0.15),
    Told("sha256:b", "[1/4] FROM docker.io/library/busybox:1@sha256:6", 0.10, 0.20),
)
START = Told("sha256:s", RUN.format("[2/4]", "start"), 0.3, 0.4)
CPU = Told("sha256:c", RUN.format("[linux/arm64 3/4]", "cpu; head -c 9"), 0.4, 2.4)
DISK = Told("sha256:d", RUN.format("[4/4]", "disk; cd /canary"), 2.5, 2.75)
EXPORT = Told("sha256:e", "exporting to image", 3.0, 3.5)


def _timeline(*told: Told, settings: CanarySettings = SETTINGS) -> Timeline:
    timeline = Timeline(MARK, settings)
    for one in told:
        timeline.feed(message(one))
    return timeline


def test_a_step_takes_as_long_as_anything_of_it_was_under_way() -> None:
    done = _timeline(*PULL, START, CPU, DISK, EXPORT).done()
    assert list(done) == [Step.PULL, Step.CPU, Step.DISK, Step.EXPORT]
    assert {step: round(time.seconds, 6) for step, time in done.items()} == {
        Step.PULL: 0.18,
        Step.CPU: 2.0,
        Step.DISK: 0.25,
        Step.EXPORT: 0.5,
    }
    rates = [None if (rate := t.throughput) is None else round(rate / MIB) for t in done.values()]
    assert rates == [None, 32, 128, 16]


def test_steps_are_told_when_they_begin_and_end() -> None:
    """Getting the base image goes on until something is done with it."""
    timeline = Timeline(MARK, SETTINGS)
    seen: list[tuple[Step | None, int]] = []
    for told in (*PULL, START, CPU.begun, CPU, DISK.begun, DISK, EXPORT.begun, EXPORT):
        timeline.feed(message(told))
        now = (timeline.running, len(timeline.done()))
        if not seen or seen[-1] != now:
            seen.append(now)
    assert seen == [
        (None, 0),
        (Step.PULL, 0),
        (None, 1),
        (Step.CPU, 1),
        (None, 2),
        (Step.DISK, 2),
        (None, 3),
        (Step.EXPORT, 3),
        (None, 4),
    ]


def test_a_base_image_that_was_there_is_told_from_one_that_was_pulled() -> None:
    cached = Told("sha256:b", "[1/4] FROM docker.io/library/busybox:1", 0.05, 0.05, cached=True)
    assert not _timeline(*PULL, START).done()[Step.PULL].cached
    assert _timeline(*PULL, cached, START).done()[Step.PULL].cached


def test_a_part_of_the_pull_whose_end_is_not_told_hides_no_step() -> None:
    """BuildKit 0.8 may begin a part anew without ending it."""
    timeline = _timeline(*PULL, replace(PULL[-1].begun, started=0.21), START, CPU.begun)
    assert timeline.running is Step.CPU
    assert list(timeline.done()) == [Step.PULL]


def test_a_step_that_failed_has_no_time() -> None:
    failed = Told("sha256:d", DISK.name, 2.5, 2.6, error="exit code: 1")
    assert Step.DISK not in _timeline(*PULL, START, CPU, failed).done()
    assert _timeline(*PULL, START, CPU, failed).done()[Step.CPU] == StepTime(2.0, 64 * MIB)


COMMAND = f'"/bin/sh -c : {MARK} disk; cd /canary: && x" did not complete successfully'


@pytest.mark.parametrize(
    ("failed", "log", "said", "detail"),
    [
        (
            Told("sha256:d", DISK.name, 2.5, 2.6, error=f"process {COMMAND}: exit code: 1"),
            b"dd: error writing 'file':\tNo space left\n\n",
            f"process {COMMAND}: exit code: 1",
            "disk: exit code: 1: dd: error writing 'file': No space left",
        ),
        (
            Told(
                "sha256:c",
                CPU.name,
                0.4,
                2.4,
                error="executor failed running [/bin/sh -c : x]: exit code: 137",
            ),
            b"",
            "failed to solve with frontend dockerfile.v0: failed to build LLB: exit code: 137",
            "cpu: exit code: 137",
        ),
        (
            Told("sha256:c", CPU.name, 0.4, 2.4, error="exit code: 1"),
            b"\x1b[31msha256sum:\0 no\x07\n",
            "exit code: 1",
            "cpu: exit code: 1: [31msha256sum: no",
        ),
        (
            Told("sha256:m", PULL[1].name, 0.1, 0.2, error="docker.io/library/nope:1: not found"),
            b"",
            "docker.io/library/nope:1: failed to resolve source metadata",
            "pull: docker.io/library/nope:1: not found",
        ),
        (
            Told("sha256:z", "[internal] load .dockerignore", 0.1, 0.2, error="no session"),
            b"",
            "failed to solve: failed to create LLB definition: dockerfile parse error\non line 2",
            "dockerfile parse error on line 2",
        ),
    ],
)
def test_why_it_failed_in_a_line(failed: Told, log: bytes, said: str, detail: str) -> None:
    """BuildKit's sentences repeat the whole command; what the command wrote last tells more."""
    timeline = _timeline(failed)
    timeline.feed(pb.StatusResponse(logs=[pb.VertexLog(vertex=failed.digest, msg=log)]))
    timeline.feed(pb.StatusResponse(logs=[pb.VertexLog(vertex=failed.digest, msg=b"\n")]))
    assert timeline.explain(said) == detail
