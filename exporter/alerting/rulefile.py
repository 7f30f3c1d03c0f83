"""Prometheus' rule file: the same alerts, for who evaluates them there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from exporter.alerting.rules import EXPORTER_DOWN, MINUTE, Rule, rules
from exporter.alerting.texts import runbook_url, templates
from exporter.alerts import AlertingSettings, Change, Labels
from exporter.model import NodeSpec

_HEAD = """\
# Alerts of buildfarm-exporter for Prometheus. Written by `buildfarm-exporter rules`: change the
# exporter's configuration (alerting.alerts), and write it again.
"""


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as it is read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def rule_file(settings: AlertingSettings, nodes: Sequence[NodeSpec], site: str) -> str:
    """The file's text. ``site``: the address of the exporter, for links."""
    found = rules(settings.changes)
    written = [
        _written(rule, labels, names, site)
        for labels, names in _label_sets(settings, nodes)
        for rule in found
        if "node" in rule.labels
    ]
    written += [_written(rule, settings.labels, (), site) for rule in found if _of_all(rule)]
    down = settings.changes.get(EXPORTER_DOWN, Change())
    if down.enabled:
        written.append(_exporter_down(down, settings.labels, site))
    groups = {"groups": [{"name": "buildfarm", "rules": written}]}
    return _HEAD + yaml.dump(groups, Dumper=_Dumper, sort_keys=False, width=1000)


def _of_all(rule: Rule) -> bool:
    return "node" not in rule.labels


def _label_sets(
    settings: AlertingSettings, nodes: Sequence[NodeSpec]
) -> Iterator[tuple[Mapping[str, str], tuple[str, ...]]]:
    """The labels that are added, each time with the nodes that have them; none named: all."""
    sets: dict[Labels, list[str]] = {}
    for node in nodes:
        sets.setdefault(tuple(sorted(node.labels.items())), []).append(node.name)
    if set(sets) <= {tuple(sorted(settings.labels.items()))}:
        yield settings.labels, ()
        return
    for labels, names in sets.items():
        yield dict(labels), tuple(names)


def _written(
    rule: Rule, labels: Mapping[str, str], nodes: tuple[str, ...], site: str
) -> dict[str, Any]:
    written: dict[str, Any] = {"alert": rule.name, "expr": rule.condition.promql(nodes)}
    if rule.for_:
        written["for"] = _duration(rule.for_)
    written["labels"] = {**labels, "severity": rule.severity}
    written["annotations"] = templates(rule, site)
    return written


def _exporter_down(change: Change, labels: Mapping[str, str], site: str) -> dict[str, Any]:
    return {
        "alert": EXPORTER_DOWN,
        "expr": "absent(buildfarm_exporter_build_info)",
        "for": _duration(5 * MINUTE if change.for_ is None else change.for_),
        "labels": {**labels, "severity": change.severity or "critical"},
        "annotations": {
            "summary": "Nobody watches the build farm",
            "description": "Prometheus gets no metrics from buildfarm-exporter: it does not run, "
            "or can't be scraped. No other alert about the farm can arrive.",
            "runbook_url": runbook_url(EXPORTER_DOWN, site),
        },
    }


def _duration(seconds: float) -> str:
    """As Prometheus writes it: whole milliseconds at the finest."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0)):
        if seconds >= length and seconds % length == 0:
            return f"{int(seconds / length)}{unit}"
    return f"{round(seconds * 1000)}ms"
