"""The ways in which a simulated node fails, as our own client sees them."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from random import Random

import asyncssh
import pytest

from exporter.app import look_once
from exporter.buildkit.node import NodeClient
from exporter.demo.blueprints import Blueprint, BuilderPlan
from exporter.demo.node import SimulatedNode
from exporter.errors import Layer, Reason
from exporter.model import Failure, NodeSpec, SshEndpoint, TcpEndpoint, TlsFiles
from exporter.transports import open_transport
from exporter.transports.ssh_connect import connect

BLUEPRINTS = {
    "ssh": Blueprint("n", builders=(BuilderPlan("farm0", records=5),)),
    "tls": Blueprint("n", way="tls", builders=(BuilderPlan("farm0", records=5),)),
    "kitd": Blueprint("n", way="tls", remote=True, builders=(BuilderPlan("buildkitd"),)),
}


@pytest.fixture(params=list(BLUEPRINTS))
async def node(request: pytest.FixtureRequest) -> AsyncIterator[SimulatedNode]:
    blueprint = BLUEPRINTS[request.param]
    async with SimulatedNode(blueprint, rng=Random(3), clock=time.time) as node:
        yield node


async def failure(spec: NodeSpec) -> Failure | None:
    """Look with little patience; where nothing answers the result is the same as with much."""
    collect = dataclasses.replace(spec.collect, timeout=1.0)
    endpoint = dataclasses.replace(spec.endpoint, connect_timeout=0.5)
    patient = dataclasses.replace(spec, collect=collect, endpoint=endpoint)
    reachability = (await look_once(patient)).reachability
    assert reachability is not None
    return reachability.value.failure


def daemon(node: SimulatedNode) -> Layer:
    return Layer.BUILDKIT if node.blueprint.remote else Layer.ENGINE


Expected = Callable[[SimulatedNode], tuple[Layer, Reason]]


def silent(node: SimulatedNode) -> tuple[Layer, Reason]:
    return Layer.TRANSPORT, Reason.TIMEOUT


def refusing(node: SimulatedNode) -> tuple[Layer, Reason]:
    return Layer.TRANSPORT, Reason.REFUSED


def hung(node: SimulatedNode) -> tuple[Layer, Reason]:
    return daemon(node), Reason.TIMEOUT


def stopped(node: SimulatedNode) -> tuple[Layer, Reason]:
    return refusing(node) if node.blueprint.way == "tls" else (Layer.ENGINE, Reason.ENGINE)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (SimulatedNode.silence, silent),
        (SimulatedNode.refuse, refusing),
        (SimulatedNode.hang, hung),
        (SimulatedNode.stop_daemon, stopped),
    ],
)
async def test_each_fault_has_its_reason_and_can_be_mended(
    node: SimulatedNode, fault: Callable[[SimulatedNode], None], expected: Expected
) -> None:
    fault(node)
    found = await failure(node.spec)
    assert found is not None
    assert (found.layer, found.reason) == expected(node)
    await node.restore()
    assert await failure(node.spec) is None


async def test_a_kept_connection_falls_silent_too(node: SimulatedNode) -> None:
    client = NodeClient(node.spec, open_transport(node.spec, Random(0)))
    try:
        builder = (await client.builders())[0]
        control = client.control(builder)
        await control.list_workers()
        node.silence()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await control.list_workers()
    finally:
        client.reset()
        await client.close()


async def test_a_stopped_container_is_a_builder_that_does_not_run() -> None:
    async with SimulatedNode(BLUEPRINTS["ssh"], rng=Random(3), clock=time.time) as node:
        node.machine.builders["farm0"].running = False
        found = await failure(node.spec)
    assert found is not None
    assert (found.layer, found.reason) == (Layer.BUILDKIT, Reason.BUILDKIT)


async def test_only_the_farms_own_key_is_let_in() -> None:
    async with (
        SimulatedNode(BLUEPRINTS["ssh"], rng=Random(3), clock=time.time) as node,
        SimulatedNode(BLUEPRINTS["ssh"], rng=Random(4), clock=time.time) as other,
    ):
        assert isinstance(node.spec.endpoint, SshEndpoint)
        assert isinstance(other.spec.endpoint, SshEndpoint)
        foreign = dataclasses.replace(
            node.spec.endpoint, identity_files=other.spec.endpoint.identity_files
        )
        found = await failure(dataclasses.replace(node.spec, endpoint=foreign))
    assert found is not None
    assert found.reason is Reason.AUTH


async def test_a_client_needs_a_certificate_of_the_farms_own_authority() -> None:
    async with SimulatedNode(BLUEPRINTS["kitd"], rng=Random(3), clock=time.time) as node:
        assert isinstance(node.spec.endpoint, TcpEndpoint)
        assert node.spec.endpoint.tls is not None
        nobody = TlsFiles(ca=node.spec.endpoint.tls.ca)
        endpoint = dataclasses.replace(node.spec.endpoint, tls=nobody)
        found = await failure(dataclasses.replace(node.spec, endpoint=endpoint))
    assert found is not None
    assert found.reason is Reason.TLS


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "/"])
async def test_sftp_gives_no_file_of_the_machine_that_runs_the_simulation(path: str) -> None:
    async with SimulatedNode(BLUEPRINTS["ssh"], rng=Random(3), clock=time.time) as node:
        endpoint = node.spec.endpoint
        assert isinstance(endpoint, SshEndpoint)
        connection = await connect(endpoint)
        async with connection.client.start_sftp_client() as sftp:
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await sftp.stat(path)
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await sftp.open(path)
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await sftp.put(__file__, path)
        await connection.close()


async def test_there_is_no_shell() -> None:
    async with SimulatedNode(BLUEPRINTS["ssh"], rng=Random(3), clock=time.time) as node:
        endpoint = node.spec.endpoint
        assert isinstance(endpoint, SshEndpoint)
        connection = await connect(endpoint)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.client.run("id")
        await connection.close()
