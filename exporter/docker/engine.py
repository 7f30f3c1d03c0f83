"""The Docker Engine API: the few requests that this project makes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from exporter.docker.http1 import HttpConnection, Response
from exporter.docker.rawstream import RawStream
from exporter.errors import Layer, NodeError, Reason, RemoteError
from exporter.model import EngineInfo
from exporter.transports.duplex import Duplex

# The newest API version whose answers this project was tested with. Older Engines get their own;
# Engine 29 refuses anything below 1.44, Engine 20.10 knows nothing above 1.41.
NEWEST_API = (1, 51)

# Before it, GET /system/df knew no "type" and measured everything.
_DF_BY_TYPE = (1, 42)

_MAX_IDLE = 2

# The kernel's names of machines (``GET /info``) in Go's words.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i386": "386",
    "i686": "386",
}


@dataclass(frozen=True, slots=True)
class Container:
    """A row of ``GET /containers/json``."""

    id: str
    name: str
    running: bool


class Engine:
    """One Docker Engine, reached by ``dial``.

    Idle connections are kept, so that a request costs a message in each direction and no more.
    No method has a deadline: the caller sets one. Errors are
    :class:`~exporter.errors.NodeError`; an error that the Engine itself reports is
    :class:`~exporter.errors.RemoteError`.
    """

    def __init__(self, dial: Callable[[], Awaitable[Duplex]]) -> None:
        self._dial = dial
        self._idle: list[HttpConnection] = []
        self._api: tuple[int, int] | None = None

    async def ping(self) -> None:
        """Return when the Engine answers; learn its API version on the way."""
        response = await self._send("GET", "/_ping")
        offered = response.headers.get("api-version", "")
        try:
            major, minor = (int(part) for part in offered.split("."))
        except ValueError as error:
            raise NodeError(
                Layer.ENGINE, Reason.PROTOCOL, "what answers is not a Docker Engine"
            ) from error
        self._api = min((major, minor), NEWEST_API)

    async def info(self) -> EngineInfo:
        """Read ``GET /info``: version, architecture and where Docker keeps its data."""
        info = await self._json("GET", "/info")
        machine = str(info.get("Architecture", ""))
        return EngineInfo(
            version=str(info.get("ServerVersion", "")),
            api_version=_text(await self._version()),
            os=str(info.get("OSType", "")),
            arch=_ARCHITECTURES.get(machine, machine),
            root=str(info.get("DockerRootDir", "")),
        )

    async def containers(self, name: str) -> list[Container]:
        """List containers, stopped ones too, whose name contains ``name``."""
        path, filters = "/containers/json", json.dumps({"name": [name]})
        rows = await self._json("GET", path, {"all": "1", "filters": filters}, kind=list)
        with _shape(path):
            return [
                Container(
                    id=row["Id"],
                    name=row["Names"][0].lstrip("/") if row.get("Names") else "",
                    running=row.get("State") == "running",
                )
                for row in rows
            ]

    async def remove_container(self, container: str) -> None:
        """Stop a container as it likes to be stopped, and remove it. Its named volumes stay."""
        path = f"/containers/{quote(container, safe='')}"
        await self._send("POST", await self._versioned(f"{path}/stop"))
        await self._send("DELETE", await self._versioned(path))

    async def volume_exists(self, name: str) -> bool:
        """Tell whether a volume of this name is there."""
        try:
            await self._json("GET", f"/volumes/{quote(name, safe='')}")
        except RemoteError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def unused_volumes(self, name: str) -> list[str]:
        """List volumes that no container uses and whose name contains ``name``."""
        filters = {"dangling": ["true"], "name": [name]}
        answer = await self._json("GET", "/volumes", {"filters": json.dumps(filters)})
        with _shape("/volumes"):
            return [str(row["Name"]) for row in answer.get("Volumes") or []]

    async def volume_sizes(self) -> dict[str, int]:
        """Measure every volume. Slow: the Engine walks the files, and all else before API 1.42."""
        answer = await self._json("GET", "/system/df", {"type": "volume"})
        with _shape("/system/df"):
            return {
                str(row["Name"]): int(row["UsageData"]["Size"])
                for row in answer.get("Volumes") or []
                if row.get("UsageData")
            }

    async def remove_volume(self, name: str) -> None:
        """Remove a volume; the Engine refuses while a container has it."""
        await self._send("DELETE", await self._versioned(f"/volumes/{quote(name, safe='')}"))

    async def images_size(self) -> int | None:
        """Bytes of all image layers; ``None`` before API 1.42, which would measure all else too."""
        if await self._version() < _DF_BY_TYPE:
            return None
        answer = await self._json("GET", "/system/df", {"type": "image"})
        with _shape("/system/df"):
            return int(answer["LayersSize"])

    async def untagged_images(self, label: str) -> list[str]:
        """List the images without a name that have this label; their IDs."""
        filters = json.dumps({"dangling": ["true"], "label": [label]})
        rows = await self._json("GET", "/images/json", {"filters": filters}, kind=list)
        with _shape("/images/json"):
            return [str(row["Id"]) for row in rows]

    async def remove_image(self, image: str) -> None:
        """Remove an image, and none that it was made from; one that is not there is no error."""
        path = f"/images/{quote(image, safe='')}"
        try:
            await self._send("DELETE", await self._versioned(path, {"noprune": "1"}))
        except RemoteError as error:
            if error.status != 404:
                raise

    async def open_grpc(self) -> Duplex:
        """Open HTTP/2 to the embedded BuildKit (``POST /grpc``, upgraded to h2c)."""
        return await self._upgrade("/grpc", "h2c")

    async def execute(self, container: str, command: list[str]) -> RawStream:
        """Run a command in a container and attach to it, without a terminal."""
        wish = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Cmd": command}
        path = f"/containers/{container}/exec"
        made = await self._json("POST", path, body=wish)
        with _shape(path):
            target = f"/exec/{made['Id']}/start"
        return RawStream(await self._upgrade(target, "tcp", {"Detach": False, "Tty": False}))

    def close(self) -> None:
        """Give up the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        kind: type[list[Any]] | type[dict[str, Any]] = dict,
    ) -> Any:
        response = await self._send(
            method,
            await self._versioned(path, query),
            json.dumps(body).encode() if body is not None else None,
        )
        try:
            answer = json.loads(response.body)
        except ValueError as error:
            raise NodeError(
                Layer.ENGINE, Reason.PROTOCOL, f"the answer to {path} is not JSON"
            ) from error
        with _shape(path):
            if not isinstance(answer, kind):
                raise TypeError(type(answer))
        return answer

    async def _version(self) -> tuple[int, int]:
        if self._api is None:
            await self.ping()
        assert self._api is not None
        return self._api

    async def _versioned(self, path: str, query: Mapping[str, str] | None = None) -> str:
        version = _text(await self._version())
        return f"/v{version}{path}" + (f"?{urlencode(query)}" if query else "")

    async def _send(self, method: str, target: str, body: bytes | None = None) -> Response:
        """Make one request over an idle connection, or a new one where none is left."""
        while True:
            kept = self._take_idle()
            connection = kept or HttpConnection(await self._dial())
            try:
                response = await connection.request(method, target, body)
            except NodeError as error:
                # The Engine may be closing an idle connection: that says nothing about it.
                if kept and method == "GET" and error.reason is Reason.PROTOCOL:
                    continue
                raise
            finally:
                if connection.reusable and len(self._idle) < _MAX_IDLE:
                    self._idle.append(connection)
                else:
                    connection.close()
            _check(target, response)
            return response

    def _take_idle(self) -> HttpConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
            connection.close()
        return None

    async def _upgrade(
        self, path: str, protocol: str, body: Mapping[str, Any] | None = None
    ) -> Duplex:
        target = await self._versioned(path)
        data = json.dumps(body).encode() if body is not None else None
        connection = HttpConnection(await self._dial())
        try:
            answer = await connection.upgrade("POST", target, protocol, data)
        except BaseException:
            connection.close()
            raise
        if isinstance(answer, Response):
            _check(target, answer)
            raise NodeError(
                Layer.ENGINE,
                Reason.PROTOCOL,
                f"the Engine does not switch to {protocol} (a proxy in between?)",
            )
        return answer


@contextmanager
def _shape(path: str) -> Iterator[None]:
    """Read an answer to ``path``, which may be of another shape than a Docker Engine's."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise NodeError(
            Layer.ENGINE, Reason.PROTOCOL, f"the answer to {path} is not as a Docker Engine's"
        ) from error


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _check(target: str, response: Response) -> None:
    if response.status < 400:
        return
    try:
        said = str(json.loads(response.body)["message"])
    except (ValueError, KeyError, TypeError):
        said = response.body[:200].decode(errors="replace").strip()
    # An authorisation plugin or a socket proxy answers 401 or 403.
    reason = Reason.PERMISSION if response.status in (401, 403) else Reason.ENGINE
    path = target.split("?", maxsplit=1)[0]
    raise RemoteError(
        Layer.ENGINE, reason, f"{path}: HTTP {response.status}: {said}", response.status
    )
