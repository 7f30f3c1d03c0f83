"""The simulated Engine's API where our own client does not look."""

from __future__ import annotations

import asyncio
import json
import time
from random import Random
from typing import Any

import pytest

from exporter.demo.blueprints import ENGINE_26, Blueprint, BuilderPlan
from exporter.demo.engine import EngineApi
from exporter.demo.http import HttpConnection, Reply, Request
from exporter.demo.machine import Machine
from exporter.demo.tasks import Tasks

STATE = "buildx_buildkit_farm0_state"
ORPHAN = "buildx_buildkit_old0_state"


@pytest.fixture
def machine() -> Machine:
    blueprint = Blueprint(
        "n",
        engine=ENGINE_26,
        builders=(BuilderPlan("farm0", records=4),),
        embedded=BuilderPlan("docker", records=40),
        orphans=((ORPHAN, 4096), ("somebody_elses", 1)),
    )
    return Machine(blueprint, Random(5), time.time)


@pytest.fixture
def api(machine: Machine) -> EngineApi:
    return EngineApi(machine, Tasks())


def ask(api: EngineApi, method: str, path: str, body: Any = None, **query: str) -> Reply:
    data = b"" if body is None else json.dumps(body).encode()
    answer = api.answer(Request(method, path, query, {}, data))
    assert isinstance(answer, Reply)
    return answer


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/v1.46/info", 400, "Maximum supported API version is 1.45"),
        ("GET", "/v1.45/nothing", 404, "page not found"),
        ("POST", "/info", 404, "page not found"),
        ("GET", "/volumes/none", 404, "no such volume"),
        ("DELETE", "/volumes/none", 404, "no such volume"),
        ("DELETE", f"/volumes/{STATE}", 409, "volume is in use"),
        ("POST", "/containers/none/exec", 404, "No such container"),
        ("POST", "/exec/none/start", 404, "No such exec instance"),
    ],
)
def test_errors_are_those_of_the_engine(
    api: EngineApi, method: str, path: str, status: int, said: str
) -> None:
    reply = ask(api, method, path)
    assert reply.status == status
    assert said in json.loads(reply.body)["message"]


def test_an_orphaned_volume_can_be_removed_and_its_bytes_are_free(
    api: EngineApi, machine: Machine
) -> None:
    before = machine.disk.available
    assert ask(api, "DELETE", f"/v1.45/volumes/{ORPHAN}").status == 204
    assert ask(api, "GET", f"/volumes/{ORPHAN}").status == 404
    assert machine.disk.available == before + 4096


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, {STATE, ORPHAN, "somebody_elses"}),
        ({"dangling": ["true"]}, {ORPHAN, "somebody_elses"}),
        ({"dangling": ["false"]}, {STATE}),
        ({"name": ["buildx"]}, {STATE, ORPHAN}),
        ({"name": ["buildx"], "dangling": ["true"]}, {ORPHAN}),
    ],
)
def test_filters_of_volumes(api: EngineApi, filters: dict[str, Any], names: set[str]) -> None:
    reply = ask(api, "GET", "/volumes", filters=json.dumps(filters))
    assert {row["Name"] for row in json.loads(reply.body)["Volumes"]} == names


def test_stopped_containers_are_listed_only_where_asked(api: EngineApi, machine: Machine) -> None:
    machine.builders["farm0"].running = False
    assert json.loads(ask(api, "GET", "/containers/json").body) == []
    (row,) = json.loads(ask(api, "GET", "/containers/json", all="1").body)
    assert (row["Names"], row["State"]) == (["/buildx_buildkit_farm0"], "exited")
    assert ask(api, "POST", f"/containers/{row['Id']}/exec", {"Cmd": ["true"]}).status == 409


def test_system_df_leaves_out_what_images_share(api: EngineApi, machine: Machine) -> None:
    records = machine.builders["docker"].cache.records.values()
    answer = json.loads(ask(api, "GET", "/system/df", type="build-cache").body)
    listed = sum(row["Size"] for row in answer["BuildCache"])
    assert listed == sum(r.size for r in records if not r.shared)
    assert listed < machine.builders["docker"].cache.size


class Wire:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def test_requests_may_follow_one_another_in_any_pieces(api: EngineApi) -> None:
    wire = Wire()
    connection = HttpConnection(wire, api.answer)
    for byte in b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n" * 2:
        connection.receive(bytes([byte]))
    assert wire.sent.count(b"HTTP/1.1 200") == 2
    assert not wire.closed


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01 what is this\r\n\r\n", b"GET /_ping HTTP/1.0\r\n\r\n"]
)
def test_what_is_not_to_go_on_is_ended(api: EngineApi, data: bytes) -> None:
    wire = Wire()
    HttpConnection(wire, api.answer).receive(data)
    assert wire.closed


async def test_an_upgrade_takes_along_what_came_with_it(api: EngineApi) -> None:
    """A client need not wait for the 101 before it speaks HTTP/2."""
    wire = Wire()
    connection = HttpConnection(wire, api.answer)
    head = b"POST /grpc HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    connection.receive(head + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    await asyncio.sleep(0)
    assert wire.sent.startswith(b"HTTP/1.1 101 UPGRADED")
    assert wire.sent.endswith(b"\0\0\0\4\1\0\0\0\0")  # our settings are acknowledged


def test_no_upgrade_without_asking_for_one(api: EngineApi) -> None:
    wire = Wire()
    HttpConnection(wire, api.answer).receive(b"POST /grpc HTTP/1.1\r\nHost: d\r\n\r\n")
    assert wire.sent.startswith(b"HTTP/1.1 400")
