"""Ranking the nodes of a farm for a build: an order in which each place has its reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import log
from random import Random
from statistics import median
from typing import Any

from exporter.canaries import CanaryKey, CanaryRecord
from exporter.model import Snapshot
from exporter.routing.facts import Facts, facts
from exporter.routing.handouts import Handout, pending
from exporter.words import count, size

CANARY_COUNTS = 7 * 86400.0
"""Seconds after which a canary build says nothing any more."""

# Coarse, in times and in tenths of a disk: else noise would always decide, and never the turn.
_FASTER = 1.2
_TENTHS = 10

# Between a node that is idle and one that builds: nobody knows.
_UNKNOWN_LOAD = 0.5


@dataclass(frozen=True, slots=True, order=True)
class Merit:
    """What nodes are compared by, the weightiest first. Less is better."""

    emulated: bool
    low: bool
    failed: bool
    load: float
    slower: int
    fuller: int
    named_at: float
    node: str

    @property
    def plain(self) -> Merit:
        """The same without what decides between equals."""
        return replace(self, named_at=0.0, node="")

    def ahead_of(self, other: Merit) -> str:
        """In what the other one, which is worse, is so most of all."""
        return next(
            said for name, said in _WORSE.items() if getattr(self, name) != getattr(other, name)
        )


_WORSE = {
    "emulated": "which would emulate it",
    "low": "whose disk is low",
    "failed": "whose latest canary build failed",
    "load": "which has more to build",
    "slower": "which is slower by its canary builds",
    "fuller": "whose disk is fuller",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that can build it."""

    node: str
    builder: str
    emulated: bool
    running: int | None
    """Builds that run on its selected builders; ``None``: not all of them say."""
    handed_out: int
    """How often it was named for builds that are not seen yet."""
    disk_free: float | None
    """Share of the disk, or of its inodes where less of these is left; ``None``: not known."""
    throughput: float | None
    """Bytes per second that the latest canary build hashed; ``None``: not known."""
    why: str
    """What is known of it, for people."""
    merit: Merit = field(repr=False)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A node that can't build it now, and why, for people."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """The nodes of a farm for one platform, the best one first."""

    platform: str
    candidates: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def equals(self) -> tuple[Candidate, ...]:
        """The best candidates: those that only taking turns decides between."""
        merits = [candidate.merit.plain for candidate in self.candidates]
        return self.candidates[: merits.count(merits[0])] if merits else ()

    @property
    def why(self) -> str:
        """Why the first candidate is the best, or why there is none. For people."""
        if not self.candidates:
            nodes = "; ".join(f"{out.node}: {out.why}" for out in self.left_out)
            return f"no node can build {self.platform} now: {nodes or 'there is no node'}"
        best, equals = self.candidates[0], self.equals
        said = [best.why]
        if len(equals) > 1:
            said.append(f"as good as {', '.join(other.node for other in equals[1:])}")
        if worse := self.candidates[len(equals) :]:
            said.append(f"ahead of {worse[0].node}, {best.merit.ahead_of(worse[0].merit)}")
        return "; ".join(said)

    def drawn(self, rng: Random) -> Ranking:
        """The same with the best ones in random order: for who does not know whose turn it is."""
        equals = list(self.equals)
        rng.shuffle(equals)
        return replace(self, candidates=(*equals, *self.candidates[len(equals) :]))

    def document(self) -> dict[str, Any]:
        """The ranking as programs are told of it."""
        shown = ("builder", "emulated", "running", "handed_out", "disk_free", "throughput", "why")
        best = self.candidates[0] if self.candidates else None
        return {
            "platform": self.platform,
            "node": best and best.node,
            "builder": best and best.builder,
            "emulated": best and best.emulated,
            "why": self.why,
            "candidates": [
                {"node": c.node, **{name: getattr(c, name) for name in shown}}
                for c in self.candidates
            ],
            "left_out": [{"node": out.node, "why": out.why} for out in self.left_out],
        }


