"""The alerts as a whole: named as promised, about metrics that are served, each with a runbook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.alerting.rulefile import rule_file
from exporter.alerting.rules import EXPORTER_DOWN, Rule, Unit, rules
from exporter.alerting.texts import templates, texts
from exporter.alerts import AlertingSettings, Change
from exporter.config.alerts import ALERTS, Above, AlertRule, Below, BelowShare, LongerThan, Within
from exporter.exposition.families import FAMILIES
from exporter.web.runbook_pages import runbooks

ROOT = Path(__file__).parent.parent.parent
RULES = rules({})
SITE = "http://buildfarm-exporter:9972"


def named(name: str, change: Change) -> Rule:
    (found,) = (rule for rule in rules({name: change}) if rule.name == name)
    return found


def test_the_configuration_knows_the_same_alerts() -> None:
    assert sorted(ALERTS) == sorted([*(rule.name for rule in RULES), EXPORTER_DOWN])


def test_every_metric_is_one_that_is_served() -> None:
    known = {family.name for family in FAMILIES}
    for source in (ROOT / "exporter/exposition").glob("*.py"):
        known |= set(re.findall(r'"(buildfarm_\w+)"', source.read_text()))
    canaries = (ROOT / "exporter/exposition/canaries.py").read_text()
    for short in re.findall(r'(?:gauge|counter)\(\s*"(\w+)"', canaries):
        known |= {f"buildfarm_canary_{short}", f"buildfarm_multiarch_canary_{short}"}
    for rule in RULES:
        assert rule.condition.metrics() <= known, rule.name


def test_every_alert_has_a_runbook_and_no_runbook_is_left_over() -> None:
    pages = runbooks()
    assert sorted(pages) == sorted(ALERTS)
    for name, page in pages.items():
        assert page.startswith(f"# {name}\n")
        assert "## Look at" in page
        assert "## Do" in page


def test_the_file_that_comes_along_is_the_default_configurations() -> None:
    assert (ROOT / "alerts/buildfarm.rules.yml").read_text() == rule_file(
        AlertingSettings(), (), SITE
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_texts_say_only_what_is_there(rule: Rule) -> None:
    """Every brace is a label of the alert, or its value."""
    for text in (rule.summary, rule.description):
        assert set(re.findall(r"\{(\w+)\}", text)) <= {*rule.labels, "value"}
        assert "{value}" not in text or rule.unit is not Unit.NOTHING
    labels = tuple((name, name.upper()) for name in sorted(rule.labels))
    for text in texts(rule, labels, 0.5, SITE).values():
        assert "{" not in text
    assert "{{ $labels." in templates(rule, SITE)["summary"]


@pytest.mark.parametrize(
    ("name", "change", "promql"),
    [
        ("BuildFarmDiskLow", Change(share=0.2), "< 0.2"),
        (
            "BuildFarmDiskLow",
            Change(bytes=5_000_000_000),
            "(buildfarm_disk_available_bytes) < 5000000000",
        ),
        ("BuildFarmInodesLow", Change(share=0.02), "< 0.02)"),
        ("BuildFarmDiskFullSoon", Change(seconds=60.0), "- time()) < 60)"),
        ("BuildFarmCacheAboveLimit", Change(bytes=7), "> 7"),
        ("BuildFarmCanarySlow", Change(seconds=9.0), "(buildfarm_canary_duration_seconds) > 9"),
        ("BuildFarmCanaryStale", Change(seconds=9.0), "> 9)"),
        ("BuildFarmCertificateExpiring", Change(seconds=9.0), "< 9"),
        ("BuildFarmOrphanedState", Change(bytes=0), "> 0"),
    ],
)
def test_a_threshold_that_a_farm_changes(name: str, change: Change, promql: str) -> None:
    assert promql in named(name, change).condition.promql()


def test_every_threshold_of_the_configuration_changes_something() -> None:
    """What the configuration takes is not without effect."""
    values: dict[type[AlertRule], Change] = {
        Below: Change(share=0.2),
        BelowShare: Change(share=0.2),
        Above: Change(bytes=12345),
        Within: Change(seconds=12345.0),
        LongerThan: Change(seconds=12345.0),
    }
    usual = {rule.name: rule.condition for rule in RULES}
    for name, kind in ALERTS.items():
        if kind in values:
            assert named(name, values[kind]).condition != usual[name], name


def test_waiting_and_severity_are_the_farms_own() -> None:
    rule = named("BuildFarmDiskLow", Change(for_=0.0, severity="page"))
    assert (rule.for_, rule.severity) == (0.0, "page")


def test_what_is_switched_off_is_not_there() -> None:
    off = Change(enabled=False)
    assert len(rules({"BuildFarmDiskLow": off})) == len(RULES) - 1
    text = rule_file(AlertingSettings(changes={EXPORTER_DOWN: off}), (), SITE)
    assert EXPORTER_DOWN not in text
