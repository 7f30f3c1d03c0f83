"""A PostgreSQL server of Debian's, in a directory of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.realfarm.shell import FarmError

_USER = "postgres"


class Postgres:
    """A server on a unix socket that trusts everybody who can reach it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._bin = _programs()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._as_user([str(self._bin / "initdb"), "--auth=trust", "-D", str(self.data)])

    @property
    def data(self) -> Path:
        """Where the server keeps its data."""
        return self.directory / "data"

    def new_database(self) -> str:
        """Make a database; its URL."""
        self._databases += 1
        name = f"history{self._databases}"
        self._as_user([str(self._bin / "createdb"), "-h", str(self.directory), name])
        return f"postgresql://{_USER}@/{name}?host={self.directory}"

    def start(self) -> None:
        """Run the server until it takes connections."""
        command = [str(self._bin / "postgres"), "-D", str(self.data), "-k", str(self.directory)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_user(), *command, "-c", "listen_addresses="],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ready = [str(self._bin / "pg_isready"), "-q", "-h", str(self.directory)]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, check=False, timeout=30).returncode:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise FarmError(f"PostgreSQL does not start; see {self.directory / 'log'}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server, connected clients or not."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=60)
            self._process = None

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Stop the server and all that serves its clients, as SIGSTOP does."""
        assert self._process is not None
        # Whoever serves a client is in a session of its own.
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        processes = [self._process.pid, *map(int, children.split())]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                # One that had ended just before is gone as soon as its parent goes on.
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def _as_user(self, command: list[str]) -> None:
        done = subprocess.run(
            [*_as_user(), *command], check=False, capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            raise FarmError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextmanager
def running() -> Iterator[Postgres]:
    """Give a server that runs, and none of it afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="farm-postgres-"))
    try:
        shutil.chown(directory, _user().pw_uid, _user().pw_gid)
        server = Postgres(directory)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


def _user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_USER)
    except KeyError as error:
        raise FarmError("PostgreSQL is missing: install the Debian package postgresql") from error


def _as_user() -> list[str]:
    user = _user()
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _programs() -> Path:
    """Where the newest server's programs are: Debian has them on nobody's PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if not found:
        raise FarmError("PostgreSQL is missing: install the Debian package postgresql")
    return found[-1].parent
