"""What buildx prints, as it was recorded from buildx 0.36.1 and 0.13.1, and what is read of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exporter.actions.multiarch_builder import BuildxError
from exporter.actions.multiarch_output import Node, Progress, read_built, read_images, read_nodes

AMD64, ARM64 = "linux/amd64", "linux/arm64"
BEGAN, ENDED = {"started": "2026-11-25T02:57:08.06Z"}, {"completed": "2026-11-25T02:57:08.14Z"}
INSPECTED = """\
Name:          whole
Driver:        docker-container
Last Activity: 2026-11-25 02:52:30 +0000 UTC

Nodes:
Name:                  farm0
Endpoint:              ssh://root@198.51.100.12
Status:                running
BuildKit daemon flags: --allow-insecure-entitlement=network.host
BuildKit version:      v0.32.2
Platforms:             linux/amd64*, linux/amd64/v2, linux/arm64, linux/386
Labels:
 org.mobyproject.buildkit.worker.executor:         oci
GC Policy rule#0:
 All:            false
File#buildkitd.toml:
 > [registry]

Name:     farm1
Endpoint: ssh://root@198.51.100.99
Error:    error during connect: Get "http://docker.example.com/v1.55/containers/buildx_buildkit_farm1/json": command [ssh -l root -- 198.51.100.99 docker system dial-stdio] has exited with exit status 255, make sure the URL is valid: stderr=ssh: connect to host 198.51.100.99 port 22: No route to host

Name:     farm2
Endpoint: unix:///nowhere.sock
Error:    Cannot connect to the Docker daemon at unix:///nowhere.sock. Is the docker daemon running?

Name:     farm3
Endpoint: ssh://root@198.51.100.13
Status:   inactive
"""  # noqa: E501


def _step(name: str, **more: Any) -> dict[str, Any]:
    return {"digest": f"sha256:{name}", "name": name, **more}


def _heard(*vertices: dict[str, Any], indent: int | None = None) -> Progress:
    progress = Progress()
    for vertex in vertices:
        value = {"vertexes": [vertex], "statuses": [{"id": "x", "vertex": vertex["digest"]}]}
        for line in json.dumps(value, indent=indent).splitlines():
            progress.hear(line)
    return progress


@pytest.mark.parametrize("indent", [None, 2], ids=["0.36.1", "0.13.1"])
def test_steps(indent: int | None) -> None:
    """RUN steps count, each once however often it is told of, and no others."""
    done = BEGAN | ENDED
    progress = _heard(
        _step("[internal] load build definition from Dockerfile", **done),
        _step("[linux/arm64 internal] load metadata for docker.io/library/busybox:stable", **done),
        _step("[linux/arm64 1/4] FROM docker.io/library/busybox@sha256:b6", cached=True, **done),
        _step('[linux/arm64 2/4] RUN echo "{id}" > /a'),
        _step('[linux/arm64 2/4] RUN echo "{id}" > /a', cached=True, **BEGAN),
        _step('[linux/arm64 2/4] RUN echo "{id}" > /a', **done),
        _step("[linux/arm64 3/4] RUN read -r id", **done),
        _step("[linux/amd64 2/4] RUN echo", **done),
        _step("exporting to image", **done),
        indent=indent,
    )
    assert progress.cached([AMD64, ARM64]) == {AMD64: [False], ARM64: [True, False]}
    assert progress.unread is None
    assert progress.running == []


def test_steps_of_one_platform() -> None:
    """It is not named then."""
    progress = _heard(_step("[2/4] RUN echo", cached=True), _step("[3/4] RUN read"))
    assert progress.cached([ARM64]) == {ARM64: [True, False]}


def test_running() -> None:
    """What began and did not end, however many nodes do it."""
    progress = _heard(
        {"digest": "sha256:1", "name": "[internal] load metadata", **BEGAN},
        {"digest": "sha256:2", "name": "[internal] load metadata", **BEGAN},
        {"digest": "sha256:3", "name": "[2/4] RUN echo"},
        {"digest": "sha256:4", "name": "[internal] load .dockerignore", **BEGAN},
        {"digest": "sha256:4", "name": "[internal] load .dockerignore", **BEGAN, **ENDED},
    )
    assert progress.running == ["[internal] load metadata"]


def test_cache_that_can_t_be_read() -> None:
    """Why not is kept: buildx goes on without."""
    name = "importing cache manifest from registry.example.com/canary:cache"
    progress = _heard(_step(name, error="not found", **BEGAN, **ENDED))
    assert progress.unread == "not found"


@pytest.mark.parametrize("line", ["{", "}", "{}", "{x}", "WARNING: 1 {2}", "", "  }", '{"a": 1}'])
def test_lines_that_are_no_progress(line: str) -> None:
    """Warnings and errors are among them; what comes after is heard."""
    progress = _heard(_step("[2/4] RUN a"))
    progress.hear(line)
    progress.hear(json.dumps({"vertexes": [_step("[3/4] RUN b")]}))
    assert progress.cached([AMD64]) == {AMD64: [False, False]}


def test_nodes() -> None:
    """Nodes that run tell their platforms, nodes that don't answer why, in a few words."""
    assert read_nodes(INSPECTED) == {
        "farm0": Node(None, (AMD64, "linux/amd64/v2", ARM64, "linux/386")),
        "farm1": Node("ssh: connect to host 198.51.100.99 port 22: No route to host", ()),
        "farm2": Node(
            "Cannot connect to the Docker daemon at unix:///nowhere.sock. Is the docker daemon "
            "running?",
            (),
        ),
        "farm3": Node(None, ()),
    }


