"""OCI images: written as a layout on disk, pushed to a registry."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    """A single-layer image for one architecture."""

    architecture: str
    files: Mapping[str, Path | bytes]
    """What is where: a file of this machine or its content, both executable by everyone."""
    links: Mapping[str, str]
    folders: Sequence[str] = ()
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()


def write_layout(folder: Path, images: Sequence[Image]) -> None:
    """Write one image for several architectures as an OCI layout."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifests = [
        {
            **_blob(blobs, _MANIFEST, _json(_manifest(blobs, image))),
            "platform": {"os": "linux", "architecture": image.architecture},
        }
        for image in images
    ]
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
    (folder / "index.json").write_bytes(_json(index))
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))


def push(layout: Path, host: str, port: int, repository: str, tags: Sequence[str]) -> None:
    """Push a layout to a plain-HTTP registry under each of ``tags``."""
    index = (layout / "index.json").read_bytes()
    manifests = {entry["digest"] for entry in json.loads(index)["manifests"]}
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        for blob in sorted((layout / "blobs" / "sha256").iterdir()):
            digest = f"sha256:{blob.name}"
            if digest not in manifests:
                location = _ask(connection, "POST", f"/v2/{repository}/blobs/uploads/", b"", "")
                joint = "&" if "?" in location else "?"
                body = blob.read_bytes()
                _ask(connection, "PUT", f"{location}{joint}digest={digest}", body, _LAYER)
        for digest in manifests:
            body = (layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
            _ask(connection, "PUT", f"/v2/{repository}/manifests/{digest}", body, _MANIFEST)
        for tag in tags:
            _ask(connection, "PUT", f"/v2/{repository}/manifests/{tag}", index, _INDEX)
    finally:
        connection.close()


def _ask(
    connection: http.client.HTTPConnection, method: str, url: str, body: bytes, kind: str
) -> str:
    """Do one request; the ``Location`` of the answer."""
    connection.request(method, url, body, {"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status not in (201, 202):
        raise OSError(f"the registry answered {answer.status} to {method} {url}: {said[:300]!r}")
    return answer.headers.get("Location", "")


def _manifest(blobs: Path, image: Image) -> dict[str, Any]:
    plain = _tar(image)
    config = {
        "architecture": image.architecture,
        "os": "linux",
        "config": {
            "Env": [_PATH],
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
    }
    return {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _blob(blobs, _CONFIG, _json(config)),
        "layers": [_blob(blobs, _LAYER, gzip.compress(plain, compresslevel=3, mtime=0))],
    }


def _tar(image: Image) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        parents = {str(p) for name in (*image.files, *image.links) for p in Path(name).parents}
        for name in sorted(parents | set(image.folders) - {"."}):
            if name != ".":
                tar.addfile(_entry(name, tarfile.DIRTYPE))
        for name, source in sorted(image.files.items()):
            data = source if isinstance(source, bytes) else source.read_bytes()
            entry = _entry(name, tarfile.REGTYPE)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        for name, target in sorted(image.links.items()):
            entry = _entry(name, tarfile.SYMTYPE)
            entry.linkname = target
            tar.addfile(entry)
    return out.getvalue()


def _entry(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, 0o1777 if name == "tmp" else 0o755
    return entry


def _blob(blobs: Path, kind: str, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
