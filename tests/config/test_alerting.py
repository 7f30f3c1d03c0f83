"""What the configuration says of alerts, for the rest of the exporter."""

from __future__ import annotations

from exporter.alerts import AlertingSettings, AlertmanagerSettings, Change
from exporter.model import TlsFiles
from tests.config.conftest import Place


def test_without_the_section_everything_is_evaluated_and_nobody_told(place: Place) -> None:
    assert place.load("nodes: [{endpoint: 'ssh://a'}]").alerting == AlertingSettings()


def test_what_a_farm_changes(place: Place) -> None:
    """Thresholds of every kind; ``for: 0s`` is a time as well."""
    config = place.load("""
nodes: [{endpoint: "ssh://a"}]
alerting:
  alerts:
    BuildFarmDiskLow: {below: 20GB, for: 0s, severity: critical}
    BuildFarmInodesLow: {below: 5%}
    BuildFarmCertificateExpiring: {within: 30d}
    BuildFarmCanarySlow: {longer_than: 2m}
    BuildFarmOrphanedState: {above: 0}
    BuildFarmCollectorFailing: {enabled: false}
""")
    assert config.alerting.changes == {
        "BuildFarmDiskLow": Change(bytes=20_000_000_000, for_=0.0, severity="critical"),
        "BuildFarmInodesLow": Change(share=0.05),
        "BuildFarmCertificateExpiring": Change(seconds=30 * 86400.0),
        "BuildFarmCanarySlow": Change(seconds=120.0),
        "BuildFarmOrphanedState": Change(bytes=0),
        "BuildFarmCollectorFailing": Change(enabled=False),
    }


def test_who_is_told(place: Place) -> None:
    """Passwords and tokens are passed on, and are in no printed form."""
    place.environ["TOKEN"] = "geheim"
    config = place.load("""
nodes: [{endpoint: "ssh://a"}]
alerting:
  resend: 30s
  labels: {farm: ci}
  alertmanagers:
    - {url: "http://one:9093", bearer_token: "${TOKEN}", timeout: 3s}
    - url: https://two:9093
      basic_auth: {username: me, password: "${TOKEN}"}
      tls: {server_name: other}
""")
    assert config.alerting.resend == 30.0
    assert config.alerting.labels == {"farm": "ci"}
    assert config.alerting.alertmanagers == (
        AlertmanagerSettings("http://one:9093", bearer_token="geheim", timeout=3.0),
        AlertmanagerSettings(
            "https://two:9093",
            tls=TlsFiles(server_name="other"),
            username="me",
            password="geheim",
        ),
    )
    assert "geheim" not in repr(config.alerting)
