"""Making things once: a recipe's product appears whole, and again when the recipe changes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.realfarm.paths import CACHE
from tests.realfarm.shell import FarmError, tail


@dataclass(frozen=True, slots=True)
class Log:
    """Runs commands with all their output in one file."""

    path: Path

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Run ``argv`` to its end.

        :raises FarmError: naming the log when the command fails or takes too long.
        """
        words = [str(word) for word in argv]
        with self.path.open("a") as out:
            out.write(f"+ {' '.join(words)}\n")
            out.flush()
            try:
                code = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    timeout=timeout,
                    env=env,
                    cwd=cwd,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired as error:
                raise FarmError(
                    f"{words[0]}: no end after {timeout:g} s; see {self.path}"
                ) from error
            except FileNotFoundError as error:
                raise FarmError(f"{words[0]}: no such command") from error
        if code:
            raise FarmError(
                f"{words[0]}: exit code {code}; all it said is in {self.path}, last:\n"
                + tail(self.path.read_text(errors="replace"), 12)
            )


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a directory is made, and what it depends on."""

    name: str
    depends: tuple[str, ...]
    """Whatever makes another product: versions, package lists, the text of scripts."""
    make: Callable[[Path, Log], None]

    @property
    def product(self) -> Path:
        """Where the product is; the name holds the recipe's hash, so it says what is in it."""
        digest = hashlib.sha256("\0".join(self.depends).encode()).hexdigest()[:12]
        return CACHE / f"{self.name}-{digest}"

    def cook(self) -> Path:
        """Make the product unless it is there; atomically, so that a half one is never used."""
        if self.product.exists():
            return self.product
        half = CACHE / f"half-{self.name}"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        log = Log(log_file(self.name))
        log.path.write_text("")
        self.make(half, log)
        half.rename(self.product)
        return self.product


def log_file(name: str) -> Path:
    """The log of one step."""
    path = CACHE / "log" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
