"""The Docker Engine API over a simulated machine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from exporter.demo.attach import Framed, Output
from exporter.demo.builder import SimulatedBuilder
from exporter.demo.control import ControlService
from exporter.demo.grpc import GrpcConnection
from exporter.demo.http import Reply, Request, Switch, json_reply
from exporter.demo.machine import BLOCK, DOCKER_ROOT, Container, Machine
from exporter.demo.tasks import Tasks
from exporter.demo.wire import Receiver, Wire

_VERSIONED = re.compile(r"/v(\d+)\.(\d+)(/.*)")
_AGE = 40 * 86400.0
_KERNEL = "6.1.0-31-cloud"
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


class EngineApi:
    """Answers requests; see ``docs.docker.com/reference/api/engine``."""

    def __init__(self, machine: Machine, tasks: Tasks) -> None:
        self._machine = machine
        self._tasks = tasks
        self._api = machine.blueprint.engine.api
        self._created = machine.clock() - _AGE
        self._services: dict[SimulatedBuilder, ControlService] = {}
        self._execs: dict[str, tuple[Container, list[str]]] = {}
        self._routes: tuple[tuple[str, re.Pattern[str], _Handler], ...] = (
            ("GET|HEAD", re.compile(r"/_ping"), self._ping),
            ("GET", re.compile(r"/info"), self._info),
            ("GET", re.compile(r"/version"), self._version),
            ("GET", re.compile(r"/containers/json"), self._containers),
            ("POST", re.compile(r"/containers/([^/]+)/exec"), self._create_exec),
            ("POST", re.compile(r"/exec/([^/]+)/start"), self._start_exec),
            ("GET", re.compile(r"/images/json"), self._images),
            ("DELETE", re.compile(r"/images/([^/]+)"), self._remove_image),
            ("GET", re.compile(r"/volumes"), self._volumes),
            ("GET", re.compile(r"/volumes/([^/]+)"), self._volume),
            ("DELETE", re.compile(r"/volumes/([^/]+)"), self._remove_volume),
            ("GET", re.compile(r"/system/df"), self._disk_usage),
            ("POST", re.compile(r"/grpc"), self._grpc),
        )

    def answer(self, request: Request) -> Reply | Switch:
        """Answer one request."""
        path = request.path
        if versioned := _VERSIONED.fullmatch(path):
            wanted, path = (int(versioned[1]), int(versioned[2])), versioned[3]
            if wanted > tuple(int(part) for part in self._api.split(".")):
                said = f"client version {wanted[0]}.{wanted[1]} is too new. "
                return _error(400, f"{said}Maximum supported API version is {self._api}")
        for methods, pattern, handler in self._routes:
            found = pattern.fullmatch(path)
            if found and request.method in methods.split("|"):
                return handler(request, *found.groups())
        return _error(404, "page not found")

    def _ping(self, request: Request) -> Reply:
        headers = {"Api-Version": self._api, "Ostype": "linux", "Content-Type": "text/plain"}
        return Reply(200, b"OK" if request.method == "GET" else b"", headers)

    def _info(self, request: Request) -> Reply:
        del request
        blueprint = self._machine.blueprint
        return json_reply(
            200,
            {
                "Name": blueprint.name,
                "ServerVersion": blueprint.engine.version,
                "OSType": "linux",
                "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
                "KernelVersion": _KERNEL,
                "Architecture": _MACHINES[blueprint.arch],
                "NCPU": 8,
                "DockerRootDir": DOCKER_ROOT,
                "Containers": len(self._machine.containers),
            },
        )

    def _version(self, request: Request) -> Reply:
        del request
        blueprint = self._machine.blueprint
        return json_reply(
            200,
            {
                "Version": blueprint.engine.version,
                "ApiVersion": self._api,
                "MinAPIVersion": "1.24",
                "Os": "linux",
                "Arch": blueprint.arch,
                "KernelVersion": _KERNEL,
            },
        )

    def _containers(self, request: Request) -> Reply:
        names = _filters(request).get("name", [])
        everything = request.query.get("all") in ("1", "true")
        rows = [
            _container_row(container, self._created)
            for container in self._machine.containers.values()
            if (everything or container.builder.running) and _named(container.name, names)
        ]
        return json_reply(200, rows)

    def _create_exec(self, request: Request, name: str) -> Reply:
        container = self._container(name)
        if container is None:
            return _error(404, f"No such container: {name}")
        if not container.builder.running:
            return _error(409, f"container {container.id} is not running")
        number = self._machine.hex_id()
        self._execs[number] = (container, json.loads(request.body)["Cmd"])
        return json_reply(201, {"Id": number})

    def _start_exec(self, request: Request, number: str) -> Reply | Switch:
        del request
        if number not in self._execs:
            return _error(404, f"No such exec instance: {number}")
        container, command = self._execs.pop(number)
        if command == ["buildctl", "dial-stdio"]:
            return Switch("tcp", lambda wire: self._speak_grpc(Framed(wire), container.builder))
        return Switch("tcp", lambda wire: Output(Framed(wire), self._output(command)))

    def _output(self, command: list[str]) -> bytes:
        """What any other command prints: only ``stat -f -c FORMAT PATH`` is there."""
        if command[:3] != ["stat", "-f", "-c"]:
            return (
                f'OCI runtime exec failed: exec failed: exec: "{command[0]}": '
                "executable file not found in $PATH: unknown\r\n"
            ).encode()
        disk = self._machine.disk
        numbers = {
            "%S": BLOCK,
            "%b": disk.size // BLOCK,
            "%a": disk.available // BLOCK,
            "%c": disk.inodes,
            "%d": disk.inodes_free,
        }
        words = command[3].split()
        return (" ".join(str(numbers.get(word, "?")) for word in words) + "\n").encode()

    def _images(self, request: Request) -> Reply:
        """Only those that builds left without a name are there."""
        wanted = [label.partition("=") for label in _filters(request).get("label", [])]
        rows = [
            {"Id": number, "RepoTags": [], "Labels": image.labels}
            for number, image in self._machine.images.items()
            if all(
                key in image.labels and (not equals or image.labels[key] == value)
                for key, equals, value in wanted
            )
        ]
        return json_reply(200, rows)

    def _remove_image(self, request: Request, number: str) -> Reply:
        del request
        number = unquote(number)
        if number not in self._machine.images:
            return _error(404, f"No such image: {number}")
        self._machine.remove_image(number)
        return json_reply(200, [{"Deleted": number}])

    def _volumes(self, request: Request) -> Reply:
        filters = _filters(request)
        names = [name for name in self._machine.volumes if _named(name, filters.get("name", []))]
        if filters.get("dangling"):
            dangling = filters["dangling"][0] in ("1", "true")
            names = [name for name in names if (name in self._machine.orphans) is dangling]
        return json_reply(
            200, {"Volumes": [_volume_row(n, self._created) for n in names], "Warnings": None}
        )

    def _volume(self, request: Request, name: str) -> Reply:
        del request
        if name not in self._machine.volumes:
            return _error(404, f"get {name}: no such volume")
        return json_reply(200, _volume_row(name, self._created))

    def _remove_volume(self, request: Request, name: str) -> Reply:
        del request
        if name in self._machine.orphans:
            del self._machine.orphans[name]
            return Reply(204)
        if name in self._machine.volumes:
            return _error(409, f"remove {name}: volume is in use")
        return _error(404, f"get {name}: no such volume")

    def _disk_usage(self, request: Request) -> Reply:
        """``docker system df``: what images share is not build cache in its eyes."""
        kind = request.query.get("type")
        answer: dict[str, Any] = {}
        if kind in (None, "volume"):
            answer["Volumes"] = [
                {
                    **_volume_row(name, self._created),
                    "UsageData": {
                        "Size": size,
                        "RefCount": 0 if name in self._machine.orphans else 1,
                    },
                }
                for name, size in self._machine.volumes.items()
            ]
        if kind in (None, "build-cache"):
            cache = self._machine.builders["docker"].cache
            in_use = cache.in_use()
            answer["BuildCache"] = [
                {
                    "ID": r.id,
                    "Type": r.kind,
                    "Description": r.description,
                    "Size": r.visible_size,
                    "InUse": r.id in in_use,
                    "Shared": False,
                    "CreatedAt": _iso(r.created),
                    "LastUsedAt": _iso(r.used) if r.used is not None else None,
                    "UsageCount": r.count,
                }
                for r in cache.records.values()
                if not r.shared
            ]
        return json_reply(200, answer)

    def _grpc(self, request: Request) -> Switch:
        del request
        builder = self._machine.builders["docker"]
        return Switch("h2c", lambda wire: self._speak_grpc(wire, builder))

    def _speak_grpc(self, wire: Wire, builder: SimulatedBuilder) -> Receiver:
        if builder not in self._services:
            self._services[builder] = ControlService(self._machine, builder)
        name = f"demo/{self._machine.blueprint.name}/{builder.name}"
        return GrpcConnection(wire, self._services[builder].methods(), self._tasks, name)

    def _container(self, name: str) -> Container | None:
        for container in self._machine.containers.values():
            if name in (container.id, container.name):
                return container
        return None


_Handler = Callable[..., Reply | Switch]


def _error(status: int, message: str) -> Reply:
    return json_reply(status, {"message": message})


def _filters(request: Request) -> Mapping[str, list[str]]:
    filters: dict[str, list[str]] = json.loads(request.query.get("filters", "{}"))
    return filters


def _named(name: str, patterns: list[str]) -> bool:
    return not patterns or any(re.search(pattern, name) for pattern in patterns)


def _container_row(container: Container, created: float) -> dict[str, Any]:
    running = container.builder.running
    volume = f"{container.name}_state"
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Created": int(created),
        "Image": "moby/buildkit:buildx-stable-1",
        "State": "running" if running else "exited",
        "Status": "Up 3 days" if running else "Exited (137) 2 minutes ago",
        "Mounts": [
            {
                "Type": "volume",
                "Name": volume,
                "Source": f"{DOCKER_ROOT}/volumes/{volume}/_data",
                "Destination": "/var/lib/buildkit",
            }
        ],
    }


def _volume_row(name: str, created: float) -> dict[str, Any]:
    return {
        "Name": name,
        "Driver": "local",
        "Scope": "local",
        "Mountpoint": f"{DOCKER_ROOT}/volumes/{name}/_data",
        "CreatedAt": _iso(created),
        "Labels": None,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
