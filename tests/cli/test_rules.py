"""``rules``: the rule file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from exporter.cli.main import app

CONFIG = """\
nodes: [{endpoint: "ssh://a"}, {endpoint: "ssh://b", labels: {rack: r1}}]
alerting:
  labels: {farm: ci}
  alerts:
    BuildFarmDiskLow: {below: 20GB, for: 0s, severity: critical}
    BuildFarmCanaryStale: {enabled: false}
"""


def test_the_configurations_thresholds(tmp_path: Path) -> None:
    """Labels of a node are on its alerts alone; what is switched off is not there."""
    (tmp_path / "farm.yml").write_text(CONFIG)
    argv = ["rules", "--config", str(tmp_path / "farm.yml"), "--web.external-url", "https://x/y/"]
    result = CliRunner().invoke(app, argv)
    assert result.exit_code == 0, result.output
    ((group),) = yaml.safe_load(result.stdout)["groups"]
    low = [rule for rule in group["rules"] if rule["alert"] == "BuildFarmDiskLow"]
    free = "min by (node, path) (buildfarm_disk_available_bytes"
    assert [(rule["expr"], rule["labels"]) for rule in low] == [
        (f'{free}{{node="a"}}) < 20000000000', {"farm": "ci", "severity": "critical"}),
        (
            f'{free}{{node="b"}}) < 20000000000',
            {"farm": "ci", "rack": "r1", "severity": "critical"},
        ),
    ]
    assert low[0]["annotations"]["runbook_url"] == "https://x/y/runbooks/BuildFarmDiskLow"
    assert "for" not in low[0]
    names = [rule["alert"] for rule in group["rules"]]
    assert "BuildFarmCanaryStale" not in names
    assert names.count("BuildFarmExporterDown") == 1
    assert names.count("BuildFarmMultiarchCanaryFailed") == 1


@pytest.mark.parametrize("url", ["exporter:9972", "ftp://x", "http://", "http://x/?a"])
def test_an_address_that_is_none(url: str, tmp_path: Path) -> None:
    (tmp_path / "farm.yml").write_text(CONFIG)
    result = CliRunner().invoke(
        app, ["rules", "--config", str(tmp_path / "farm.yml"), "--web.external-url", url]
    )
    assert result.exit_code == 2
    assert "--web.external-url is http://host:port" in result.output
