"""The log's two formats."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from exporter import logs


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def fail(stream: io.StringIO, log_format: logs.Format) -> str:
    """Log an error within a function that has a secret among its variables."""
    logs.configure("info", log_format, stream)
    passphrase = "geheim"  # noqa: F841
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        structlog.get_logger("room").exception("it failed", node="n1")
    return stream.getvalue()


def entry(text: str) -> dict[str, Any]:
    (line,) = text.splitlines()
    return dict(json.loads(line))


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["pipe", "terminal"])
@pytest.mark.parametrize("log_format", ["auto", "console", "json"])
def test_an_exception_is_told_without_the_variables(
    stream: io.StringIO, log_format: logs.Format
) -> None:
    text = fail(stream, log_format)
    assert "ZeroDivisionError: by zero" in text
    assert "geheim" not in text


def test_json_where_nobody_looks() -> None:
    told = entry(fail(io.StringIO(), "auto"))
    assert (told["event"], told["level"], told["node"]) == ("it failed", "error", "n1")
    assert told["logger"] == "room"


def test_colours_on_a_terminal() -> None:
    assert "\x1b[" in fail(Terminal(), "auto")
    assert "\x1b[" not in fail(io.StringIO(), "console")


def test_what_is_bound_is_told_by_libraries_too() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    with structlog.contextvars.bound_contextvars(node="n1"):
        logging.getLogger("somebody").warning("odd: %s", "x")
    told = entry(stream.getvalue())
    assert (told["event"], told["node"], told["logger"]) == ("odd: x", "n1", "somebody")


@pytest.mark.parametrize("name", ["asyncssh", "aiohttp.access", "asyncio"])
def test_chatty_libraries_are_quiet(name: str) -> None:
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    logging.getLogger(name).info("a packet")
    assert stream.getvalue() == ""
    logging.getLogger(name).warning("trouble")
    assert entry(stream.getvalue())["event"] == "trouble"


def test_below_the_level_nothing_is_told() -> None:
    stream = io.StringIO()
    logs.configure("warning", "json", stream)
    structlog.get_logger("room").info("by the way")
    assert stream.getvalue() == ""
