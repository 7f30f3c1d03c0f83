"""What Grafana is provisioned with fits the dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.grafana.reading import FOLDER

ROOT = FOLDER.parent / "provisioning"


def provisioned(file: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    assert loaded["apiVersion"] == 1
    return loaded


def test_one_prometheus_is_the_default() -> None:
    (source,) = provisioned("datasources/prometheus.yml")["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)


def test_dashboards_come_from_files_and_stay_as_they_are() -> None:
    """A change in the browser would be lost at the next update of the files."""
    (provider,) = provisioned("dashboards/buildfarm.yml")["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert Path(provider["options"]["path"]).is_absolute()


def test_exclusions_of_the_linter_have_reasons() -> None:
    lint = yaml.safe_load((FOLDER / ".lint").read_text(encoding="utf-8"))
    assert lint["exclusions"]
    assert all(rule["reason"].strip() for rule in lint["exclusions"].values())
