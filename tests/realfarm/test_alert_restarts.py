"""Alerts while Alertmanager is away and while the daemon is killed: nothing is lost, and nothing is
told twice. All this happens to one full disk, seen by several daemons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.realfarm.alertmanager import (
    Alertmanager,
    Receiver,
    alertmanagers,
    receiving,
    sent_more,
)
from tests.realfarm.daemon import Daemon, running
from tests.realfarm.farm import Farm
from tests.realfarm.shell import FarmError, wait_for

FOR = 12
KILLED = ("pending", "firing", "repaired", "long", "resolving")
"""When each daemon is killed. ``repaired``: the disk is repaired before it is back; ``long``: and
Alertmanager has taken the alert for ended by then."""
AWAY = {"before": 1, "during": 1, "after": 1, "one-before": 2, "one-during": 2, "one-after": 2}
"""When an Alertmanager is stopped, and of how many replicas it is one."""
CLUSTER = "cluster"
"""The two replicas that hear from the daemons that are killed."""
STEADY = "steady"
"""The daemon that tells those that are away."""

Alert = Mapping[str, Any]


@dataclass
class Watcher:
    """A daemon that can be killed and started again: its history stays."""

    farm: Farm
    folder: Path
    config: Mapping[str, Any]
    daemon: Daemon = field(init=False)
    _life: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        """Run, until it has looked."""
        env = self.farm.client.env | {"XDG_STATE_HOME": str(self.folder)}
        self.daemon = self._life.enter_context(running(self.config, self.folder, env))

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.daemon.process.kill()
        self.daemon.process.wait(30)
        with pytest.raises(FarmError, match="ended with -9"):
            self._life.close()

    def stop(self) -> None:
        """End it as an operator does."""
        self._life.close()

    def alert(self) -> Alert:
        """The one it has.

        :raises ValueError: when it has none, or several.
        """
        (alert,) = self.daemon.json("/api/v1/alerts")["alerts"]
        return dict(alert)

    def wait(self, state: str) -> Alert:
        """Wait until its alert is so."""

        def there() -> bool:
            alerts = self.daemon.json("/api/v1/alerts")["alerts"]
            return [alert["state"] for alert in alerts] == [state]

        wait_for(f"{self.folder.name}: {state}", there, timeout=60, why=self.daemon.said)
        return self.alert()


@dataclass
class Story:
    """Who takes part, and what is kept of it."""

    receiver: Receiver
    managers: dict[str, list[Alertmanager]] = field(default_factory=dict)
    watchers: dict[str, Watcher] = field(default_factory=dict)
    clock: list[Alert] = field(default_factory=list)
    """The alert of the daemon that is killed while it is pending: before, and after."""
    starts: list[str] = field(default_factory=list)
    """Since when Alertmanager takes it to be firing, before and after a restart of the daemon."""

    def told(self, farm: str, by: str) -> list[str]:
        """What was told of the alert of one daemon."""
        return self.receiver.statuses(by, farm=farm)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Each daemon with those that hear from it."""
        return [(STEADY, name) for name in AWAY] + [(name, CLUSTER) for name in KILLED]

    def everywhere(self, *statuses: str) -> None:
        """Wait until this was told of every alert."""
        wait_for(
            f"all to be told {statuses}",
            lambda: all(len(self.told(*row)) >= len(statuses) for row in self.rows),
            timeout=60,
            why=lambda: str({row: self.told(*row) for row in self.rows}),
        )

    def goes_on(self, *watchers: str) -> None:
        """Wait until each has sent what it has some times more, for all to have heard."""
        for watcher in watchers:
            daemon = self.watchers[watcher].daemon
            daemon.wait("more to be sent", sent_more(daemon.scrape(), 2))

    def away(self, when: str) -> list[Alertmanager]:
        """Those that are stopped at that time."""
        return [self.managers[name][0] for name in (when, f"one-{when}")]


