"""Options: what there is, and what is said of wrong ones."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
import typer
from typer.testing import CliRunner

from exporter import __version__
from exporter.cli.daemon import address
from exporter.cli.main import app
from tests.cli.command import command

COMMANDS = (
    *("run", "demo", "check", "status", "prune", "canary", "route", "discover", "rules", "schema"),
    "builder",
)


def helped(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
    assert result.exit_code == 0
    return click.unstyle(result.output)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command_in_one_line(flag: str) -> None:
    text = helped(flag)
    assert text.startswith("Usage: ")
    listed = text.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed[: len(COMMANDS)]] == list(COMMANDS)
    assert "..." not in text.partition("Commands:\n")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_fits_a_terminal(name: str) -> None:
    text = helped(name, "--help")
    assert max(len(line) for line in text.splitlines()) <= 80
    assert f" {name} [OPTIONS]" in text


async def test_version() -> None:
    done = await command("--version")
    assert (done.code, done.out) == (0, f"buildfarm-exporter {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nonsense"], "No such option: --nonsense"),
        (["nonsense"], "No such command 'nonsense'"),
        (["--web.listen-address", "9972"], "[HOST]:PORT, not '9972'"),
        (["--log.level", "loud"], "not 'loud'"),
        (["--log.format", "xml"], "not 'xml'"),
        (["demo", "--nodes", "0"], "--nodes"),
        (["demo", "--nodes", "many"], "--nodes"),
        (["--config", "/nonexistent/farm.yml"], "/nonexistent/farm.yml"),
        (["check", "--config"], "--config"),
    ],
)
async def test_a_wrong_option_is_named_and_nothing_starts(arguments: list[str], said: str) -> None:
    done = await command(*arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (":9972", (None, 9972)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:9972", ("::1", 9972)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_addresses(text: str, parts: tuple[str | None, int]) -> None:
    assert address(text) == parts


@pytest.mark.parametrize(
    "text", ["", "9972", "host", "host:", "host:http", "h:65536", "h:-1", "h:²"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        address(text)


def test_ctrl_c_before_anything_began() -> None:
    """In the middle of the imports: the exit code of every Ctrl-C, and no traceback."""
    code = """
import sys
class Interrupted:
    def find_spec(self, name, path, target=None):
        if name == "structlog":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
import exporter.cli
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")
