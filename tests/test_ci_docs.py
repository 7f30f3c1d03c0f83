"""What docs/ci.md tells people to put into their pipelines is right."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from exporter.cli.main import app
from exporter.config.load import load

TEXT = (Path(__file__).parent.parent / "docs/ci.md").read_text()
BLOCKS = [
    yaml.safe_load(block)
    for block in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
]
CONFIG, GITHUB, GITLAB = BLOCKS


def github_scripts() -> Iterator[str]:
    for job in GITHUB["jobs"].values():
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            if "run" in step:
                yield step["run"]


def gitlab_scripts() -> Iterator[str]:
    jobs = [GITLAB[name] for name in ("build", "image")]
    for lines in (GITLAB["default"]["before_script"], *(job["script"] for job in jobs)):
        assert all(isinstance(line, str) for line in lines)
        yield "\n".join(lines)


SCRIPTS = [*github_scripts(), *gitlab_scripts()]
COMMANDS = [
    shlex.split(line.split("#")[0].split("|")[0])
    for line in re.findall(r"buildfarm-exporter ([a-z][^\n`)]*)", TEXT)
]


def test_the_configuration_is_right(tmp_path: Path) -> None:
    file = tmp_path / "farm.yml"
    file.write_text(yaml.safe_dump(CONFIG))
    config = load(file, environ={"HOME": str(tmp_path)})
    assert [node.name for node in config.nodes] == ["amd64-1", "amd64-2", "arm64-1"]
    assert not config.warnings


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_shell(script: str) -> None:
    done = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_both_pipelines_build_what_the_last_job_joins() -> None:
    """Each platform is built and pushed under a name that the image's job then takes."""
    for scripts, names, arches in (
        (list(github_scripts()), "$IMAGE:$GITHUB_SHA", GITHUB["jobs"]["build"]["strategy"]),
        (list(gitlab_scripts()), "$CI_REGISTRY_IMAGE:$CI_COMMIT_SHA", GITLAB["build"]["parallel"]),
    ):
        *_, build, join = scripts
        matrix: Any = arches["matrix"]
        (built,) = [matrix["arch"]] if isinstance(matrix, dict) else [m["ARCH"] for m in matrix]
        assert f'--tag "{names}-$ARCH" --push' in build
        joined = re.findall(rf'"{re.escape(names)}-(\w+)"', join)
        assert joined == built == ["amd64", "arm64"]


def test_every_use_of_the_command_was_found() -> None:
    used = {command[0] for command in COMMANDS}
    assert used == {"builder", "route"}
    assert len(COMMANDS) >= 7


@pytest.mark.parametrize("command", COMMANDS, ids=shlex.join)
def test_options_are_all_there(command: list[str]) -> None:
    """Every command line shown is one that the command takes."""
    names = [word for word in command if re.fullmatch(r"[a-z]+", word)]
    path = names[:2] if command[0] == "builder" else names[:1]
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for word in command:
        if word.startswith("-"):
            assert re.search(rf"{word}\b", result.output), word
