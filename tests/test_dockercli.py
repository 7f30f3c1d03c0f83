"""Running the ``docker`` command: a script in its place does what docker might do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter import dockercli
from exporter.dockercli import DockerCli, DockerCliError, Finished

PATIENCE = 30.0

Docker = Callable[[str], DockerCli]


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    """Put a shell script in docker's place."""

    def install(script: str) -> DockerCli:
        path = tmp_path / "bin" / "docker"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        path.chmod(0o755)
        return DockerCli({"PATH": f"{path.parent}:{os.environ['PATH']}", "FARM": "ours"})

    return install


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not there():
            await asyncio.sleep(0.01)


def runs(pid: Path) -> bool:
    """Whether the process runs whose number is in the file."""
    status = Path(f"/proc/{pid.read_text().strip()}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


async def test_gives_arguments_and_environment_and_takes_both_outputs(docker: Docker) -> None:
    """As a shell would."""
    cli = docker('echo "$FARM $MORE $2"; echo "to stderr" >&2')
    done = await cli.run("a", "b c", within=PATIENCE, environ={"MORE": "more"})
    assert done == Finished(0, "ours more b c\n", "to stderr")


async def test_stdin(docker: Docker) -> None:
    """What is given arrives whole, however much; without any there is none to wait for."""
    given = b"0123456789" * 100_000
    assert (await docker("wc -c").run(within=PATIENCE, stdin=given)).out.strip() == "1000000"
    assert (await docker("wc -c").run(within=PATIENCE)).out.strip() == "0"


async def test_stdin_that_nobody_reads(docker: Docker) -> None:
    """A command that ends without reading says why itself."""
    cli = docker("exec <&-; echo 'error: no such flag' >&2; exit 3")
    with pytest.raises(DockerCliError, match=r"^docker build -: error: no such flag$"):
        await cli.run("build", "-", within=PATIENCE, stdin=b"x" * 1_000_000)


async def test_big_outputs(docker: Docker) -> None:
    """Stdout comes whole; of stderr each line is heard and the last ones are kept."""
    cli = docker("seq 300000; seq 300000 >&2")
    heard: list[str] = []
    done = await cli.run(within=PATIENCE, on_error_line=heard.append)
    assert done.out.split() == heard == [str(n) for n in range(1, 300_001)]
    assert done.err.split() == heard[-400:]


async def test_a_line_without_end(docker: Docker) -> None:
    """Is no reason to lose what comes after it."""
    cli = docker("head -c 5000000 /dev/zero >&2; echo >&2; echo 'error: after it' >&2; exit 1")
    with pytest.raises(DockerCliError, match="error: after it"):
        await cli.run(within=PATIENCE)


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (
            "warning: x\nERROR: no builder 'farm' found\nsee --help",
            "ERROR: no builder 'farm' found",
        ),
        ("one\ntwo", "two"),
        ("", "ended with exit code 7"),
    ],
)
async def test_a_failure_is_told_by_the_line_that_tells_most(
    docker: Docker, printed: str, told: str
) -> None:
    """The last error, else the last line, else the exit code; unless failure is an answer, too."""
    cli = docker(f"printf '{printed.replace(chr(39), '%s')}' \"'\" \"'\" >&2; exit 7")
    with pytest.raises(DockerCliError) as failed:
        await cli.run("buildx", "inspect", "farm", within=PATIENCE)
    assert str(failed.value) == f"docker buildx inspect: {told}"
    assert (await cli.run(within=PATIENCE, check=False)).code == 7


async def test_no_docker(tmp_path: Path) -> None:
    """Says what is missing."""
    with pytest.raises(DockerCliError, match="docker command line is not installed here"):
        await DockerCli({"PATH": str(tmp_path)}).run("version", within=PATIENCE)


async def test_a_docker_that_is_no_program(docker: Docker, tmp_path: Path) -> None:
    """Is an error of its own kind, not of Python's."""
    cli = docker("")
    (tmp_path / "bin" / "docker").write_bytes(b"\x7fELF, but broken")
    with pytest.raises(DockerCliError, match=r"docker version: .*/docker can't be run: .*format"):
        await cli.run("version", within=PATIENCE)


@pytest.mark.parametrize(
    "script",
    ["echo \"docker: 'buildx' is not a docker command.\" >&2; exit 1", "echo github.com; exit 0"],
    ids=["unknown", "odd"],
)
async def test_no_buildx(docker: Docker, script: str) -> None:
    """Says what is missing, and where to get it."""
    with pytest.raises(DockerCliError, match="buildx is not installed here; on Debian: apt"):
        await docker(script).buildx_version()


async def test_version_of_buildx(docker: Docker) -> None:
    """As buildx prints it."""
    cli = docker('test "$*" = "buildx version" && echo "github.com/docker/buildx v0.36.1 1d2e3f"')
    assert await cli.buildx_version() == "v0.36.1"


PLUGIN = (
    "sh -c 'trap \"echo plugin >>ended; exit\" INT; echo $$ >pid; while :; do sleep 0.05; done'"
)


async def test_a_late_command_is_asked_to_end(docker: Docker, tmp_path: Path) -> None:
    """By SIGINT, and its plugin with it: both end as they like."""
    cli = docker(f"trap 'echo docker >>ended; exit' INT; {PLUGIN}; wait")
    with pytest.raises(DockerCliError, match=r"^docker buildx build: not done within 1.5 s$"):
        await cli.run("buildx", "build", ".", within=1.5)
    assert (tmp_path / "ended").read_text().split() == ["plugin", "docker"]
    assert not runs(tmp_path / "pid")


@pytest.mark.parametrize("then", ["trap 'exit 130' INT; wait", "exit"], ids=["asked", "before"])
async def test_a_plugin_that_does_not_listen_is_killed(
    docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """Also where docker itself ends when it is asked, or has ended before."""
    monkeypatch.setattr(dockercli, "_END_TIMEOUT", 0.2)
    deaf = "sh -c 'trap \"\" INT; echo $$ >pid; while :; do sleep 0.05; done'"
    with pytest.raises(DockerCliError, match="not done within"):
        await docker(f"{deaf} & {then}").run(within=1.5)
    assert not runs(tmp_path / "pid")


async def test_cancelled(docker: Docker, tmp_path: Path) -> None:
    """It ends before the cancellation goes on."""
    task = asyncio.create_task(docker(f"exec {PLUGIN}").run(within=PATIENCE), name="docker")
    await until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "ended").read_text() == "plugin\n"
    assert not runs(tmp_path / "pid")
