"""The configuration file as a whole, and a node in it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from exporter.config.actions import (
    CanaryOverride,
    CanarySettings,
    OrphanSettings,
    PruneOverride,
    PruneSettings,
)
from exporter.config.alerts import AlertingSettings, Labels
from exporter.config.endpoints import parse_address
from exporter.config.fields import HttpUrl, Platform, Section, Text
from exporter.config.sections import (
    BuildxSettings,
    CollectSettings,
    LogSettings,
    SshSettings,
    Tls,
)
from exporter.config.storage import StorageSettings

_NAME = re.compile(r"[^\s/\x00-\x1f\x7f]+")


def _scheme(info: ValidationInfo) -> str:
    """The scheme of the endpoint that was read before; empty where that one was wrong."""
    endpoint = info.data.get("endpoint")
    return endpoint.partition("://")[0].lower() if isinstance(endpoint, str) else ""


def _switch(value: Any) -> str:
    return "~off" if value is False else "~on"


_Off = Annotated[Literal[False], Tag("~off")]


def _driver(value: Any) -> Any:
    if value == "docker-container":
        raise ValueError(
            "leave it out: container builders on a node are found by themselves, and "
            "'builders' selects among them"
        )
    return value


class DiskSource(Section):
    """Where to learn of a node's disk."""

    path: Annotated[str, Field(pattern=r"^/")] | None = Field(
        default=None,
        description="A directory on the node whose filesystem counts. Default: Docker's root.",
        examples=["/var/lib/docker"],
    )
    node_exporter: HttpUrl | None = Field(
        default=None,
        description="A node_exporter's metrics page, where SSH is not there to ask.",
        examples=["http://node3.example.com:9100/metrics"],
    )


class NodeEntry(Section):
    """One machine."""

    name: str | None = Field(
        default=None, description="The label `node`. Default: the endpoint's host."
    )
    endpoint: str = Field(
        description="ssh://[user@]host[:port][/socket], tcp://host:port or unix:///path.",
        examples=["ssh://builder@node1.example.com", "tcp://node3.example.com:2376"],
    )
    driver: Annotated[Literal["docker", "remote"], BeforeValidator(_driver)] = Field(
        default="docker",
        description="docker: a Docker Engine and the builders on it. remote: a bare buildkitd.",
    )
    tls: Tls | None = Field(
        default=None,
        validate_default=True,
        description="For tcp://: the TLS client's files, or false for plain TCP, which lets "
        "everybody on the network control the machine.",
    )
    platforms: tuple[Platform, ...] = Field(
        default=(), description="What this node is expected to build natively."
    )
    builders: tuple[Text, ...] | None = Field(
        default=None,
        description="Names of the builders that actions act on. Default: the container builders "
        "where there are any, else `docker`.",
    )
    disk: DiskSource = Field(default=DiskSource(), description="Where to learn of the disk.")
    labels: Labels = Field(default_factory=dict, description="Added to this node's alerts.")
    ssh: SshSettings | None = Field(
        default=None, description="Changes of the top-level `ssh` for this node, key by key."
    )
    collect: CollectSettings | None = Field(
        default=None, description="Changes of the top-level `collect` for this node, key by key."
    )
    prune: Annotated[Annotated[PruneOverride, Tag("~on")] | _Off, Discriminator(_switch)] | None = (
        Field(
            default=None,
            description="Changes of the top-level `prune` for this node, key by key. false: never.",
        )
    )
    orphans: (
        Annotated[Annotated[OrphanSettings, Tag("~on")] | _Off, Discriminator(_switch)] | None
    ) = Field(
        default=None,
        description="Changes of the top-level `orphans` for this node. false: never removed.",
    )
    canary: (
        Annotated[Annotated[CanaryOverride, Tag("~on")] | _Off, Discriminator(_switch)] | None
    ) = Field(
        default=None,
        description="Changes of the top-level `canary` for this node, key by key. false: none.",
    )

    @field_validator("name")
    @classmethod
    def _usable_name(cls, name: str | None) -> str | None:
        if name is not None and not (_NAME.fullmatch(name) and name.isprintable()):
            raise ValueError(
                "a name has no blanks, slashes or control characters, and is not empty"
            )
        return name

    @field_validator("endpoint")
    @classmethod
    def _address(cls, endpoint: str) -> str:
        parse_address(endpoint)
        return endpoint.strip()

    @field_validator("tls")
    @classmethod
    def _tls_fits(cls, tls: Any, info: ValidationInfo) -> Any:
        scheme = _scheme(info)
        if scheme == "tcp" and tls is None:
            raise ValueError(
                "tcp:// needs to know: write tls: {ca: ca.pem, cert: cert.pem, key: key.pem}, "
                "or tls: false for plain TCP"
            )
        if scheme in {"ssh", "unix"} and tls is not None:
            raise ValueError(f"has no use: {scheme}:// is not TLS, only tcp:// is")
        return tls

    @field_validator("ssh")
    @classmethod
    def _ssh_fits(cls, ssh: Any, info: ValidationInfo) -> Any:
        scheme = _scheme(info)
        if ssh is not None and scheme in {"tcp", "unix"}:
            raise ValueError(f"has no use: the endpoint is {scheme}://, not ssh://")
        return ssh

    @field_validator("builders")
    @classmethod
    def _some_builders(cls, builders: Any) -> Any:
        if builders == ():
            raise ValueError("is empty, so nothing would be selected; leave it out for the default")
        return builders


class ConfigFile(Section):
    """Configuration of buildfarm-exporter."""

    nodes: tuple[NodeEntry, ...] = Field(default=(), description="The machines to watch.")
    buildx: BuildxSettings = Field(
        default=BuildxSettings(), description="Nodes that are taken from the buildx store."
    )
    node_files: tuple[Text, ...] = Field(
        default=(),
        description="Glob patterns of files with more nodes (a YAML list each). Changes in them "
        "take effect without a reload.",
        examples=[["nodes.d/*.yml"]],
    )
    ssh: SshSettings = Field(default=SshSettings(), description="How nodes are reached over SSH.")
    collect: CollectSettings = Field(
        default=CollectSettings(), description="How often each subject is looked at."
    )
    prune: PruneSettings | None = Field(
        default=None,
        description="When and how far caches are pruned. Absent: nothing is ever pruned.",
    )
    orphans: OrphanSettings = Field(
        default=OrphanSettings(),
        description="What becomes of state volumes that no builder uses any more.",
    )
    canary: CanarySettings | None = Field(
        default=None, description="Small builds that test the nodes. Absent: none."
    )
    alerting: AlertingSettings | None = Field(
        default=None, description="Where alerts are sent. Absent: shown, not sent."
    )
    storage: StorageSettings = Field(
        default=StorageSettings(), description="Where history and the state of alerts are kept."
    )
    log: LogSettings = Field(default=LogSettings(), description="The exporter's own log.")
