"""The daemon over many simulated nodes, each part a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from exporter.model import CollectSettings
from tests.bench import cpu
from tests.realfarm.daemon import Daemon, running
from tests.realfarm.shell import FarmError, tail, wait_for

_UP = re.compile(r'^buildfarm_node_up\{node="([^"]*)"\} 1', re.MULTILINE)
_LAST_SUCCESS = re.compile(
    r"^buildfarm_collector_last_success_timestamp_seconds\{(.*)\} (\S+)$", re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

COLLECTORS = ("reachability", "disk", "cache", "workers")


@dataclass(slots=True)
class Result:
    """How the daemon did, over the time that was measured."""

    nodes: int
    seconds: float
    cpu_share: float
    """Of one CPU."""
    rss: int
    """Bytes in memory at the end; ``peak`` is the most ever."""
    peak: int
    page: int
    """Bytes of ``/metrics``."""
    scrapes: list[float] = field(default_factory=list)
    """Seconds of each scrape."""
    health: list[float] = field(default_factory=list)
    """Seconds of each ``/-/healthy``, which does nothing: how long the event loop made it wait."""
    staleness: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Interval of each collector, and the oldest age of a node's last success, in seconds."""
    up: int = 0
    """Nodes that were up at the end."""


def measure(nodes: int, warm_up: float, seconds: float) -> Result:
    """Run a farm of so many nodes and the daemon at its default intervals."""
    with (
        TemporaryDirectory(prefix="buildfarm-load-") as folder,
        _demo(nodes, Path(folder)) as config,
        running(config, Path(folder), _environment(folder), timeout=120) as daemon,
    ):
        wait_for(
            "every node's first collections",
            lambda: len(daemon.scrape().all("buildfarm_cache_reclaimable_bytes")) >= nodes,
            timeout=warm_up + 240,
            every=2.0,
            why=daemon.said,
        )
        time.sleep(warm_up)
        return _watch(daemon, nodes, seconds)


def _watch(daemon: Daemon, nodes: int, seconds: float) -> Result:
    pid = daemon.process.pid
    result = Result(nodes, seconds, 0.0, 0, 0, 0)
    end = threading.Event()
    pinging = threading.Thread(target=_ping, args=(daemon, result, end), name="health")
    used, start = cpu.of(pid), time.monotonic()
    pinging.start()
    oldest: dict[str, float] = {}
    try:
        while (now := time.monotonic()) < start + seconds:
            before = time.perf_counter()
            _, text = daemon.get("/metrics")
            result.scrapes.append(time.perf_counter() - before)
            result.page = len(text.encode())
            for name, age in _ages(text):
                oldest[name] = max(age, oldest.get(name, 0.0))
            time.sleep(max(0.0, now + 1.0 - time.monotonic()))
    finally:
        end.set()
        pinging.join()
    result.cpu_share = (cpu.of(pid) - used) / (time.monotonic() - start)
    defaults = CollectSettings()
    result.staleness = {name: (getattr(defaults, name), oldest[name]) for name in COLLECTORS}
    result.up = len([up for up in daemon.scrape().all("buildfarm_node_up").values() if up == 1])
    memory = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    result.rss, result.peak = (int(memory[k].split()[0]) * 1024 for k in ("VmRSS", "VmHWM"))
    return result


def _ages(page: str) -> Iterator[tuple[str, float]]:
    """Give the age of every collector's last success on every node that is up, in seconds.

    On a simulated farm some node or other is always down for a while, on purpose.
    """
    now = time.time()
    up = set(_UP.findall(page))
    for text, stamp in _LAST_SUCCESS.findall(page):
        labels = dict(_LABEL.findall(text))
        if labels["node"] in up:
            yield labels["collector"], now - float(stamp)


def _ping(daemon: Daemon, result: Result, end: threading.Event) -> None:
    while not end.wait(0.05):
        before = time.perf_counter()
        daemon.get("/-/healthy")
        result.health.append(time.perf_counter() - before)


@contextmanager
def _demo(nodes: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Raise the simulated farm; its configuration."""
    file, log = folder / "farm.yml", folder / "farm.log"
    argv = [sys.executable, "-m", "exporter.demo", f"--nodes={nodes}", "--seed=1"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*argv, f"--config-out={file}"], stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )

    def up() -> bool:
        if process.poll() is not None:
            raise FarmError(f"the demo farm ended with {process.returncode}:\n{said()}")
        return file.exists() and file.stat().st_size > 0

    def said() -> str:
        return tail(log.read_text(errors="replace"))

    try:
        wait_for("the demo farm", up, timeout=240, every=0.5, why=said)
        yield yaml.safe_load(file.read_text())
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(folder: str) -> dict[str, str]:
    return {"HOME": folder, "XDG_STATE_HOME": folder, "PATH": "/usr/bin:/bin"}


def spread(values: list[float]) -> str:
    """Median, 99th percentile and maximum, in milliseconds."""
    p99 = quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]
    return " / ".join(f"{1000 * value:.1f}" for value in (median(values), p99, max(values)))
