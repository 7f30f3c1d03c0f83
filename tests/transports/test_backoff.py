"""Attempts that fail are spaced out."""

from __future__ import annotations

from random import Random

import pytest

from exporter.errors import Layer, NodeError, Reason
from exporter.transports.base import Backoff

REFUSED = NodeError(Layer.TRANSPORT, Reason.REFUSED, "connection refused")


class Peer:
    """Counts attempts, and fails them while it is down."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.down = True
        self.attempts: list[float] = []

    async def connect(self) -> str:
        self.attempts.append(self.now)
        if self.down:
            raise REFUSED
        return "connected"


async def ask_often(peer: Peer, backoff: Backoff, seconds: float) -> list[float]:
    """Ask ten times a second; the pauses between attempts that were made."""
    peer.attempts.clear()
    for _ in range(int(seconds * 10)):
        with pytest.raises(NodeError, match="connection refused"):
            await backoff.attempt(peer.connect)
        peer.now += 0.1
    return [b - a for a, b in zip(peer.attempts, peer.attempts[1:], strict=False)]


async def test_each_pause_is_twice_as_long_up_to_the_cap_and_shortened_by_chance() -> None:
    peer = Peer()
    backoff = Backoff(cap=8.0, rng=Random(7), clock=lambda: peer.now)
    pauses = await ask_often(peer, backoff, 60)
    whole = [0.5, 1.0, 2.0, 4.0] + [8.0] * 50
    for pause, longest in zip(pauses, whole, strict=False):
        assert longest / 2 <= pause <= longest + 0.11
    assert len(set(pauses[4:])) > 1, "without jitter all nodes would come back at once"


async def test_two_nodes_do_not_keep_step() -> None:
    first, second = Peer(), Peer()
    pauses = await ask_often(first, Backoff(8.0, Random(1), lambda: first.now), 30)
    assert pauses != await ask_often(second, Backoff(8.0, Random(2), lambda: second.now), 30)


async def test_an_attempt_that_is_not_made_fails_as_the_last_one_did() -> None:
    peer = Peer()
    backoff = Backoff(cap=60.0, rng=Random(7), clock=lambda: peer.now)
    for _ in range(2):
        with pytest.raises(NodeError) as caught:
            await backoff.attempt(peer.connect)
        assert (caught.value.layer, caught.value.reason) == (Layer.TRANSPORT, Reason.REFUSED)
    assert len(peer.attempts) == 1


async def test_success_forgets_the_past() -> None:
    peer = Peer()
    backoff = Backoff(cap=60.0, rng=Random(7), clock=lambda: peer.now)
    await ask_often(peer, backoff, 20)
    peer.down = False
    peer.now += 60
    assert await backoff.attempt(peer.connect) == "connected"
    peer.down = True
    assert (await ask_often(peer, backoff, 2))[0] <= 0.6
