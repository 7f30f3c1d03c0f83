"""References of images, as registry/name:tag@digest."""

from __future__ import annotations

import re

_HOST = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
    r"|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
)
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}"
# The grammar of github.com/distribution/reference, and the digests that OCI registers.
PATTERN = rf"(?:({_HOST})/)?({_PART}(?:/{_PART})*)(?::({_TAG}))?(?:@(?:{_DIGEST}))?"
_REFERENCE = re.compile(PATTERN)


def check_image(text: str) -> str:
    """Return the reference as it is, if it is one. :raises ValueError: if it is none."""
    if not _REFERENCE.fullmatch(text):
        raise ValueError("must be an image reference, as registry.example.com/canary:latest")
    return text


def image_in_full(reference: str) -> str:
    """A good reference with the registry and the tag that it implies, without a digest."""
    match = _REFERENCE.fullmatch(reference)
    assert match is not None
    host, path, tag = match.groups()
    # A first part that could be a directory is one: so `docker pull` tells them apart.
    if host and not re.search(r"[.:A-Z]|^localhost$", host):
        host, path = None, f"{host}/{path}"
    host = (host or "docker.io").lower()
    host = "docker.io" if host == "index.docker.io" else host
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return f"{host}/{path}:{tag or 'latest'}"
