"""The Docker context store: named endpoints of Docker Engines, as ``docker context ls`` has them.

``$DOCKER_CONFIG`` (else ``~/.docker``) holds ``contexts/meta/<sha256 of the name>/meta.json`` and
the TLS files in ``contexts/tls/<sha256 of the name>/docker``. The context ``default`` is not in
there: it is made of ``$DOCKER_HOST``, ``$DOCKER_TLS_VERIFY`` and ``$DOCKER_CERT_PATH``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.config.files import check_pair, check_pem, read_text
from exporter.model import Endpoint, TcpEndpoint, TlsFiles

DEFAULT = "default"
SOCKET = "unix:///var/run/docker.sock"


class StoreError(Exception):
    """A Docker or buildx store can't be used, or has not what is asked for. One sentence."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where a Docker Engine is. ``tls`` is ``None`` where Docker would not use TLS either."""

    name: str
    host: str
    tls: TlsFiles | None = None
    note: str | None = None
    """What people should know of it."""


def docker_directory(environ: Mapping[str, str], home: Path) -> Path:
    """Where the docker command keeps its configuration."""
    return Path(environ.get("DOCKER_CONFIG") or home / ".docker")


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        StoreError: that names ``what``, if it can't be read or is something else.
    """
    try:
        data = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise StoreError(f"{what}: not valid JSON, line {error.lineno}") from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{what}: {error}") from None
    if not isinstance(data, dict):
        raise StoreError(f"{what}: not a JSON object")
    return data


def checked_tls(tls: TlsFiles, what: str) -> TlsFiles:
    """Check the files of a TLS client that some store names.

    Raises:
        StoreError: if one of them can't be used.
    """
    try:
        key = "ca"
        if tls.ca is not None:
            check_pem(tls.ca, "ca")
        key = "cert"
        if tls.cert is not None:
            check_pem(tls.cert, "cert")
        key = "key"
        if tls.key is not None:
            check_pem(tls.key, "key")
        if tls.cert is not None and tls.key is not None:
            check_pair(tls.cert, tls.key)
    except ValueError as error:
        raise StoreError(f"{what}: TLS file '{key}': {error}") from None
    if (tls.cert is None) != (tls.key is None):
        absent = "cert" if tls.cert is None else "key"
        raise StoreError(f"{what}: TLS file '{absent}' is missing")
    return tls


class Contexts:
    """Reads the store of one user. Nothing is kept in between: files may change at any time."""

    def __init__(self, environ: Mapping[str, str], home: Path) -> None:
        self._environ = environ
        self._directory = docker_directory(environ, home)

    def names(self) -> tuple[list[str], list[str]]:
        """The names of all contexts but ``default``, and what is wrong with the others."""
        names, notes = [], []
        try:
            found = sorted((self._directory / "contexts" / "meta").glob("*/meta.json"))
        except OSError:
            found = []
        for path in found:
            try:
                name = read_json(path, f"Docker context {path.parent.name[:12]}…").get("Name")
            except StoreError as error:
                notes.append(str(error))
                continue
            if isinstance(name, str) and name and _digest(name) == path.parent.name:
                names.append(name)
            else:
                notes.append(f"Docker context {path.parent.name[:12]}…: its name does not fit")
        return sorted(names), notes

    def current(self) -> str:
        """The name of the context that the docker command would use now.

        Raises:
            StoreError: if Docker's configuration file can't be read.
        """
        if self._environ.get("DOCKER_HOST"):
            return DEFAULT
        if name := self._environ.get("DOCKER_CONTEXT"):
            return name
        path = self._directory / "config.json"
        if not path.exists():
            return DEFAULT
        name = read_json(path, "Docker's config.json").get("currentContext")
        return name if isinstance(name, str) and name else DEFAULT

    def get(self, name: str) -> Context:
        """The context ``name``.

        Raises:
            StoreError: if there is none, or it can't be used.
        """
        if name == DEFAULT:
            return self._default()
        digest, what = _digest(name), f"Docker context '{name}'"
        path = self._directory / "contexts" / "meta" / digest / "meta.json"
        if not path.exists():
            raise StoreError(f"no Docker context '{name}'; {_there_are(self.names()[0])}")
        endpoints = read_json(path, what).get("Endpoints")
        endpoint = endpoints.get("docker") if isinstance(endpoints, dict) else None
        host = endpoint.get("Host") if isinstance(endpoint, dict) else None
        if not isinstance(endpoint, dict) or not isinstance(host, str):
            raise StoreError(f"{what}: has no Docker endpoint")
        directory = self._directory / "contexts" / "tls" / digest / "docker"
        files = {key: directory / f"{key}.pem" for key in ("ca", "cert", "key")}
        there = {key: path for key, path in files.items() if path.exists()}
        unverified = endpoint.get("SkipTLSVerify") is True
        if not host.startswith("tcp://") or not (there or unverified):
            return Context(name, host or SOCKET)
        tls = checked_tls(_tls(there), what)
        return Context(name, host, tls, _unverified(what) if unverified else None)

    def leads_to(self, name: str, endpoint: Endpoint) -> bool:
        """Tell whether a context leads there, with the same certificates.

        Raises:
            StoreError: if there is none, or it can't be used.
        """
        context = self.get(name)
        tls = endpoint.tls if isinstance(endpoint, TcpEndpoint) else None
        return context.host == endpoint.url and _contents(context.tls) == _contents(tls)

    def _default(self) -> Context:
        host = self._environ.get("DOCKER_HOST", "").strip() or SOCKET
        if "://" not in host:
            host = f"tcp://{host}"
        verify = bool(self._environ.get("DOCKER_TLS_VERIFY"))
        if not host.startswith("tcp://") or not (verify or self._environ.get("DOCKER_TLS")):
            return Context(DEFAULT, host)
        directory = Path(self._environ.get("DOCKER_CERT_PATH") or self._directory)
        files = {key: directory / f"{key}.pem" for key in ("ca", "cert", "key")}
        # As docker does: the authority has to be there, a client certificate may.
        there = {key: path for key, path in files.items() if key == "ca" or path.exists()}
        if not verify and not files["ca"].exists():
            del there["ca"]
        tls = checked_tls(_tls(there), "$DOCKER_HOST")
        return Context(DEFAULT, host, tls, None if verify else _unverified("$DOCKER_HOST"))


def _tls(there: Mapping[str, Path]) -> TlsFiles:
    return TlsFiles(there.get("ca"), there.get("cert"), there.get("key"))


def _contents(tls: TlsFiles | None) -> list[bytes | None]:
    paths = (tls.ca, tls.cert, tls.key) if tls else ()
    return [path.read_bytes() if path else None for path in paths]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _unverified(what: str) -> str:
    return f"{what}: says not to check the server's certificate; it will be checked all the same"


def _there_are(names: list[str]) -> str:
    return f"there are: {', '.join([DEFAULT, *names])}"
