"""What is done to buildx builders by ``docker``: see whether it gets there, run steps, boot."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from exporter.actions.builder_plan import Step, with_files
from exporter.buildkit.builders import BARE, CONTAINER_PREFIX
from exporter.buildkit.node import NodeClient
from exporter.dockercli import DockerCli, DockerCliError
from exporter.errors import NodeError, UnsupportedError
from exporter.model import BuildxNode, NodeSpec, SshEndpoint, TcpEndpoint

# Docker gives ssh half a minute to connect, and buildx 20 s to each look at the nodes.
_REACH_TIMEOUT = 45.0
_STEP_TIMEOUT = 120.0
# An image is pulled on each node.
_BOOT_TIMEOUT = 900.0

_INSPECTED = re.compile(r"^(Name|Status|Error): *(.*)$", re.MULTILINE)

Connect = Callable[[NodeSpec], AbstractAsyncContextManager[NodeClient]]


class StepError(Exception):
    """A step failed. ``undone`` are the commands that were not run, the failed one first."""

    def __init__(self, said: str, done: Sequence[str], undone: Sequence[str]) -> None:
        super().__init__(said)
        self.done, self.undone = done, undone


def command(step: Step, folder: Path = Path("FILES")) -> str:
    """Write a step as it is typed; BuildKit's stored configuration would lie in the folder."""
    return shlex.join(
        ("docker", *with_files(step, folder / _node(step), lambda _path, _data: None))
    )


def _node(step: Step) -> str:
    arguments = step.arguments
    return arguments[arguments.index("--node") + 1] if "--node" in arguments else ""


async def carry_out(docker: DockerCli, steps: Sequence[Step]) -> None:
    """Run the steps one after the other.

    :raises StepError: when one fails; those after it are not run, and what they need is kept.
    """
    folder = Path(mkdtemp(prefix="buildfarm-"))
    commands = [command(step, folder) for step in steps]
    ready = [with_files(step, folder / _node(step), _write) for step in steps]
    for i, arguments in enumerate(ready):
        try:
            await docker.run(*arguments, within=_STEP_TIMEOUT)
        except DockerCliError as error:
            raise StepError(str(error), commands[:i], commands[i:]) from error
        except asyncio.CancelledError:
            rmtree(folder)
            raise
    rmtree(folder)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


async def unreachable(
    docker: DockerCli, nodes: Sequence[BuildxNode], connect: Connect
) -> Mapping[str, str]:
    """Ask every node as docker will; by name why one can't be had.

    Buildx looks at all nodes of a builder at each change, and does badly where one is down: what
    it then puts back has no platforms and no flags any more.
    """
    answers = await asyncio.gather(*(_reach(docker, node, connect) for node in nodes))
    return {node.name: why for node, why in zip(nodes, answers, strict=True) if why is not None}


async def _reach(docker: DockerCli, node: BuildxNode, connect: Connect) -> str | None:
    if node.spec is not None and node.spec.remote:
        return await _reach_bare(node.spec, connect)
    try:
        finished = await docker.run(
            *_way(node),
            "version",
            "--format={{.Server.Version}}",
            within=_REACH_TIMEOUT,
            check=False,
        )
    except DockerCliError as error:
        return str(error)
    if finished.code == 0:
        return None
    # Around what ssh says, docker puts much that is no help; the last line is what it is about.
    lines = finished.err.rpartition("stderr=")[2].strip().splitlines()
    return lines[-1] if lines else "docker gets no answer"


async def buildkits(docker: DockerCli, nodes: Sequence[BuildxNode]) -> Mapping[str, Sequence[str]]:
    """List the BuildKits of buildx on each of the nodes, by the node's name."""
    answers = await asyncio.gather(*(_buildkits(docker, node) for node in nodes))
    return {node.name: found for node, found in zip(nodes, answers, strict=True)}


async def _buildkits(docker: DockerCli, node: BuildxNode) -> Sequence[str]:
    ls = ("container", "ls", "--all", f"--filter=name={CONTAINER_PREFIX}", "--format={{.Names}}")
    try:
        finished = await docker.run(*_way(node), *ls, within=_REACH_TIMEOUT)
    except DockerCliError:
        # They are for a note only; what is then done to the node says itself why it fails.
        return ()
    names = finished.out.split()
    # The Engine's filter looks for the text anywhere in the name.
    return sorted(n.removeprefix(CONTAINER_PREFIX) for n in names if n.startswith(CONTAINER_PREFIX))


def _way(node: BuildxNode) -> tuple[str, ...]:
    """Write the options that lead docker there; a context for it may not be made yet."""
    endpoint = node.spec.endpoint if node.spec else None
    if isinstance(endpoint, TcpEndpoint) and endpoint.tls is not None:
        files = (
            ("cacert", endpoint.tls.ca),
            ("cert", endpoint.tls.cert),
            ("key", endpoint.tls.key),
        )
        tls = (f"--tls{name}={path}" for name, path in files if path is not None)
        return ("--host", endpoint.url, "--tlsverify", *tls)
    return ("--host" if "://" in node.endpoint else "--context", node.endpoint)


async def _reach_bare(spec: NodeSpec, connect: Connect) -> str | None:
    try:
        async with asyncio.timeout(_REACH_TIMEOUT), connect(spec) as client:
            await client.control(BARE).info()
    except UnsupportedError:
        return None
    except NodeError as error:
        return str(error)
    except TimeoutError:
        return "no answer in time"
    return None


def hint(spec: NodeSpec) -> str | None:
    """What may keep docker from a node that this exporter does reach."""
    endpoint = spec.endpoint
    if isinstance(endpoint, SshEndpoint) and (endpoint.identity_files or endpoint.known_hosts):
        return (
            "docker goes by the user's own ~/.ssh/config, not by the 'ssh' section of this "
            "configuration: the key and the host key have to be known there"
        )
    return None


async def boot(docker: DockerCli, name: str, hear: Callable[[str], None]) -> Mapping[str, str]:
    """Boot a builder; by the node's name why one does not run. ``hear`` is told of progress.

    :raises DockerCliError: when the builder can't even be looked at.
    """
    arguments = ("buildx", "inspect", "--bootstrap", name)
    finished = await docker.run(*arguments, within=_BOOT_TIMEOUT, on_error_line=hear, check=False)
    if finished.code == 0:
        return _not_running(finished.out)
    # One node that can't be booted leaves nothing to be read of the others.
    said = [line for line in finished.err.splitlines() if line.strip()] or ["no word why"]
    states = _not_running((await docker.run("buildx", "inspect", name, within=_STEP_TIMEOUT)).out)
    return {node: said[-1] if why in _STATES else why for node, why in states.items()}


_STATES = ("inactive", "stopped", "stopping", "starting")


def _not_running(inspected: str) -> dict[str, str]:
    """Read what ``docker buildx inspect`` says of each node."""
    found: dict[str, str] = {}
    node = ""
    for key, value in _INSPECTED.findall(inspected.partition("\nNodes:\n")[2]):
        if key == "Name":
            node = value
        elif value != "running":
            found[node] = value
    return found
