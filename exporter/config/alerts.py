"""The configuration file: what people are told of, and where."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, field_validator

from exporter.config.fields import (
    Duration,
    HttpUrl,
    Interval,
    Limit,
    SecretFile,
    Section,
    Text,
    tell,
)
from exporter.config.sections import Tls

# Name of each alert, and the thresholds that it has.
ALERTS: dict[str, frozenset[str]] = {
    "BuildFarmNodeUnreachable": frozenset(),
    "BuildFarmBuilderDown": frozenset(),
    "BuildFarmDiskLow": frozenset({"below"}),
    "BuildFarmInodesLow": frozenset({"below"}),
    "BuildFarmDiskFullSoon": frozenset({"within"}),
    "BuildFarmCacheAboveLimit": frozenset({"above"}),
    "BuildFarmPruneFailed": frozenset(),
    "BuildFarmPruneIneffective": frozenset(),
    "BuildFarmCanaryFailed": frozenset(),
    "BuildFarmCanarySlow": frozenset({"longer_than"}),
    "BuildFarmCanaryStale": frozenset({"longer_than"}),
    "BuildFarmPlatformEmulated": frozenset(),
    "BuildFarmCertificateExpiring": frozenset({"within"}),
    "BuildFarmOrphanedState": frozenset({"above"}),
    "BuildFarmCollectorFailing": frozenset(),
    "BuildFarmExporterDown": frozenset(),
}
_THRESHOLDS = frozenset({"below", "above", "within", "longer_than"})
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
# Set by the exporter or by Prometheus: another value would break grouping and routing.
_TAKEN = {"alertname", "severity", "instance", "job", "node", "builder", "platform", "path", "side"}
_TAKEN |= {"collector", "layer", "reason"}


def _label(name: str) -> str:
    if not _LABEL.fullmatch(name) or name.startswith("__"):
        raise ValueError("no label's name; write letters, digits and _, no digit first")
    if name in _TAKEN:
        raise ValueError("this label is set by the exporter or by Prometheus")
    return name


Labels = dict[Annotated[str, AfterValidator(_label)], Text]
"""Labels that people add, and their values."""


class BasicAuth(Section):
    """A user name and a password."""

    username: Text = Field(description="The user.")
    password: SecretStr | None = Field(default=None, description="The password, as ${NAME}.")
    password_file: SecretFile | None = Field(
        default=None, description="A file that holds the password."
    )


class Alertmanager(Section):
    """One Alertmanager. Every replica of a cluster is listed, and gets every alert."""

    url: HttpUrl = Field(description="Its address.", examples=["http://alertmanager:9093"])
    tls: Tls | None = Field(default=None, description="Certificates for an https address.")
    bearer_token: SecretStr | None = Field(default=None, description="A token, as ${NAME}.")
    bearer_token_file: SecretFile | None = Field(
        default=None, description="A file that holds the token."
    )
    basic_auth: BasicAuth | None = Field(default=None, description="A user name and a password.")
    timeout: Duration = Field(default=10.0, description="How long sending may take.")

    @field_validator("tls")
    @classmethod
    def _no_false(cls, value: Any) -> Any:
        if value is False:
            raise ValueError("the URL says whether TLS is used; give ca, cert and key, or nothing")
        return value


class AlertRule(Section):
    """What a farm changes of one alert."""

    enabled: bool = Field(default=True, description="false: never evaluated.")
    for_: Duration | None = Field(
        default=None, alias="for", description="How long it must be so before people are told."
    )
    severity: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] | None = Field(
        default=None, description="The label `severity`.", examples=["warning", "critical"]
    )
    below: Limit | None = Field(default=None, description="Fires below this much free space.")
    above: Limit | None = Field(default=None, description="Fires above this size.")
    within: Duration | None = Field(default=None, description="Fires when it is this close.")
    longer_than: Duration | None = Field(
        default=None, description="Fires when it takes, or is ago, longer than this."
    )


def _alert(name: str) -> str:
    if name not in ALERTS:
        near = difflib.get_close_matches(name, ALERTS, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(ALERTS)}"
        raise ValueError(f"unknown alert; {hint}")
    return name


def _thresholds(rules: dict[str, AlertRule]) -> dict[str, AlertRule]:
    wrong: list[tuple[tuple[str, ...], str]] = []
    for name, rule in rules.items():
        has = " and ".join(f"'{known}'" for known in sorted(ALERTS[name]))
        wrong += [
            ((name, key), f"this alert has no such threshold{f', but {has}' if has else ''}")
            for key in sorted(_THRESHOLDS & rule.model_fields_set - ALERTS[name])
        ]
        if name == "BuildFarmInodesLow" and rule.below and not rule.below.is_share:
            wrong.append(((name, "below"), "must be a share of the inodes; write 10%"))
    tell(wrong)
    return rules


Rules = Annotated[
    dict[Annotated[str, AfterValidator(_alert)], AlertRule], AfterValidator(_thresholds)
]
"""Changes to alerts, by the alert's name."""


class AlertingSettings(Section):
    """Where alerts are sent. Without this section they are evaluated and shown, not sent."""

    alertmanagers: tuple[Alertmanager, ...] = Field(
        default=(), description="Every replica gets every alert."
    )
    labels: Labels = Field(default_factory=dict, description="Added to every alert.")
    resend: Interval = Field(
        default=60.0, description="How often a firing alert is sent again, as Alertmanager expects."
    )
    alerts: Rules = Field(
        default_factory=dict, description="Changes to the alerts that come with the exporter."
    )
