"""References of images: which are good, and which are the same."""

from __future__ import annotations

import pytest

from exporter.config.images import check_image, image_in_full

SHA256 = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("docker.io/busybox:stable", "docker.io/library/busybox:stable"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox:latest"),
        ("me/my__app-1--x.y_z", "docker.io/me/my__app-1--x.y_z:latest"),
        ("my_team/app", "docker.io/my_team/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("host:5000/a", "host:5000/a:latest"),
        ("Registry.Example.com/a/b/c:V1.0_x-y", "registry.example.com/a/b/c:V1.0_x-y"),
        (f"host:5000/a:1@{SHA256}", "host:5000/a:1"),
        ("[fd00::1]:5000/a", "[fd00::1]:5000/a:latest"),
        ("app@sha512:" + "0" * 128, "docker.io/library/app:latest"),
    ],
)
def test_good_references(reference: str, full: str) -> None:
    assert image_in_full(check_image(reference)) == full


@pytest.mark.parametrize(
    "text",
    [
        "busy box",
        "busybox ",
        "docker://busybox",
        "https://registry.example.com/a",
        "Busybox",
        "host/App",
        "a//b",
        "/a",
        "a/",
        "a:",
        "a:-1",
        "a:" + "1" * 129,
        "-host.example.com/a",
        "a___b",
        "a..b",
        "a@sha256:abc",
        f"a@{SHA256.replace('a', 'A')}",
        "$BASE",
        "büsy",
        "a\n",
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ValueError, match="must be an image reference"):
        check_image(text)
