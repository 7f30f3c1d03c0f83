"""Real builds on every kind of builder."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.realfarm.client import Client
from tests.realfarm.namespace import Machine
from tests.realfarm.specs import FarmNode
from tests.realfarm.truth import BARE, EMBEDDED


def build(
    machine: Machine,
    spec: FarmNode,
    client: Client,
    builder: str,
    dockerfile: str,
    files: Mapping[str, bytes],
    options: Sequence[str],
    timeout: float,
) -> str:
    """Build ``dockerfile`` with ``files`` on a builder of the node; the build's progress."""
    context = {"Dockerfile": dockerfile.encode(), **files}
    if builder == BARE:
        return _buildctl(machine, spec, client, context, options, timeout)
    if builder == EMBEDDED:
        argv = ["docker", "build", "--progress=plain", *options, "-"]
        env = {"DOCKER_BUILDKIT": "1"}
        done = machine.run(argv, stdin=_tar(context), timeout=timeout, env=env)
    else:
        argv = ["docker", "buildx", "build", f"--builder={spec.builder}", "--progress=plain"]
        done = client.run([*argv, *options, "-"], stdin=_tar(context), timeout=timeout)
    return done.stdout + done.stderr


def _buildctl(
    machine: Machine,
    spec: FarmNode,
    client: Client,
    context: Mapping[str, bytes],
    options: Sequence[str],
    timeout: float,
) -> str:
    tls = client.tls
    flags = [f"--tlscacert={tls['ca']}", f"--tlscert={tls['cert']}", f"--tlskey={tls['key']}"]
    argv = ["buildctl", f"--addr=tcp://{machine.address}:{spec.port}", *flags]
    with tempfile.TemporaryDirectory(dir=client.home) as folder:
        for name, data in context.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        argv += ["build", "--progress=plain", "--frontend=dockerfile.v0"]
        argv += [f"--local=context={folder}", f"--local=dockerfile={folder}", *options]
        done = client.run(argv, timeout=timeout)
    return done.stdout + done.stderr


def _tar(context: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in context.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()
