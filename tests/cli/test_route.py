"""``route``: the best node, by an own look and by a daemon's memory."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import aiohttp
import pytest

from exporter.canaries import CanaryOutcome, CanaryRecord, CanaryTrigger
from exporter.cli.route import AskError, by_daemon
from exporter.demo.blueprints import FARM
from exporter.demo.farm import DemoFarm
from exporter.storage.canaries import CanaryStore
from exporter.storage.database import open_database
from tests.cli.command import Done, command, config_for, daemon


@pytest.fixture
async def farm() -> AsyncIterator[DemoFarm]:
    """Two nodes of one kind; the second one also emulates arm64."""
    async with DemoFarm(2, rng=Random(7), clock=time.time, story=False) as up:
        yield up


@pytest.fixture
def config(farm: DemoFarm, tmp_path: Path) -> str:
    url = f"storage: {{url: 'sqlite:///{tmp_path}/history.db'}}\n"
    return config_for(*farm.nodes, path=tmp_path / "farm.yml", more=url)


async def route(config: str, *arguments: str, platform: str = "linux/amd64") -> Done:
    return await command("route", "-c", config, "--platform", platform, *arguments, columns="80")


async def test_a_farm_fits_a_terminal(tmp_path: Path) -> None:
    """The best node with the reason, then all of them: native before emulated, the rest last."""
    async with DemoFarm(7, rng=Random(7), clock=time.time, story=False) as farm:
        farm["amd64-2"].silence()
        path = tmp_path / "farm.yml"
        done = await route(config_for(*farm.nodes, path=path), platform="linux/arm64")
    assert (done.code, done.err) == (0, "")
    assert max(len(line) for line in done.lines) <= 80
    head, _, table = done.out.partition("\n\n")
    assert head.startswith(("arm64-1  native on farm2; ", "arm64-2  native on farm3; "))
    rows = [line.split()[:2] for line in table.splitlines()[1:] if not line.startswith("     ")]
    assert {name for _, name in rows[:2]} == {"arm64-1", "arm64-2"}
    assert [mark for mark, _ in rows] == ["1", "2"] + ["-"] * (len(FARM) - 2)
    down = " ".join(table.partition("amd64-2")[2].split())
    assert down.startswith("down: transport: timeout: ")


async def test_quiet_prints_the_name_alone(farm: DemoFarm, config: str) -> None:
    farm["amd64-1"].stop_daemon()
    done = await route(config, "-q")
    assert (done.code, done.out, done.err) == (0, "amd64-2\n", "")


async def test_quiet_tells_of_emulation_beside(config: str) -> None:
    """So a script still reads nothing but the name."""
    done = await route(config, "-q", platform="linux/arm64")
    assert (done.code, done.out) == (0, "amd64-2\n")
    assert done.err == "note: amd64-2 emulates linux/arm64; no node builds it natively now\n"


async def test_json_is_what_the_api_has(config: str) -> None:
    done = await route(config, "--json", platform="arm64")
    said = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert (said["node"], said["builder"], said["emulated"]) == ("amd64-2", "farm1", True)
    assert [row["node"] for row in said["candidates"]] == ["amd64-2"]
    assert [row["node"] for row in said["left_out"]] == ["amd64-1"]


@pytest.mark.parametrize("option", ["--quiet", "--json", None])
async def test_no_node_can(config: str, option: str | None) -> None:
    """Exit code 1, with the reason of each node; and nothing that a script takes for a name."""
    done = await route(config, *([option] if option else []), platform="linux/ppc64le")
    assert done.code == 1
    if option == "--json":
        assert json.loads(done.out)["node"] is None
    if option == "--quiet":
        assert done.out == ""
    told = done.err if option == "--quiet" else done.out
    for builder in ("farm0", "farm1"):
        assert f"{builder}: linux/ppc64le is not offered" in " ".join(told.split())


async def test_what_stored_canaries_say_counts(config: str, tmp_path: Path) -> None:
    now = time.time()
    record = CanaryRecord(
        "1",
        "amd64-1",
        "farm0",
        "linux/amd64",
        False,
        CanaryTrigger.SCHEDULE,
        CanaryOutcome.FAILED,
        now - 60,
        now - 50,
    )
    async with open_database(f"sqlite:///{tmp_path}/history.db") as database:
        await CanaryStore(database).save(record)
    done = await route(config)
    assert done.out.startswith("amd64-2  native on farm1; ")
    assert "ahead of amd64-1, whose latest canary build failed" in " ".join(done.out.split())


async def test_a_history_that_can_not_be_read_stops_nothing(config: str, tmp_path: Path) -> None:
    (tmp_path / "history.db").write_text("no database")
    done = await route(config, "-q")
    assert (done.code, done.out.strip() in ("amd64-1", "amd64-2")) == (0, True)
    assert "note: what canary builds said can't be read" in done.err


async def looked_at(url: str, *nodes: str) -> None:
    """Wait until a daemon knows what counts of these nodes; being asked for a route counts too."""
    names = ("builds_running", "disk_available_bytes", "builder_platform", "node_up")
    wanted = [f'buildfarm_{name}{{node="{node}"' for name in names for node in nodes]
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/metrics") as answer:
                page = await answer.text()
            if all(series in page for series in wanted):
                return
            await asyncio.sleep(0.1)


async def test_a_daemon_sends_those_who_ask_at_once_to_different_nodes(config: str) -> None:
    async with daemon("--config", config, "--log.format=json") as running:
        url = json.loads(await running.logged("listening"))["url"]
        await looked_at(url, "amd64-1", "amd64-2")
        asks = [command("route", "-q", "--platform=amd64", "--url", url) for _ in range(4)]
        answers = await asyncio.gather(*asks)
        none = await command("route", "--platform=ppc64le", "--url", url)
        assert await running.end() == 0
    assert sorted(done.out for done in answers) == [
        "amd64-1\n",
        "amd64-1\n",
        "amd64-2\n",
        "amd64-2\n",
    ]
    assert none.code == 1
    assert none.out.startswith("No node can build linux/ppc64le now.\n")


@asynccontextmanager
async def answering(text: str) -> AsyncIterator[str]:
    """Serve one answer to whatever is asked; the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("HTTP/1.1 200 OK\r\n\r\n<html>", "answers HTTP 200, but not as this exporter does"),
        ("HTTP/1.1 200 OK\r\n\r\n[]", "answers HTTP 200, but not as this exporter does"),
        ("HTTP/1.1 200 OK\r\n\r\n{}", "answers HTTP 200, but not as this exporter does"),
        ("HTTP/1.1 404 No\r\n\r\n404: Not Found", "answers HTTP 404, but not as this exporter"),
        ('HTTP/1.1 404 No\r\n\r\n{"detail": "x"}', "answers HTTP 404, but not as this exporter"),
        ('HTTP/1.1 400 No\r\n\r\n{"detail": "what?"}', "answers HTTP 400: what?"),
        ("HTTP/1.1 503 No\r\n\r\n[]", "answers HTTP 503, but not as this exporter does"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "can't be asked: "),
        ("", "can't be asked: "),
    ],
)
async def test_what_is_no_daemon(answer: str, said: str) -> None:
    async with answering(answer) as url:
        with pytest.raises(AskError) as raised:
            await by_daemon(url, "linux/amd64")
    assert str(raised.value).startswith(f"{url} {said}")


async def test_a_daemon_that_does_not_run() -> None:
    done = await command("route", "-q", "--platform=amd64", "--url", "http://127.0.0.1:1")
    assert (done.code, done.out) == (1, "")
    assert done.err == "http://127.0.0.1:1 can't be asked: Connection refused\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing option '--platform'"),
        (["--platform=amd65"], "'amd65' is not a platform"),
        (["--platform=amd64", "-q", "--json"], "either --quiet or --json"),
        (["--platform=amd64", "--url=exporter:9972"], "'exporter:9972' is not a daemon's URL"),
        (["--platform=amd64", "--url=http://e:0"], "'http://e:0' is not a daemon's URL"),
        (["--platform=amd64", "--url=http://e:port"], "'http://e:port' is not a daemon's URL"),
        (["--platform=amd64", "--url=http://u:secret@e"], "a URL with a user or password in it"),
        (["--platform=amd64"], "No nodes."),
    ],
)
async def test_a_mistake_is_named(arguments: list[str], said: str, tmp_path: Path) -> None:
    empty = tmp_path / "farm.yml"
    empty.write_text("nodes: []\n")
    done = await command("route", "-c", str(empty), *arguments, columns="200")
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "secret" not in done.err
