"""Running commands: every one has a deadline, and a failure shows what the command said."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class FarmError(Exception):
    """The farm can't be made, raised or worked on; says what to do where that is known."""


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float = 60,
    stdin: bytes | str = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run ``argv`` to its end; its output is text.

    :raises FarmError: when it takes longer than ``timeout`` seconds, or fails and ``check`` is on.
    """
    words = [str(word) for word in argv]
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(
            words, input=data, capture_output=True, timeout=timeout, env=env, cwd=cwd, check=False
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"") + (error.stderr or b"")
        last = tail(said.decode(errors="replace"))
        raise FarmError(f"{shlex.join(words)}: no end after {timeout:g} s\n{last}") from error
    except FileNotFoundError as error:
        raise FarmError(
            f"{words[0]}: no such command; run `python -m tests.realfarm.prepare`"
        ) from error
    text = subprocess.CompletedProcess(
        words,
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )
    if check and text.returncode != 0:
        raise FarmError(
            f"{shlex.join(words)}: exit code {text.returncode}\n{tail(text.stdout + text.stderr)}"
        )
    return text


def tail(text: str, lines: int = 30) -> str:
    """The last lines of ``text``, indented, for an error message."""
    return "\n".join("    " + line for line in text.strip().splitlines()[-lines:])


def wait_for(
    what: str,
    ready: Callable[[], object],
    *,
    timeout: float = 30,
    every: float = 0.1,
    why: Callable[[], str] = str,
) -> None:
    """Ask ``ready`` until it says something true.

    :raises FarmError: naming ``what`` and ``why`` when it did not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise FarmError(f"{what}: not within {timeout:g} s\n{why()}".rstrip())
        time.sleep(every)
