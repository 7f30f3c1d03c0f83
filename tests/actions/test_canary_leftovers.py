"""A canary's records are told from users', whatever BuildKit's version describes them by."""

from __future__ import annotations

import pytest

from exporter.actions.canary_leftovers import Leftovers, Traces
from exporter.buildkit import control_pb2 as pb
from tests.actions.canaries import MARK, record

KILLED = "buildfarm-canary-dead"
EXEC = "mount / from exec /bin/sh -c : {} {}"
PULLED = "pulled from docker.io/library/busybox:stable@sha256:b682"

USERS = (
    record("u0", "pulled from docker.io/library/golang:1@sha256:1", at=-50),
    record("u1", "mount / from exec /bin/sh -c make", "u0", at=-40),
    record("u2", "fileop target", at=-30, Size=404),
    record("u3", PULLED, at=-20),
)
BEFORE = frozenset(one.ID for one in USERS)
MADE = (
    record("c0", f"{MARK} dockerfile", at=1),
    record("b0", PULLED, at=2),
    record("c1", EXEC.format(MARK, "start"), "b0", at=3),
    record("c2", EXEC.format(MARK, "cpu; head"), "c1", at=4),
    record("c3", f"cached mount /canary from exec /bin/sh -c : {MARK} disk", at=5),
)
OWN = {"c0", "c1", "c2", "c3"}


def _find(*records: pb.UsageRecord) -> Leftovers:
    traces = Traces(MARK, "docker.io/library/busybox:stable", 404, BEFORE)
    return traces.find(records)


def test_what_it_made_and_pulled() -> None:
    assert _find(*USERS, *MADE) == Leftovers(frozenset(OWN), frozenset(OWN | {"b0"}), pulled=True)


def test_nothing_where_nothing_is() -> None:
    assert _find(*USERS) == Leftovers(frozenset(), frozenset(), pulled=False)


def test_a_base_image_that_was_there_before_stays() -> None:
    on_users = [one for one in MADE if one.ID not in ("b0", "c1")]
    on_users.append(record("c1", EXEC.format(MARK, "start"), "u3", at=3))
    assert _find(*USERS, *on_users) == Leftovers(frozenset(OWN), frozenset(OWN), pulled=False)


def test_a_base_image_that_the_engine_had_was_not_pulled() -> None:
    """An Engine's BuildKit makes a record of it, which goes again."""
    local = record("b0", "from local ", at=2, Size=0)
    found = _find(*USERS, *(local if one.ID == "b0" else one for one in MADE))
    assert found == Leftovers(frozenset(OWN), frozenset(OWN | {"b0"}), pulled=False)


def test_every_layer_of_the_base_image_goes() -> None:
    lower = record("b1", "from local ", at=2)
    upper = record("b0", PULLED, "b1", at=2)
    found = _find(*USERS, lower, *(upper if one.ID == "b0" else one for one in MADE))
    assert found.removable == OWN | {"b0", "b1"}


def test_what_users_made_meanwhile_stays() -> None:
    """Images that they pulled as well: nothing in the cache tells who uses those."""
    meanwhile = [
        record("n0", "pulled from docker.io/library/golang:1@sha256:1", at=2),
        record("n1", "mount / from exec /bin/sh -c make", "n0", at=3),
        record("n2", "fileop target", "n0", at=3, Size=404),
        record("n3", "fileop target", at=3, Size=405),
        record("n4", "local source for context", at=3),
    ]
    assert _find(*USERS, *MADE, *meanwhile).removable == OWN | {"b0"}


def test_buildkit_0_8_tells_neither_the_dockerfile_nor_several_parents() -> None:
    made = [
        record("c0", "fileop target", at=1, Size=404, Mutable=True),
        record("b0", PULLED, at=2),
        record("c1", EXEC.format(MARK, "start"), at=3, Parent="b0"),
    ]
    found = _find(*USERS, *made)
    assert found == Leftovers(frozenset({"c0", "c1"}), frozenset({"c0", "c1", "b0"}), pulled=True)


def test_the_base_image_goes_where_no_command_could_run_on_it() -> None:
    found = _find(*USERS, MADE[0], MADE[1])
    assert found == Leftovers(frozenset({"c0"}), frozenset({"c0", "b0"}), pulled=True)


def test_what_a_killed_canary_left_goes_too() -> None:
    killed = [
        record("k0", f"{KILLED} dockerfile", at=-10),
        record("k1", PULLED, at=-9),
        record("k2", EXEC.format(KILLED, "start"), "k1", at=-8),
    ]
    found = _find(*USERS, *killed, *MADE)
    assert found.own == OWN
    assert found.removable == OWN | {"b0", "k0", "k1", "k2"}


def test_a_killed_canarys_base_image_stays_where_users_had_it_before() -> None:
    killed = [
        record("k0", f"{KILLED} dockerfile", at=-10),
        record("k2", EXEC.format(KILLED, "start"), "u3", at=-8),
    ]
    assert _find(*USERS, *killed).removable == {"k0", "k2"}


@pytest.mark.parametrize("mark", [MARK, KILLED])
def test_as_long_as_a_record_is_held_the_first_one_stays(mark: str) -> None:
    """By which the next canary tells that the base image was this one's."""
    made = [
        record("c0", f"{mark} dockerfile", at=1),
        record("b0", PULLED.replace("busybox", "alpine"), at=2, InUse=True),
        record("c1", EXEC.format(mark, "cpu; head"), "b0", at=3, InUse=True),
        record("c2", f"cached mount /canary from exec /bin/sh -c : {mark} disk", at=4),
    ]
    assert _find(*USERS, *made).removable == {"c2"}
