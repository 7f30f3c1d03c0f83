"""The Engine API over a node's own socket, in a few lines that share nothing with the exporter."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from tests.realfarm.shell import FarmError


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(path: Path, method: str, url: str, body: Any = None, timeout: float = 30) -> Any:
    """Do one request on the socket ``path``; the answer's JSON (or text where it is none).

    :raises FarmError: when the answer says that something is wrong.
    """
    connection = _Connection(path, timeout)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, url, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read().decode()
    finally:
        connection.close()
        if connection.sock is not None:
            connection.sock.close()
    if answer.status >= 400:
        raise FarmError(f"{method} {url}: {answer.status}: {said.strip()}")
    kind = answer.headers.get_content_type()
    return json.loads(said) if kind == "application/json" and said.strip() else said


def pings(path: Path) -> bool:
    """Whether an Engine answers on the socket now."""
    try:
        return bool(ask(path, "GET", "/_ping", timeout=2) == "OK")
    except (OSError, http.client.HTTPException, FarmError):
        return False
