"""Users' builds: by the real buildx from outside, from inside a node that is cut off, and told."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from tests.realfarm.daemon import Daemon, Scrape
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.shell import FarmError

CONTEXT = "new-engine"
"""The user's Docker context of the node ``new``."""

HOW = {
    "docker": [f"--context={CONTEXT}", "buildx"],
    "farm0": ["buildx", "--builder=farm"],
    "buildkitd": ["buildx", "--builder=kitd"],
}
"""How the user's docker names a builder."""

NODES = {"docker": "new", "farm0": "new", "buildkitd": "kitd"}


@dataclass(frozen=True, slots=True)
class Counted:
    """Numbers of builds and of their steps."""

    ended: int
    failed: int
    steps: int
    cached: int
    seconds: float = field(compare=False)
    """How long all took together; to be compared approximately."""

    def __sub__(self, other: Counted) -> Counted:
        return Counted(
            self.ended - other.ended,
            self.failed - other.failed,
            self.steps - other.steps,
            self.cached - other.cached,
            self.seconds - other.seconds,
        )


def make_context(farm: Farm) -> None:
    """Let the user's docker know the node ``new``."""
    if CONTEXT not in farm.client.docker("context", "ls", "--quiet").split():
        endpoint = f"host={farm['new'].endpoint}"
        farm.client.docker("context", "create", CONTEXT, "--docker", endpoint)


def buildx(farm: Farm, builder: str, steps: Iterable[str], *options: str) -> int:
    """Build these RUN steps as a user does; the exit code."""
    argv = ["docker", *HOW[builder], "build", "--progress=plain", *options, "-"]
    return farm.client.run(argv, stdin=dockerfile(steps), check=False).returncode


def at_once(farm: Farm, builder: str, builds: Iterable[Iterable[str]]) -> list[int]:
    """Build all of these at once."""
    rows = [list(steps) for steps in builds]
    with ThreadPoolExecutor(len(rows), "build") as pool:
        return list(pool.map(lambda steps: buildx(farm, builder, steps), rows))


class Interrupted:
    """A build in a terminal, to be ended by Ctrl-C."""

    def __init__(self, farm: Farm, builder: str, steps: Iterable[str]) -> None:
        env = farm.client.env
        docker = shutil.which("docker", path=env["PATH"]) or "docker"
        self._process = subprocess.Popen(
            [docker, *HOW[builder], "build", "--progress=plain", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(dockerfile(steps).encode())
        self._process.stdin.close()

    def interrupt(self) -> int:
        """Press Ctrl-C, if it still runs; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        return self._process.wait(60)


def build_inside(node: Node, builder: str, *, fails: bool = False) -> int:
    """Build something new on the node itself, without any network; the exit code."""
    text = f"FROM scratch\nCOPY {'missing' if fails else 'Dockerfile'} /\n# {uuid4()}\n"
    if builder == "docker":
        folder = inside = f"{node.root}/context"
        argv = ["docker", "build", "--quiet", inside]
    else:
        argv = ["buildctl", "build", "--progress=plain", "--frontend=dockerfile.v0"]
        if builder == "buildkitd":
            folder = inside = f"{node.root}/context"
        else:
            argv = ["docker", "exec", node.container_name, *argv]
            folder = f"{node.root}/volumes/{node.container_name}_state/_data/context"
            inside = "/var/lib/buildkit/context"
        argv += [f"--local=context={inside}", f"--local=dockerfile={inside}"]
    node.run(["mkdir", "-p", folder])
    node.run(["cp", "/dev/stdin", f"{folder}/Dockerfile"], stdin=text)
    return node.run(argv, env={"DOCKER_BUILDKIT": "1"}, check=False).returncode


def dockerfile(steps: Iterable[str]) -> str:
    """On busybox, these steps."""
    return "".join(["FROM busybox\n", *(f"RUN {step}\n" for step in steps)])


def history(farm: Farm, builder: str) -> Counted:
    """What ``docker buildx history ls`` says of the builds that ended."""
    argv = [*HOW[builder], "history", "ls", "--format=json"]
    rows = [json.loads(line) for line in farm.client.docker(*argv).splitlines()]
    ended = [row for row in rows if row["status"] != "Running"]
    if unknown := {row["status"] for row in ended} - {"Completed", "Error", "Canceled"}:
        raise FarmError(f"statuses of builds that nobody knows: {unknown}")
    return Counted(
        ended=len(ended),
        failed=sum(row["status"] != "Completed" for row in ended),
        steps=sum(row["total_steps"] for row in ended),
        cached=sum(row["cached_steps"] for row in ended),
        seconds=sum(_time(row["completed_at"]) - _time(row["created_at"]) for row in ended),
    )


def counted(scrape: Scrape, builder: str) -> Counted:
    """What the exporter says of the builds that ended."""
    labels = {"node": NODES[builder], "builder": builder}

    def value(name: str) -> float:
        return scrape.value(f"buildfarm_{name}", **labels)

    ended = int(value("builds_total"))
    assert ended == value("build_duration_seconds_count")
    assert ended == scrape.value("buildfarm_build_duration_seconds_bucket", le="+Inf", **labels)
    return Counted(
        ended=ended,
        failed=int(value("builds_failed_total")),
        steps=int(value("build_steps_total")),
        cached=int(value("build_steps_cached_total")),
        seconds=value("build_duration_seconds_sum"),
    )


def wait_running(daemon: Daemon, builder: str, number: int) -> Scrape:
    """Wait until so many builds run."""
    labels = {"node": NODES[builder], "builder": builder}
    return daemon.wait(
        f"{number} running builds on {builder}",
        lambda scrape: scrape.get("buildfarm_builds_running", **labels) == number,
    )


def wait_ended(daemon: Daemon, builder: str, number: int) -> Counted:
    """Wait until so many builds ended and none runs; what is said of them."""
    labels = {"node": NODES[builder], "builder": builder}

    def so(scrape: Scrape) -> bool:
        return (
            scrape.get("buildfarm_builds_total", **labels) == number
            and scrape.get("buildfarm_builds_running", **labels) == 0
        )

    return counted(daemon.wait(f"{number} builds on {builder}", so), builder)


def _time(text: str) -> float:
    """Seconds since the epoch; Go writes nanoseconds, and no zeros at the end."""
    whole, _, part = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{part or 0}")
