"""One simulated BuildKit: its cache, its builds, and how the one follows from the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from exporter.buildkit import control_pb2 as pb
from exporter.demo.blueprints import BuilderPlan
from exporter.demo.cache import CacheStore, Mount, PruneLimits, Record
from exporter.demo.history import History
from exporter.demo.jobs import Jobs

_DAY = 86400.0

_GC_PAUSE = 60.0

# Kinds of record, how often they come, and how large they are compared to the mean.
_KINDS = (
    ("regular", 0.72, 1.1),
    ("source.local", 0.14, 0.4),
    ("exec.cachemount", 0.08, 1.6),
    ("internal", 0.04, 0.02),
    ("frontend", 0.02, 0.3),
)
NO_SPACE = "failed to copy: write /var/lib/buildkit: no space left on device"

_STEPS = (
    "[builder 3/7] RUN go mod download",
    "[builder 5/7] RUN make",
    "[stage-1 2/4] RUN apt-get update && apt-get install -y ca-certificates",
    "[deps 2/3] RUN npm ci",
    "[test 1/1] RUN make test",
    "[stage-1 4/4] COPY --from=builder /out /usr/local/bin",
)


@dataclass(frozen=True, slots=True)
class Build:
    """A build that runs, and the records it uses."""

    ref: str
    held: tuple[Record, ...]


class SimulatedBuilder:
    """A builder's state. Nothing happens by itself: see :mod:`exporter.demo.story`."""

    def __init__(
        self, plan: BuilderPlan, platform: str, rng: Random, clock: Callable[[], float]
    ) -> None:
        self.plan = plan
        self.name = plan.name
        self.platform = platform
        self.running = True
        """False: its container is stopped."""
        self.cache = CacheStore(rng)
        self.history = History(rng, clock)
        self.builds: dict[str, Build] = {}
        """What its users build."""
        self.jobs = Jobs(clock)
        """What clients build by ``Solve``."""
        self.made: dict[str, Record] = {}
        """The records that their steps left, by the digest of the vertex."""
        self.mounts: dict[str, Mount] = {}
        """Their cache mounts, by ID."""
        self.prunes: list[pb.PruneRequest] = []
        """Every Prune request as it came."""
        self._rng = rng
        self._clock = clock
        self._collected = 0.0

    @property
    def release(self) -> tuple[int, ...]:
        """The version as numbers; empty where the daemon is too old to tell."""
        text = self.plan.version.lstrip("v")
        return tuple(int(part) for part in text.split(".")) if text else ()

    def populate(self, shared: float = 0.0) -> None:
        """Fill the cache and the history as weeks of builds would; ``shared`` with images."""
        rng, now = self._rng, self._clock()
        for _ in range(self.plan.records):
            kind = rng.choices([k for k, _, _ in _KINDS], [share for _, share, _ in _KINDS])[0]
            age = min(rng.expovariate(1 / (5 * _DAY)), 60 * _DAY)
            self.cache.add(
                kind=kind,
                size=self._size(kind),
                now=now - age - rng.uniform(0, 20 * _DAY),
                used=now - age,
                count=1 + int(rng.expovariate(0.2)),
                description=rng.choice(_STEPS),
                parents=self._base() if kind == "regular" else (),
                shared=kind == "regular" and rng.random() < shared,
            )
        for _ in range(12 if self.plan.build_every else 0):
            now -= rng.expovariate(1 / 600)
            ref = self.history.start(self._attributes(), at=now - rng.uniform(20, 300))
            error = self._error() if rng.random() < self.plan.failing else None
            steps = rng.randint(6, 22)
            self.history.complete(ref, steps, rng.randint(0, steps - 1), error, at=now)

    def start_build(self, platform: str | None = None) -> str:
        """Begin a build, which uses some of the cache; its reference."""
        now = self._clock()
        held = self._leaves(3)
        ref = self.history.start(self._attributes(platform))
        self.cache.hold(held, now)
        self.builds[ref] = Build(ref, tuple(held))
        return ref

    def finish_build(
        self, ref: str, adds: Sequence[int] = (), cached_steps: int = 0, error: str | None = None
    ) -> list[Record]:
        """End a build, which leaves a record of each size in ``adds`` on top of what it used."""
        now = self._clock()
        build = self.builds.pop(ref)
        self.cache.release(build.held, now)
        below = [r.id for r in build.held if r.kind == "regular"][:1]
        added = []
        for size in adds:
            step = self._rng.choice(_STEPS)
            record = self.cache.add(
                size=size, now=now, used=now, count=1, description=step, parents=below
            )
            below = [record.id]
            added.append(record)
        steps = len(adds) + cached_steps + (error is not None)
        self.history.complete(ref, steps, cached_steps, error)
        return added

    def invent_build(self) -> tuple[list[int], int, str | None]:
        """Think up how a build ends: sizes of what it adds, its cached steps, its error."""
        rng = self._rng
        adds = [self._size("regular") for _ in range(rng.randint(1, 7))]
        error = self._error() if rng.random() < self.plan.failing else None
        return adds, rng.randint(0, 14), error

    def crash(self) -> None:
        """Lose what only a running daemon knows."""
        for build in self.builds.values():
            self.cache.release(build.held, self._clock())
        self.builds.clear()
        self.jobs.lose()
        self.history.lose()

    def collect_garbage(self) -> None:
        """Do what BuildKit does after builds, at most once a minute: keep to its own cap."""
        now = self._clock()
        if self.plan.gc_keep is None or now - self._collected < _GC_PAUSE:
            return
        self._collected = now
        for _ in self.cache.prune(PruneLimits(all=True, reserved=self.plan.gc_keep), 0, now):
            pass

    def _leaves(self, count: int) -> list[Record]:
        """Some of users' records that nothing lies on, the lately used ones rather than others."""
        others = {record.id for record in self.made.values()}
        others |= {mount.record.id for mount in self.mounts.values()}
        found = [r for r in self.cache.records.values() if not r.children and r.id not in others]
        found.sort(key=lambda record: record.used or 0.0, reverse=True)
        pool = found[: 4 * count]
        return self._rng.sample(pool, min(count, len(pool)))

    def _base(self) -> list[str]:
        """What a new layer lies on: mostly one of the last layers, sometimes nothing."""
        lately = [r.id for r in list(self.cache.records.values())[-12:] if r.kind == "regular"]
        return [self._rng.choice(lately)] if lately and self._rng.random() < 0.75 else []

    def _size(self, kind: str) -> int:
        scale = next(scale for name, _, scale in _KINDS if name == kind)
        # The mean of exp(N(-0.5, 1)) is 1.
        return max(4096, int(self.plan.record_size * scale * self._rng.lognormvariate(-0.5, 1.0)))

    def _attributes(self, platform: str | None = None) -> dict[str, str]:
        repository = self._rng.choice(("api", "web", "worker", "tools"))
        return {
            "platform": platform or self.platform,
            "filename": "Dockerfile",
            "vcs:source": f"https://git.example.com/shop/{repository}.git",
        }

    def _error(self) -> str:
        target = self._rng.choice(("make test", "go build ./...", "npm ci"))
        return (
            f'process "/bin/sh -c {target}" did not complete successfully: '
            f"exit code: {self._rng.choice((1, 2, 137))}"
        )
