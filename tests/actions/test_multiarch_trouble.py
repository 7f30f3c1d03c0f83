"""A canary over several nodes: whatever goes wrong is said in one line."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any

import pytest

from exporter.canaries import CanaryOutcome
from exporter.dockercli import DockerCli
from tests.actions.multiarch import AMD64, ARM64, PATIENCE, PUSH, BuildxFarm


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"lost": [ARM64]}, f"{PUSH} lacks {ARM64} at the registry"),
        ({"foreign": [AMD64]}, f"{PUSH} has another image for {AMD64} at the registry than the"),
        (
            {"fails": {"imagetools": "ERROR: denied"}},
            "docker buildx imagetools: ERROR: denied",
        ),
    ],
)
async def test_not_at_the_registry(farm: BuildxFarm, knobs: dict[str, Any], said: str) -> None:
    """It is a failure; what was built is told all the same."""
    farm.knobs |= knobs
    record = await farm.canary()
    assert record.outcome is CanaryOutcome.FAILED
    assert str(record.detail).startswith(said)
    assert record.first is not None
    assert record.second is None


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("build", "x\nERROR: failed to push", "docker buildx build: ERROR: failed to push"),
        ("build", "ERROR: \x1b[1mno\x07 way", "docker buildx build: ERROR: [1mno way"),
        ("inspect", "ERROR: no way", "docker buildx inspect: ERROR: no way"),
        ("version", "unknown command", "docker's plugin buildx is not installed here; on Debian"),
    ],
)
async def test_a_command_fails(farm: BuildxFarm, what: str, error: str, said: str) -> None:
    """It is said in one line."""
    farm.knobs["fails"] = {what: error}
    record = await farm.canary()
    assert record.outcome is CanaryOutcome.FAILED
    assert str(record.detail).startswith(said)
    assert record.finished_at > record.started_at


async def test_docker_is_missing(farm: BuildxFarm) -> None:
    """It is said what for it is needed."""
    farm.docker = DockerCli({"PATH": str(farm.instances)})
    record = await farm.canary()
    assert record.outcome is CanaryOutcome.FAILED
    assert str(record.detail).startswith("the docker command line is not installed here")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no buildx builder 'farm' in FOLDER: make it (buildfarm-exporter builder"),
        ("{", "the buildx builder 'farm' can't be read: Expecting property name"),
        ("[]", "the buildx builder 'farm' can't be read: "),
        ('{"Name": "farm", "Nodes": []}', "the buildx builder 'farm' has no nodes"),
        ('{"Name": "farm", "Nodes": [{"Platforms": 1}]}', "the buildx builder 'farm' can't be re"),
    ],
)
async def test_builder_is_missing(farm: BuildxFarm, text: str | None, said: str) -> None:
    """It is said where it was looked for, or what is wrong with it."""
    file = farm.instances / "farm"
    file.unlink() if text is None else file.write_text(text)
    record = await farm.canary()
    file.touch()
    assert record.outcome is CanaryOutcome.FAILED
    assert str(record.detail).startswith(said.replace("FOLDER", str(farm.instances)))


async def test_node_down(farm: BuildxFarm) -> None:
    """buildx does not say which; the rest of what it says is no more than is said already."""
    farm.knobs |= {"down": {"two": "command ssh: stderr=no route"}}
    farm.knobs["fails"] = {"build": "ERROR: failed to build: command ssh: stderr=no route"}
    record = await farm.canary()
    assert record.outcome is CanaryOutcome.FAILED
    assert record.detail == "node two does not answer: no route"


async def test_no_node_answers(farm: BuildxFarm) -> None:
    """Then there are no platforms to build for, where none are claimed."""
    farm.builder(one=[])
    farm.knobs["down"] = {"one": "no route"}
    record = await farm.canary()
    assert record.outcome is CanaryOutcome.FAILED
    assert record.detail == (
        "node one does not answer: no route; no node of the buildx builder 'farm' tells its "
        "platforms"
    )


async def test_late(farm: BuildxFarm) -> None:
    """What it was at is said."""
    farm.knobs["hangs"] = True
    record = await farm.canary(timeout=3.0)
    assert record.outcome is CanaryOutcome.TIMEOUT
    assert record.detail == (
        f"docker buildx build: not done within 3 s, at: [{AMD64} 2/4] RUN echo"
    )


async def test_cancelled(farm: BuildxFarm) -> None:
    """Nothing is left then either."""
    farm.knobs["hangs"] = True
    task = asyncio.create_task(farm.canary(), name="canary")
    async with asyncio.timeout(PATIENCE):
        while not (farm.folder / "history.json").exists():
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_no_place_for_files(farm: BuildxFarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said that it is this machine's trouble."""
    monkeypatch.setattr(tempfile, "tempdir", str(farm.folder / "nowhere"))
    record = await farm.canary()
    assert record.outcome is CanaryOutcome.FAILED
    assert str(record.detail).startswith("no place for a copy of the builder: ")
