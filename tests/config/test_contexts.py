"""Docker contexts, and the one that the environment makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.config.contexts import SOCKET, Context, Contexts, StoreError
from exporter.model import TlsFiles
from tests.config.conftest import Place

KEYS = ("ca", "cert", "key")


@pytest.fixture
def contexts(place: Place) -> Contexts:
    return Contexts(place.environ, place.home)


def test_a_context_without_tls(place: Place, contexts: Contexts) -> None:
    place.context("east", "ssh://me@node5")
    assert contexts.get("east") == Context("east", "ssh://me@node5")


def test_a_context_with_tls(place: Place, contexts: Contexts, pem: Mapping[str, str]) -> None:
    place.context("east", "tcp://node5:2376", {key: pem[f"{key}.pem"] for key in KEYS})
    tls = contexts.get("east").tls
    assert tls is not None
    read = [path and path.read_text() for path in (tls.ca, tls.cert, tls.key)]
    assert read == [pem[f"{key}.pem"] for key in KEYS]


def test_a_context_that_skips_verification_is_verified(place: Place, contexts: Contexts) -> None:
    """And it says so: a server with a wrong certificate will fail."""
    place.context("east", "tcp://node5:2376", SkipTLSVerify=True)
    context = contexts.get("east")
    assert context.tls == TlsFiles()
    assert context.note == (
        "Docker context 'east': says not to check the server's certificate; "
        "it will be checked all the same"
    )


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ({"cert": "cert.pem"}, "Docker context 'east': TLS file 'key' is missing"),
        ({"ca": "key.pem"}, "Docker context 'east': TLS file 'ca': holds a private key; a line "),
        (
            {"cert": "cert.pem", "key": "other-key.pem"},
            "Docker context 'east': TLS file 'key': the key does not belong to the certificate",
        ),
    ],
)
def test_a_contexts_tls_files_are_checked(
    place: Place,
    contexts: Contexts,
    pem: Mapping[str, str],
    tls: Mapping[str, str],
    message: str,
) -> None:
    place.context("east", "tcp://node5:2376", {key: pem[name] for key, name in tls.items()})
    with pytest.raises(StoreError) as caught:
        contexts.get("east")
    assert str(caught.value).startswith(message)


def test_a_context_that_is_not_there(place: Place, contexts: Contexts) -> None:
    place.context("east", "ssh://node5")
    with pytest.raises(StoreError, match=r"no Docker context 'west'; there are: default, east"):
        contexts.get("west")


def test_damaged_contexts_are_told_of(place: Place, contexts: Contexts) -> None:
    """The others are found all the same."""
    place.context("east", "ssh://node5")
    place.write("home/.docker/contexts/meta/0123456789abcdef/meta.json", "{")
    place.write("home/.docker/contexts/meta/1123456789abcdef/meta.json", '{"Name": "x"}')
    assert contexts.names() == (
        ["east"],
        [
            "Docker context 0123456789ab…: not valid JSON, line 1",
            "Docker context 1123456789ab…: its name does not fit",
        ],
    )


@pytest.mark.parametrize(
    ("environ", "context"),
    [
        ({}, Context("default", SOCKET)),
        ({"DOCKER_HOST": "ssh://node1"}, Context("default", "ssh://node1")),
        ({"DOCKER_HOST": "node1:2375"}, Context("default", "tcp://node1:2375")),
    ],
)
def test_the_default_context(environ: dict[str, str], context: Context) -> None:
    assert Contexts(environ, Path("/nowhere")).get("default") == context


def test_the_default_context_with_tls(place: Place) -> None:
    """DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, as for the docker command."""
    environ = {
        "DOCKER_HOST": "tcp://node1:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(place.root),
    }
    ca, cert, key = (place.root / f"{key}.pem" for key in KEYS)
    assert Contexts(environ, place.home).get("default").tls == TlsFiles(ca, cert, key)


def test_the_default_context_without_its_authority(place: Place) -> None:
    environ = {"DOCKER_HOST": "tcp://node1:2376", "DOCKER_TLS_VERIFY": "1"}
    with pytest.raises(StoreError, match=r"\$DOCKER_HOST: TLS file 'ca': no such file"):
        Contexts(environ, place.home).get("default")


@pytest.mark.parametrize(
    ("environ", "current"),
    [
        ({}, "east"),
        ({"DOCKER_CONTEXT": "west"}, "west"),
        ({"DOCKER_CONTEXT": "west", "DOCKER_HOST": "ssh://node1"}, "default"),
    ],
)
def test_the_current_context(place: Place, environ: dict[str, str], current: str) -> None:
    """$DOCKER_HOST goes before $DOCKER_CONTEXT, and that before `docker context use`."""
    place.write("home/.docker/config.json", '{"currentContext": "east"}')
    assert Contexts(environ, place.home).current() == current