@pytest.mark.parametrize(
    ("mine", "other", "platform", "replaces"),
    [
        ((AMD64, "linux/386"), (AMD64, "linux/386"), "linux/386", True),
        ((AMD64, ARM64), (ARM64,), ARM64, False),
        ((AMD64, ARM64), (AMD64, ARM64), ARM64, True),
        ((ARM64,), (AMD64, ARM64), ARM64, True),
        ((ARM64,), (AMD64,), AMD64, False),
        (("linux/arm64", "linux/arm/v7"), ("linux/arm64",), "linux/arm/v6", True),
        ((), (AMD64,), AMD64, False),
    ],
)
def test_another_node_for_a_platform(
    mine: tuple[str, ...], other: tuple[str, ...], platform: str, replaces: bool
) -> None:
    """One that builds it, and does not emulate what runs natively now."""
    assert Node(None, mine).replaces(Node(None, other), platform) is replaces


def test_built() -> None:
    """As normalised as everywhere."""
    assert read_built('{"Ref": "x", "Platform": ["linux/amd64", "linux/arm64/v8"]}') == (
        AMD64,
        ARM64,
    )


def _image(**more: Any) -> dict[str, Any]:
    by = "RUN |1 BUILDFARM_CANARY=id-1 /bin/sh -c echo # buildkit"
    history = [{"created": "2026-11-25T02:51:39Z", "empty_layer": True}, {"created_by": by}]
    return {"architecture": "amd64", "os": "linux", "history": history, **more}


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (_image(), {AMD64: True}),
        (_image(architecture="arm", variant="v7"), {"linux/arm/v7": True}),
        (
            {AMD64: _image(), ARM64: _image(architecture="arm64", history=None)},
            {AMD64: True, ARM64: False},
        ),
        ({}, {}),
    ],
)
def test_images(images: dict[str, Any], found: dict[str, bool]) -> None:
    """Platforms at the registry, and whether the image there is the one that was built."""
    assert read_images(json.dumps(images), "id-1") == found
    assert not any(read_images(json.dumps(images), "id-2").values())


@pytest.mark.parametrize("text", ["", "null", "[]", "1", '{"linux/amd64": 1}', '{"Platform": 1}'])
def test_not_understood(text: str) -> None:
    """It is said which command told nothing."""
    with pytest.raises(BuildxError, match=r"^docker buildx history does not tell the platforms$"):
        read_built(text)
    with pytest.raises(BuildxError, match=r"^docker buildx imagetools does not tell"):
        read_images(text, "id-1")