@pytest.fixture(scope="module")
def story(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("restarts")
    with ExitStack() as stack:
        story = Story(stack.enter_context(receiving()))

        def raise_managers(row: tuple[str, int]) -> None:
            name, replicas = row
            made = alertmanagers(folder / name, story.receiver.url(name), replicas)
            story.managers[name] = stack.enter_context(made)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(raise_managers, [*AWAY.items(), (CLUSTER, 2)]))
        for name in (STEADY, *KILLED):
            (folder / f"daemon-{name}").mkdir()
            hears = [CLUSTER] if name in KILLED else list(AWAY)
            config = _config(farm, name, [m for each in hears for m in story.managers[each]])
            story.watchers[name] = Watcher(farm, folder / f"daemon-{name}", config)
            stack.callback(story.watchers[name].stop)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(Watcher.start, story.watchers.values()))
        with farm["local"].disk.filled(leave_mb=50):
            _trouble(story)
        _end(story)
        yield story


def _config(farm: Farm, name: str, managers: list[Alertmanager]) -> dict[str, Any]:
    return farm.config(
        "local",
        collect={"reachability": "1s", "disk": "1s"},
        alerting={
            "alertmanagers": [{"url": manager.url} for manager in managers],
            "labels": {"farm": name},
            "resend": "1s",
            "alerts": {
                "BuildFarmDiskLow": {"for": f"{FOR}s"},
                "BuildFarmDiskFullSoon": {"enabled": False},
            },
        },
    )


def _trouble(story: Story) -> None:
    """The disk is full: from the first look at it until everybody was told."""
    for manager in story.away("before"):
        manager.stop()
    for watcher in story.watchers.values():
        watcher.wait("pending")
    pending = story.watchers["pending"]
    story.clock.append(pending.alert())
    pending.kill()
    pending.start()
    for watcher in story.watchers.values():
        watcher.wait("firing")
    story.clock.append(pending.alert())
    for manager in story.away("before"):
        manager.start()
    story.everywhere("firing")
    for manager in story.away("during"):
        manager.stop()
        manager.start()
    story.starts.append(_starts(story))
    for name in ("firing", "repaired", "long"):
        story.watchers[name].kill()
    story.watchers["firing"].start()
    story.goes_on("firing", STEADY)
    story.starts.append(_starts(story))
    for manager in story.away("after"):
        manager.stop()


def _starts(story: Story) -> str:
    (alert,) = story.managers[CLUSTER][0].alerts(farm="firing")
    return str(alert["startsAt"])


def _end(story: Story) -> None:
    """There is room again: until everybody was told, and nobody tells more."""
    resolving = story.watchers["resolving"]
    resolving.wait("resolved")
    resolving.kill()
    resolving.start()
    story.watchers["repaired"].start()
    story.watchers[STEADY].wait("resolved")
    for manager in story.away("after"):
        manager.start()
    wait_for("Alertmanager to end it", lambda: story.told("long", CLUSTER)[1:], timeout=60)
    story.watchers["long"].start()
    story.everywhere("firing", "resolved")
    story.goes_on(*story.watchers)


@pytest.mark.parametrize("by", AWAY)
def test_alertmanager_is_away(story: Story, by: str) -> None:
    """All of it or one replica; before it fires, while it does, or when it ends."""
    assert story.told(STEADY, by) == ["firing", "resolved"]


@pytest.mark.parametrize("killed", KILLED)
def test_the_daemon_is_killed(story: Story, killed: str) -> None:
    """Two replicas tell of it once, and of its end once."""
    assert story.told(killed, CLUSTER) == ["firing", "resolved"]


def test_the_clock_of_a_pending_alert_goes_on(story: Story) -> None:
    before, after = story.clock
    assert before["state"] == "pending"
    assert after["active_since"] == before["active_since"]
    assert after["fired_at"] - before["active_since"] >= FOR


def test_an_alert_that_fires_on_began_when_it_began(story: Story) -> None:
    before, after = story.starts
    assert before == after