def rank(
    snapshots: Iterable[Snapshot],
    platform: str,
    now: float,
    canaries: Mapping[CanaryKey, CanaryRecord] | None = None,
    handed: Iterable[Handout] = (),
) -> Ranking:
    """Rank the nodes of a farm for a build of one platform.

    ``platform`` as :func:`~exporter.platforms.normalise_platform` writes it. ``canaries``: the
    latest canary build of each builder and platform. ``handed``: which nodes were named before.
    """
    latest = {k: c for k, c in (canaries or {}).items() if now - c.finished_at < CANARY_COUNTS}
    named: dict[str, list[Handout]] = {}
    for handout in handed:
        named.setdefault(handout.node, []).append(handout)
    found: list[tuple[Facts, int]] = []
    left_out: list[LeftOut] = []
    for snapshot in snapshots:
        known = facts(snapshot, platform, now, latest)
        if isinstance(known, str):
            left_out.append(LeftOut(snapshot.node.name, known))
        else:
            found.append((known, pending(snapshot, named.get(known.node, ()), now)))
    named_at = {node: max(handout.at for handout in its) for node, its in named.items()}
    usual = {how: _usual(f for f, _ in found if f.emulated is how) for how in (False, True)}
    candidates = [
        _candidate(known, waiting, usual[known.emulated], named_at.get(known.node, 0.0))
        for known, waiting in found
    ]
    return Ranking(
        platform,
        tuple(sorted(candidates, key=lambda candidate: candidate.merit)),
        tuple(sorted(left_out, key=lambda out: out.node)),
    )


def order(
    snapshots: Collection[Snapshot],
    platforms: Iterable[str],
    now: float,
    canaries: Mapping[CanaryKey, CanaryRecord] | None = None,
) -> tuple[Candidate | LeftOut, ...]:
    """Order all nodes of a farm, the best ones first, for builds of any of these platforms.

    A node counts by the platform that it is best for. Those that can build none come last.
    """
    best: dict[str, Candidate] = {}
    out: dict[str, LeftOut] = {}
    for platform in platforms:
        ranking = rank(snapshots, platform, now, canaries)
        for candidate in ranking.candidates:
            known = best.get(candidate.node)
            if known is None or candidate.merit < known.merit:
                best[candidate.node] = candidate
        for left in ranking.left_out:
            out.setdefault(left.node, left)
    able = sorted(best.values(), key=lambda candidate: candidate.merit)
    return (*able, *(left for name, left in sorted(out.items()) if name not in best))


def _usual(found: Iterable[Facts]) -> float | None:
    """The throughput in the middle."""
    known = [f.throughput for f in found if f.throughput is not None]
    return median(known) if known else None


def _candidate(known: Facts, waiting: int, usual: float | None, named_at: float) -> Candidate:
    room, speed = known.room, known.throughput
    merit = Merit(
        emulated=known.emulated,
        low=room is not None and room.low,
        failed=known.canary_failed,
        load=(_UNKNOWN_LOAD if known.running is None else known.running) + waiting,
        # Where nothing is known: as the usual node, as a disk half full.
        slower=-round(log(speed / usual, _FASTER)) if speed and usual else 0,
        fuller=-int((room.share if room else 0.5) * _TENTHS),
        named_at=named_at,
        node=known.node,
    )
    return Candidate(
        node=known.node,
        builder=known.builder.name,
        emulated=known.emulated,
        running=known.running,
        handed_out=waiting,
        disk_free=room.share if room else None,
        throughput=speed,
        why="; ".join(_say(known, waiting)),
        merit=merit,
    )


def _say(known: Facts, waiting: int) -> Iterator[str]:
    how = "emulated (slow)" if known.emulated else "native"
    yield f"{how} on {known.builder.name}"
    builds = "no word of running builds" if known.running is None else _running(known.running)
    yield f"{builds}, {waiting} more on the way" if waiting else builds
    if known.room is not None:
        yield f"{'low: only ' if known.room.low else ''}{known.room}"
    if known.canary is not None and known.canary_failed:
        yield f"its latest canary build failed ({known.canary.outcome})"
    elif known.throughput:
        yield f"{size(known.throughput)}/s by canary"


def _running(number: int) -> str:
    return f"{count(number, 'build')} running" if number else "no build running"
