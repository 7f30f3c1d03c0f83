"""How alerts come and go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.alerting.expression import Compare, Metric, Number, Series
from exporter.alerting.rules import Rule
from exporter.alerting.state import (
    RESOLVED_AT_MOST,
    RESOLVED_FOR,
    AlertKey,
    Evaluated,
    evaluate,
    resume,
)
from exporter.alerts import Alert, AlertPhase, Labels

A: Labels = (("node", "a"),)
BAD: Series = {"bad": [({"node": "a"}, 5.0)]}
GOOD: Series = {"bad": [({"node": "a"}, 0.0)]}
RULE = Rule("Bad", Compare(Metric("bad", ("node",)), ">", Number(1)), 60.0, "warning", "", "")


class Story:
    """Evaluations one after the other."""

    def __init__(self, rule: Rule = RULE, *alerts: Alert) -> None:
        self.rule = rule
        self.alerts: dict[AlertKey, Alert] = {alert.key: alert for alert in alerts}

    def at(
        self, now: float, series: Series, *, unknown: bool = False, heard: bool = True
    ) -> Evaluated:
        result = evaluate(
            (self.rule,), series, self.alerts, now, lambda _: unknown, lambda _: heard
        )
        self.alerts = result.alerts
        return result

    @property
    def phase(self) -> AlertPhase | None:
        return self.alerts["Bad", A].phase if self.alerts else None


def test_pending_firing_resolved_forgotten() -> None:
    story = Story()
    assert [a.phase for a in story.at(0, BAD).changed] == [AlertPhase.PENDING]
    assert story.at(59, BAD).changed == ()
    (fired,) = story.at(60, BAD).changed
    assert (fired.phase, fired.active_since, fired.fired_at) == (AlertPhase.FIRING, 0, 60)
    assert story.at(300, BAD).changed == ()
    (resolved,) = story.at(310, GOOD).changed
    assert (resolved.phase, resolved.resolved_at) == (AlertPhase.RESOLVED, 310)
    assert story.at(310 + RESOLVED_FOR - 1, GOOD).ended == ()
    assert story.at(310 + RESOLVED_FOR, GOOD).ended == (resolved,)
    assert story.alerts == {}


def test_who_has_not_heard_of_an_end_is_told_for_a_day() -> None:
    story = Story()
    story.at(0, BAD)
    story.at(60, BAD)
    (resolved,) = story.at(100, GOOD).changed
    assert story.at(100 + RESOLVED_AT_MOST - 1, GOOD, heard=False).ended == ()
    assert story.at(100 + RESOLVED_AT_MOST, GOOD, heard=False).ended == (resolved,)


def test_what_ends_while_pending_was_nothing() -> None:
    story = Story()
    story.at(0, BAD)
    result = story.at(30, GOOD)
    assert (result.changed, len(result.ended)) == ((), 1)
    story.at(40, BAD)
    assert story.at(99, BAD).changed == ()
    assert story.phase is AlertPhase.PENDING


def test_without_a_time_to_wait_it_fires_at_once() -> None:
    (fired,) = Story(replace(RULE, for_=0)).at(7, BAD).changed
    assert (fired.phase, fired.fired_at, fired.value) == (AlertPhase.FIRING, 7, 5.0)


def test_what_comes_back_is_a_new_alert() -> None:
    """It waits anew, and begins anew."""
    story = Story()
    story.at(0, BAD)
    story.at(60, BAD)
    story.at(70, GOOD)
    (again,) = story.at(80, BAD).changed
    assert (again.phase, again.active_since, again.resolved_at) == (AlertPhase.PENDING, 80, None)


def test_a_series_that_vanishes_resolves() -> None:
    story = Story()
    story.at(0, BAD)
    story.at(60, BAD)
    assert [a.phase for a in story.at(61, {}).changed] == [AlertPhase.RESOLVED]


def test_the_last_value_is_kept() -> None:
    story = Story()
    story.at(0, BAD)
    story.at(1, {"bad": [({"node": "a"}, 9.0)]})
    assert story.alerts["Bad", A].value == 9.0
    story.at(60, BAD)
    story.at(61, GOOD)
    assert story.alerts["Bad", A].value == 5.0


@pytest.mark.parametrize("phase", [AlertPhase.PENDING, AlertPhase.FIRING])
def test_after_a_restart_nobody_has_looked_yet(phase: AlertPhase) -> None:
    """It stands as it stood, and its clock goes on."""
    alert = Alert("Bad", A, active_since=0, value=5.0, phase=phase)
    story = Story(RULE, alert)
    same = {alert.key: replace(alert, seen_at=30)}
    assert story.at(30, {}, unknown=True) == Evaluated(same, (), ())
    story.at(61, BAD)
    assert story.alerts["Bad", A].active_since == 0
    assert story.phase is AlertPhase.FIRING


@pytest.mark.parametrize(("away", "since"), [(100, 0), (121, 121), (86400, 86400)])
def test_a_long_time_away_does_not_count_as_waiting(away: float, since: float) -> None:
    """Nobody knows how it was meanwhile. A restart of the daemon is short."""
    alert = Alert("Bad", A, active_since=0, value=5.0, seen_at=50)
    assert resume(alert, 50 + away).active_since == since
    firing = replace(alert, phase=AlertPhase.FIRING)
    assert resume(firing, 50 + away) == firing


def test_a_rule_that_is_gone_resolves_its_alerts() -> None:
    alert = Alert("Gone", A, active_since=0, value=5.0, phase=AlertPhase.FIRING, fired_at=0)
    (resolved,) = Story(RULE, alert).at(30, GOOD).changed
    assert (resolved.name, resolved.phase) == ("Gone", AlertPhase.RESOLVED)
