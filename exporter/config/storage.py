"""The configuration file: where history and the state of alerts are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from exporter.config.fields import SecretFile, Section
from exporter.config.files import Places

_FORMS = "write sqlite:///path or postgresql://user@host/database"


class StorageSettings(Section):
    """Where history and the state of alerts are kept."""

    url: SecretStr | None = Field(
        default=None,
        description="sqlite:///path or postgresql://user@host/database. Default: the file "
        "buildfarm-exporter/history.db under $XDG_STATE_HOME, or under ~/.local/state. "
        "Put a password in as ${NAME}.",
        examples=["sqlite:////var/lib/buildfarm-exporter/history.db"],
        json_schema_extra={"pattern": r"^(sqlite:///|postgresql://|.*\$\{)"},
    )
    url_file: SecretFile | None = Field(default=None, description="A file that holds the URL.")

    @field_validator("url", mode="before")
    @classmethod
    def _database(cls, value: Any, info: ValidationInfo) -> Any:
        """Check the URL without repeating it. A relative path of a file becomes absolute."""
        if not isinstance(value, str):
            return value
        scheme, separator, rest = value.strip().partition("://")
        scheme = scheme.lower()
        if separator and scheme in {"postgres", "postgresql+asyncpg", "postgresql+psycopg"}:
            raise ValueError("the scheme is written postgresql://")
        if not separator or scheme not in {"sqlite", "postgresql"}:
            raise ValueError(f"not a database that can be used; {_FORMS}")
        if scheme == "postgresql":
            if not rest.rpartition("@")[2].strip("/"):
                raise ValueError(f"names no host and no database; {_FORMS}")
            return f"postgresql://{rest}"
        if not rest.startswith("/"):
            raise ValueError("an SQLite file has no host; write sqlite:///path, with three slashes")
        path = rest[1:]
        if path in {"", ":memory:"} or "?" in path:
            raise ValueError("must name a file, and nothing else; write sqlite:///path")
        places = info.context
        return _sqlite(places.path(path)) if isinstance(places, Places) else value


def storage_url(settings: StorageSettings, environ: Mapping[str, str], home: Path) -> str:
    """The database's URL, with its secrets. Without settings: a file among the user's state."""
    if settings.url is not None:
        return settings.url.get_secret_value()
    state = Path(environ.get("XDG_STATE_HOME", ""))
    # A relative directory is to be ignored, as the XDG specification has it.
    state = state if state.is_absolute() else home / ".local" / "state"
    return _sqlite(state / "buildfarm-exporter" / "history.db")


def _sqlite(path: Path) -> str:
    return f"sqlite:///{path}"
