"""The Engine's API against an HTTP server on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from exporter.docker.engine import Container, Engine
from exporter.errors import Layer, NodeError, Reason, RemoteError
from exporter.model import UnixEndpoint
from exporter.transports.unix import UnixTransport
from tests.support.engine import FakeEngine

INFO = {
    "ServerVersion": "26.1.5",
    "OSType": "linux",
    "Architecture": "x86_64",
    "DockerRootDir": "/var/lib/docker",
}


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    async with FakeEngine(tmp_path / "docker.sock", answers={"/info": INFO}) as daemon:
        yield daemon


@pytest.fixture
async def engine(daemon: FakeEngine) -> AsyncIterator[Engine]:
    engine = Engine(UnixTransport(UnixEndpoint(str(daemon.socket)), Layer.ENGINE).dial)
    yield engine
    engine.close()


@pytest.mark.parametrize(
    ("offered", "minimum", "spoken"),
    [
        ("1.41", "1.12", "1.41"),
        ("1.45", "1.24", "1.45"),
        ("1.51", "1.24", "1.51"),
        ("1.52", "1.44", "1.51"),
        ("2.0", "1.44", "1.51"),
    ],
)
async def test_the_api_version_is_the_lower_of_both(
    daemon: FakeEngine, engine: Engine, offered: str, minimum: str, spoken: str
) -> None:
    """Engine 20.10 knows nothing above 1.41; Engine 29 refuses anything below 1.44."""
    daemon.api, daemon.minimum = offered, minimum
    info = await engine.info()
    assert daemon.requests[-1].target == f"/v{spoken}/info"
    assert (info.version, info.api_version, info.os) == ("26.1.5", spoken, "linux")
    assert (info.arch, info.root) == ("amd64", "/var/lib/docker")


async def test_an_engine_that_demands_more_than_we_speak_says_so(
    daemon: FakeEngine, engine: Engine
) -> None:
    daemon.api, daemon.minimum = "1.90", "1.60"
    with pytest.raises(RemoteError, match=r"/v1.51/info: HTTP 400: client version 1.51 is too old"):
        await engine.info()


@pytest.mark.parametrize("api", ["", "one"])
async def test_what_is_no_engine_is_a_protocol_error(
    daemon: FakeEngine, engine: Engine, api: str
) -> None:
    daemon.api = api
    with pytest.raises(NodeError, match="what answers is not a Docker Engine") as caught:
        await engine.ping()
    assert (caught.value.layer, caught.value.reason) == (Layer.ENGINE, Reason.PROTOCOL)


async def test_an_idle_connection_is_used_again(daemon: FakeEngine, engine: Engine) -> None:
    for _ in range(3):
        await engine.ping()
    await engine.info()
    assert daemon.connections == 1


async def test_an_idle_connection_that_was_closed_costs_no_request(
    daemon: FakeEngine, engine: Engine
) -> None:
    daemon.close_after = True
    daemon.answers |= {"/containers/c1/exec": {"Id": "e1"}, "/exec/e1/start": (404, "gone")}
    for _ in range(3):
        await engine.ping()
    await daemon.all_closed()
    with pytest.raises(RemoteError, match="gone"):
        await engine.execute("c1", ["true"])
    assert [r.target for r in daemon.requests[3:]] == [
        "/v1.45/containers/c1/exec",
        "/v1.45/exec/e1/start",
    ]


async def test_requests_at_the_same_time_do_not_share_a_connection(
    daemon: FakeEngine, engine: Engine
) -> None:
    await engine.ping()
    await asyncio.gather(*(engine.info() for _ in range(4)))
    assert len({request.connection for request in daemon.requests[1:]}) == 4


async def test_a_request_that_was_cut_short_spoils_its_connection_only(
    daemon: FakeEngine, engine: Engine
) -> None:
    await engine.ping()
    daemon.hangs.add("/info")
    hung = asyncio.create_task(engine.info())
    while len(daemon.requests) < 2:
        await asyncio.sleep(0.001)
    hung.cancel()
    await asyncio.wait([hung])
    await engine.ping()
    assert [request.connection for request in daemon.requests] == [1, 1, 2]


@pytest.mark.parametrize(
    ("answer", "said", "reason"),
    [
        ((500, '{"message": "disk on fire"}'), "/v1.45/info: HTTP 500: disk on fire", "engine"),
        ((503, "<html>busy</html>"), "/v1.45/info: HTTP 503: <html>busy</html>", "engine"),
        ((403, '{"message": "authorization denied"}'), "authorization denied", "permission"),
        ((401, "[]"), "HTTP 401", "permission"),
    ],
)
async def test_an_error_is_told_in_the_engines_words(
    daemon: FakeEngine, engine: Engine, answer: tuple[int, str], said: str, reason: str
) -> None:
    daemon.answers["/info"] = answer
    with pytest.raises(RemoteError) as caught:
        await engine.info()
    assert said in caught.value.detail
    assert (caught.value.reason, caught.value.status) == (Reason(reason), answer[0])


async def test_an_answer_that_is_not_json_is_a_protocol_error(
    daemon: FakeEngine, engine: Engine
) -> None:
    daemon.answers["/info"] = (200, "<html>")
    with pytest.raises(NodeError, match="the answer to /info is not JSON") as caught:
        await engine.info()
    assert caught.value.reason is Reason.PROTOCOL


@pytest.mark.parametrize("answer", ["null", "{}", "[null]", "[[]]", '[{"Names": ["/a"]}]', '"no"'])
async def test_a_list_of_another_shape_is_a_protocol_error(
    daemon: FakeEngine, engine: Engine, answer: str
) -> None:
    daemon.answers |= {"/containers/json": (200, answer), "/images/json": (200, answer)}
    for asked in (engine.containers("a"), engine.untagged_images("mine")):
        with pytest.raises(NodeError, match="is not as a Docker Engine's") as caught:
            await asked
        assert (caught.value.layer, caught.value.reason) == (Layer.ENGINE, Reason.PROTOCOL)


@pytest.mark.parametrize("answer", ["null", "[]", '{"Volumes": 1, "LayersSize": null}'])
async def test_an_object_of_another_shape_is_a_protocol_error(
    daemon: FakeEngine, engine: Engine, answer: str
) -> None:
    daemon.answers |= dict.fromkeys(("/volumes", "/system/df"), (200, answer))
    daemon.answers |= {"/containers/c1/exec": (200, "{}")}
    for asked in (
        engine.unused_volumes("a"),
        engine.volume_sizes(),
        engine.images_size(),
        engine.execute("c1", ["true"]),
    ):
        with pytest.raises(NodeError, match="is not as a Docker Engine's") as caught:
            await asked
        assert caught.value.reason is Reason.PROTOCOL


async def test_containers_are_listed_by_name_stopped_ones_too(
    daemon: FakeEngine, engine: Engine
) -> None:
    daemon.answers["/containers/json"] = [
        {
            "Id": "c1",
            "Names": ["/buildx_buildkit_farm0"],
            "State": "running",
            "Status": "Up 2 hours",
        },
        {"Id": "c2", "Names": None, "State": "exited"},
    ]
    rows = await engine.containers("buildx_buildkit_")
    assert rows == [
        Container("c1", "buildx_buildkit_farm0", running=True),
        Container("c2", "", running=False),
    ]
    query = parse_qs(urlsplit(daemon.requests[-1].target).query)
    assert query["all"] == ["1"]
    assert json.loads(query["filters"][0]) == {"name": ["buildx_buildkit_"]}


async def test_volumes(daemon: FakeEngine, engine: Engine) -> None:
    """A name is quoted in paths; sizes come from the only request that measures."""
    daemon.answers |= {
        "/volumes": {"Volumes": [{"Name": "a_state"}]},
        "/volumes/a%2Fb": {"Name": "a/b"},
        "/system/df": {"Volumes": [{"Name": "a", "UsageData": {"Size": 7}}, {"Name": "b"}]},
    }
    assert await engine.volume_exists("a/b")
    assert not await engine.volume_exists("missing")
    assert await engine.unused_volumes("_state") == ["a_state"]
    assert await engine.volume_sizes() == {"a": 7}
    assert daemon.requests[-1].target.endswith("/system/df?type=volume")


async def test_a_volume_is_removed_or_the_engine_says_why_not(
    daemon: FakeEngine, engine: Engine
) -> None:
    daemon.answers |= {
        "/volumes/gone_state": (204, ""),
        "/volumes/used_state": (409, '{"message": "volume is in use - [c1]"}'),
    }
    await engine.remove_volume("gone_state")
    assert (daemon.requests[-1].method, daemon.requests[-1].target) == (
        "DELETE",
        "/v1.45/volumes/gone_state",
    )
    with pytest.raises(RemoteError, match=r"volume is in use - \[c1\]"):
        await engine.remove_volume("used_state")


async def test_images_without_a_name_are_found_by_a_label(
    daemon: FakeEngine, engine: Engine
) -> None:
    daemon.answers["/images/json"] = [{"Id": "sha256:1", "RepoTags": ["<none>:<none>"]}]
    assert await engine.untagged_images("mine") == ["sha256:1"]
    query = parse_qs(urlsplit(daemon.requests[-1].target).query)
    assert json.loads(query["filters"][0]) == {"dangling": ["true"], "label": ["mine"]}


async def test_an_image_is_removed_alone(daemon: FakeEngine, engine: Engine) -> None:
    """What somebody else removed meanwhile is no error; what is used, and by whom, is told."""
    daemon.answers |= {
        "/images/sha256%3A1": [{"Deleted": "sha256:1"}],
        "/images/sha256%3A2": (409, '{"message": "image is being used by container c1"}'),
    }
    await engine.remove_image("sha256:1")
    assert (daemon.requests[-1].method, daemon.requests[-1].target) == (
        "DELETE",
        "/v1.45/images/sha256%3A1?noprune=1",
    )
    await engine.remove_image("sha256:gone")
    with pytest.raises(RemoteError, match="image is being used by container c1"):
        await engine.remove_image("sha256:2")


async def test_the_size_of_images_is_asked_only_where_nothing_else_is_measured(
    daemon: FakeEngine, engine: Engine
) -> None:
    daemon.answers["/system/df"] = {"LayersSize": 1234}
    assert await engine.images_size() == 1234
    assert daemon.requests[-1].target == "/v1.45/system/df?type=image"
    daemon.api = "1.41"
    await engine.ping()
    assert await engine.images_size() is None


async def test_a_command_runs_attached_without_a_terminal(
    daemon: FakeEngine, engine: Engine
) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\2\0\0\0\0\0\0\4oops")
        data = await reader.read(100)
        writer.write(b"\1\0\0\0\0\0\0" + bytes([len(data)]) + data)

    daemon.answers["/containers/c1/exec"] = {"Id": "e1"}
    daemon.upgrades["/exec/e1/start"] = echo
    stream = await engine.execute("c1", ["buildctl", "dial-stdio"])
    stream.write(b"hello")
    assert await stream.read(100) == b"hello"
    assert stream.stderr == "oops"
    assert await stream.read(100) == b""
    stream.close()
    made, started = daemon.requests[-2:]
    assert made.body == {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Cmd": ["buildctl", "dial-stdio"],
    }
    assert started.body == {"Detach": False, "Tty": False}


async def test_an_engine_that_does_not_switch_protocols_is_told_so(
    daemon: FakeEngine, engine: Engine
) -> None:
    daemon.answers["/grpc"] = (200, "{}")
    with pytest.raises(NodeError, match="does not switch to h2c") as caught:
        await engine.open_grpc()
    assert (caught.value.layer, caught.value.reason) == (Layer.ENGINE, Reason.PROTOCOL)
