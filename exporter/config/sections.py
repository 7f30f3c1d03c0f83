"""The configuration file: how nodes are reached, how often they are looked at, log."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    ValidationInfo,
    field_validator,
)

from exporter.config.fields import (
    AnyFile,
    CaFile,
    CertFile,
    IdentityFile,
    Interval,
    KeyFile,
    SecretFile,
    Section,
    Text,
    Timeout,
)
from exporter.config.files import Places, check_pair
from exporter.model import TlsFiles


class TlsSettings(Section):
    """PEM files of a TLS client."""

    ca: CaFile | None = Field(
        default=None,
        description="Certificates of the authorities that the server's certificate must come "
        "from. Default: those of the system.",
    )
    cert: CertFile | None = Field(
        default=None, description="The client's certificate, with its intermediates."
    )
    key: KeyFile | None = Field(
        default=None,
        validate_default=True,
        description="The client certificate's private key, without a passphrase.",
    )
    server_name: Text | None = Field(
        default=None,
        description="The name that the server's certificate must be for, if it is not the "
        "endpoint's host.",
    )

    @field_validator("key")
    @classmethod
    def _pair(cls, key: Any, info: ValidationInfo) -> Any:
        if "cert" not in info.data:
            return key  # something is wrong with `cert`, and said already
        cert = info.data["cert"]
        if cert is not None and key is None:
            raise ValueError("is missing: 'cert' needs its private key")
        if cert is None and key is not None:
            raise ValueError("has no use without its certificate; add 'cert'")
        if cert is not None and isinstance(info.context, Places):
            check_pair(cert, key)
        return key

    def files(self) -> TlsFiles:
        """The same for the rest of the exporter."""
        return TlsFiles(self.ca, self.cert, self.key, self.server_name)


def _which_tls(value: Any) -> str:
    return "~plain" if value is False else "~files"


Tls = Annotated[
    Annotated[TlsSettings, Tag("~files")] | Annotated[Literal[False], Tag("~plain")],
    Discriminator(_which_tls),
]
"""TLS files, or ``False`` for plain TCP. Tags that start with ``~`` never reach a message."""


class SshSettings(Section):
    """How nodes are reached over SSH. ``~/.ssh/config`` fills in what is not given here."""

    identity_files: tuple[IdentityFile, ...] = Field(
        default=(), description="Private keys to offer. Default: as OpenSSH, and the agent's keys."
    )
    known_hosts: tuple[AnyFile, ...] | None = Field(
        default=None,
        description="Files with the keys of known hosts; any other host is refused. "
        "Default: ~/.ssh/known_hosts.",
    )
    config_files: tuple[AnyFile, ...] | None = Field(
        default=None,
        description="SSH client configurations to honour (HostName, User, Port, ProxyJump, "
        "IdentityFile …). Default: ~/.ssh/config. An empty list: none.",
    )
    connect_timeout: Timeout = Field(
        default=10.0, description="How long connecting and logging in may take."
    )
    keepalive: Interval = Field(
        default=15.0,
        description="How often a quiet connection is asked whether it is still there.",
    )
    passphrase: SecretStr | None = Field(
        default=None, description="The passphrase of encrypted private keys, as ${NAME}."
    )
    passphrase_file: SecretFile | None = Field(
        default=None, description="A file that holds the passphrase."
    )

    @field_validator("known_hosts")
    @classmethod
    def _some_hosts(cls, value: Any) -> Any:
        if value == ():
            raise ValueError(
                "is empty, so every host would be refused; name a file or leave it out"
            )
        return value


class CollectSettings(Section):
    """How often each subject is looked at on each node, and how long one look may take."""

    reachability: Interval = Field(default=15.0, description="Whether the node answers.")
    disk: Interval = Field(default=30.0, description="Bytes and inodes of the filesystem.")
    cache: Interval = Field(default=120.0, description="The build cache's records.")
    workers: Interval = Field(default=600.0, description="Builders, their versions and platforms.")
    orphans: Interval = Field(
        default=3600.0, description="State volumes that no builder uses any more."
    )
    builds: bool = Field(
        default=True, description="Follow BuildKit's build history as builds happen."
    )
    timeout: Timeout = Field(default=10.0, description="Hard limit of one collection.")


class BuildxSettings(Section):
    """What is taken from the buildx store of the user who runs the exporter."""

    builders: tuple[Text, ...] = Field(
        default=(), description="Builders whose nodes are watched too (see `docker buildx ls`)."
    )


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class LogSettings(Section):
    """The exporter's own log, on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description="The least important messages that are still written."
    )
    format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)] = Field(
        default="auto", description="auto: console on a terminal, JSON otherwise."
    )
