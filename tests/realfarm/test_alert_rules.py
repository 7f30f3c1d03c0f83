"""The rule file by Prometheus' own tool: it says the same as the daemon does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from exporter.alerting.rulefile import rule_file
from exporter.alerts import AlertingSettings
from tests.alerting.story import LENGTH, minutes
from tests.alerting.test_story import EXPECTED
from tests.realfarm.shell import run

Labels = tuple[tuple[str, str], ...]
ROOT = Path(__file__).parent.parent.parent
SEVERITIES = {"critical", "warning", "info"}


def test_the_story_as_prometheus_evaluates_it(tmp_path: Path) -> None:
    """Minute by minute the same alerts are firing, with the same labels."""
    (tmp_path / "rules.yml").write_text(_without_texts())
    tests = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {"interval": "1m", "input_series": _input(), "alert_rule_test": _firing(_labels())}
        ],
    }
    (tmp_path / "story.yml").write_text(yaml.safe_dump(tests, width=10**9))
    done = run(["promtool", "test", "rules", tmp_path / "story.yml"], timeout=300, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def test_the_rules_that_come_along() -> None:
    """Well-formed, and what the tests beside them say is so."""
    for argv in (["check", "rules", "buildfarm.rules.yml"], ["test", "rules", "tests.yml"]):
        done = run(["promtool", *argv], cwd=ROOT / "alerts", check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_alertmanager_configuration_that_comes_along() -> None:
    file = ROOT / "alerts" / "alertmanager.example.yml"
    argv: list[str | Path] = ["amtool", "check-config", file]
    done = run(argv, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _rules() -> list[dict[str, Any]]:
    text = rule_file(AlertingSettings(), (), "http://exporter:9972")
    (group,) = yaml.safe_load(text)["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def _without_texts() -> str:
    rules = [{k: v for k, v in rule.items() if k != "annotations"} for rule in _rules()]
    return yaml.safe_dump({"groups": [{"name": "story", "rules": rules}]})


def _input() -> list[dict[str, str]]:
    """What is served, as series; with what Prometheus itself adds to them."""
    values: dict[tuple[str, Labels], dict[int, float]] = defaultdict(dict)
    for minute, series in minutes():
        for name, samples in series.items():
            for labels, value in samples:
                values[name, tuple(sorted(labels.items()))][minute] = value
    # For the one rule that is Prometheus' own.
    values["buildfarm_exporter_build_info", ()] = dict.fromkeys(range(LENGTH), 1.0)
    scraped = (("instance", "x:1"), ("job", "buildfarm"))
    return [
        {"series": f"{name}{{{_matchers((*labels, *scraped))}}}", "values": " ".join(_values(at))}
        for (name, labels), at in values.items()
    ]


def _matchers(labels: Iterable[tuple[str, str]]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels)


def _values(at: dict[int, float]) -> Iterable[str]:
    before = False
    for minute in range(LENGTH):
        there = minute in at
        yield repr(float(at[minute])) if there else "stale" if before else "_"
        before = there


def _labels() -> dict[str, tuple[str, ...]]:
    """By the alert's name, the names of its labels in their order in the story's keys."""
    return {
        "BuildFarmDiskLow": ("node", "path"),
        "BuildFarmInodesLow": ("node", "path"),
        "BuildFarmDiskFullSoon": ("node", "path"),
        "BuildFarmCacheAboveLimit": ("builder", "node"),
        "BuildFarmPruneFailed": ("builder", "node"),
        "BuildFarmPruneIneffective": ("builder", "node"),
        "BuildFarmCanaryFailed": ("builder", "node", "platform"),
        "BuildFarmCanarySlow": ("builder", "node", "platform"),
        "BuildFarmCanaryStale": ("builder", "node", "platform"),
        "BuildFarmMultiarchCanaryFailed": ("builder",),
        "BuildFarmPlatformEmulated": ("node", "platform"),
        "BuildFarmCertificateExpiring": ("node", "side"),
        "BuildFarmCollectorFailing": ("collector", "node"),
    }


def _firing(labels: dict[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """What is to be firing at every minute, of every alert."""
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in _rules()}
    assert set(severities.values()) <= SEVERITIES
    wanted: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for (name, values), spans in EXPECTED.items():
        told = dict(zip(labels.get(name, ("node",)), values.split(), strict=True))
        for begin, end in spans:
            for minute in range(begin, end):
                alert = {"exp_labels": {**told, "severity": severities[name]}}
                wanted[name, minute].append(alert)
    return [
        {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": wanted[name, minute]}
        for name in severities
        for minute in range(LENGTH)
    ]
