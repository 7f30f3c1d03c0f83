"""The configuration file: what people are told of, and where."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationInfo,
    create_model,
    field_validator,
)

from exporter import alerts
from exporter.config.fields import (
    Bytes,
    Delay,
    Duration,
    HttpUrl,
    Interval,
    Limit,
    SecretFile,
    Section,
    ShareOf,
    Text,
    tell,
)
from exporter.config.sections import Tls, TlsSettings

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

    @field_validator("url")
    @classmethod
    def _no_path_of_the_api(cls, url: str) -> str:
        if found := re.search(r"/api/v[12](/alerts)?/*$", url):
            path = found[0].rstrip("/")
            raise ValueError(f"leave the path {path} out; /api/v2/alerts is added by itself")
        return url

    @field_validator("basic_auth")
    @classmethod
    def _one_kind(cls, auth: BasicAuth | None, info: ValidationInfo) -> BasicAuth | None:
        if auth is not None and info.data.get("bearer_token") is not None:
            raise ValueError("give either a bearer token or 'basic_auth'")
        return auth

    @field_validator("tls")
    @classmethod
    def _no_false(cls, value: Any) -> Any:
        if value is False:
            raise ValueError("the URL says whether TLS is used; give ca, cert and key, or nothing")
        return value


class AlertRule(Section):
    """What a farm changes of one alert."""

    enabled: bool = Field(default=True, description="false: never evaluated.")
    for_: Delay | None = Field(
        default=None, alias="for", description="How long it must be so before people are told."
    )

    severity: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] | None = Field(
        default=None, description="The label `severity`.", examples=["warning", "critical"]
    )


class Below(AlertRule):
    """Changes of an alert about free space."""

    below: Limit | None = Field(default=None, description="Fires below this much free space.")


class BelowShare(AlertRule):
    """Changes of an alert about free inodes."""

    below: ShareOf | None = Field(default=None, description="Fires below this share.")


class Above(AlertRule):
    """Changes of an alert about used space."""

    above: Bytes | None = Field(default=None, description="Fires above this size.")


class Within(AlertRule):
    """Changes of an alert about what is to come."""

    within: Duration | None = Field(default=None, description="Fires when it is this close.")


class LongerThan(AlertRule):
    """Changes of an alert about something slow, or long ago."""

    longer_than: Duration | None = Field(
        default=None, description="Fires when it takes, or is ago, longer than this."
    )


ALERTS: dict[str, type[AlertRule]] = {
    "BuildFarmNodeUnreachable": AlertRule,
    "BuildFarmBuilderDown": AlertRule,
    "BuildFarmDiskLow": Below,
    "BuildFarmInodesLow": BelowShare,
    "BuildFarmDiskFullSoon": Within,
    "BuildFarmCacheAboveLimit": Above,
    "BuildFarmPruneFailed": AlertRule,
    "BuildFarmPruneIneffective": AlertRule,
    "BuildFarmCanaryFailed": AlertRule,
    "BuildFarmMultiarchCanaryFailed": AlertRule,
    "BuildFarmCanarySlow": LongerThan,
    "BuildFarmCanaryStale": LongerThan,
    "BuildFarmPlatformEmulated": AlertRule,
    "BuildFarmCertificateExpiring": Within,
    "BuildFarmOrphanedState": Above,
    "BuildFarmCollectorFailing": AlertRule,
    "BuildFarmExporterDown": AlertRule,
}
"""All alerts by name, and what can be changed of each."""

_FIELDS: dict[str, Any] = {
    name: (rule | None, Field(default=None, description=f"Changes to the alert {name}."))
    for name, rule in ALERTS.items()
}


class Alerts(create_model("Alerts", __base__=Section, **_FIELDS)):  # type: ignore[misc]
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
    alerts: Alerts = Field(
        default_factory=Alerts, description="Changes to the alerts that come with the exporter."
    )

    @field_validator("alertmanagers")
    @classmethod
    def _each_once(cls, managers: tuple[Alertmanager, ...]) -> tuple[Alertmanager, ...]:
        known: dict[str, int] = {}
        firsts = [known.setdefault(_same(each.url), i) for i, each in enumerate(managers)]
        tell(
            [
                ((i, "url"), f"alertmanagers[{first}] has the same address")
                for i, first in enumerate(firsts)
                if first != i
            ]
        )
        return managers

    @property
    def rules(self) -> dict[str, AlertRule]:
        """The changes, by the alert's name. An alert that nothing changes is not in it."""
        given = ((name, getattr(self.alerts, name)) for name in ALERTS)
        return {name: rule for name, rule in given if rule is not None}


def alerting(settings: AlertingSettings | None) -> alerts.AlertingSettings:
    """What is evaluated and who is told, for the rest of the exporter."""
    if settings is None:
        return alerts.AlertingSettings()
    return alerts.AlertingSettings(
        changes={name: _change(rule) for name, rule in settings.rules.items()},
        labels=settings.labels,
        alertmanagers=tuple(_alertmanager(each) for each in settings.alertmanagers),
        resend=settings.resend,
    )


def _change(rule: AlertRule) -> alerts.Change:
    size = getattr(rule, "below", None) or getattr(rule, "above", None)
    seconds = getattr(rule, "within", None) or getattr(rule, "longer_than", None)
    share = size.percent / 100 if size and size.percent is not None else None
    return alerts.Change(
        enabled=rule.enabled,
        for_=rule.for_,
        severity=rule.severity,
        bytes=size.bytes if size else None,
        share=share,
        seconds=seconds,
    )


def _same(url: str) -> str:
    """What two spellings of one address have in common."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.lower(), path=parts.path.rstrip("/")).geturl()


def _alertmanager(settings: Alertmanager) -> alerts.AlertmanagerSettings:
    auth, tls, token = settings.basic_auth, settings.tls, settings.bearer_token
    return alerts.AlertmanagerSettings(
        url=settings.url,
        tls=tls.files() if isinstance(tls, TlsSettings) else None,
        bearer_token=token.get_secret_value() if token else None,
        username=auth.username if auth else None,
        password=auth.password.get_secret_value() if auth and auth.password else None,
        timeout=settings.timeout,
    )
