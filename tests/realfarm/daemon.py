"""The real ``buildfarm-exporter`` as a process of its own, over a configuration, scraped."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.realfarm.shell import FarmError, tail, wait_for

COMMAND = Path(sys.executable).with_name("buildfarm-exporter")
"""The console script of the environment that runs the tests."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """What ``/metrics`` said."""

    values: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def all(self, name: str, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """The samples of one name that have these labels, by all their labels."""
        wanted = set(labels.items())
        return {
            found: value
            for (sample, found), value in self.values.items()
            if sample == name and wanted <= found
        }

    def get(self, name: str, **labels: str) -> float | None:
        """The value of the one sample with these labels, or nothing.

        :raises LookupError: when there are several.
        """
        found = self.all(name, **labels)
        if len(found) > 1:
            raise LookupError(f"several {name}: {[dict(labels) for labels in found]}")
        return next(iter(found.values()), None)

    def value(self, name: str, **labels: str) -> float:
        """The value of the one sample with these labels.

        :raises LookupError: when there is none, saying which others there are, or several.
        """
        value = self.get(name, **labels)
        if value is None:
            near = [dict(labels) for labels in self.all(name)]
            raise LookupError(f"no {name} with {labels}; there is {near}")
        return value


class Daemon:
    """A running exporter."""

    def __init__(
        self, process: subprocess.Popen[bytes], port: int, config: Path, log: Path
    ) -> None:
        self.process, self.port, self.config, self.log = process, port, config, log

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, *, method: str = "GET", timeout: float = 30) -> tuple[int, str]:
        """Ask it by HTTP: status and body."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        ) as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def json(self, path: str) -> Any:
        """Ask its API.

        :raises FarmError: when it does not answer with 200.
        """
        status, body = self.get(path)
        if status != 200:
            raise FarmError(f"{path}: {status}: {body}")
        return json.loads(body)

    def scrape(self, path: str = "/metrics") -> Scrape:
        """Scrape and parse."""
        status, text = self.get(path)
        if status != 200:
            raise FarmError(f"{path}: {status}: {text}")
        return Scrape(
            {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        )

    def wait(self, what: str, holds: Callable[[Scrape], object], *, timeout: float = 60) -> Scrape:
        """Scrape until ``holds`` is true of it; that scrape.

        :raises FarmError: naming ``what`` with the end of the exporter's log when it stays false.
        """
        last = self.scrape()

        def look() -> object:
            nonlocal last
            last = self.scrape()
            return holds(last)

        wait_for(what, look, timeout=timeout, every=0.2, why=self.said)
        return last

    def reload(self, config: Mapping[str, Any]) -> None:
        """Write another configuration, and tell the exporter to read it."""
        self.config.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        self.process.send_signal(signal.SIGHUP)

    def stop(self, timeout: float = 30) -> int:
        """End it as an operator does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def said(self) -> str:
        """The end of its log."""
        return tail(self.log.read_text(errors="replace"))


@contextmanager
def running(
    config: Mapping[str, Any],
    folder: Path,
    env: Mapping[str, str],
    *arguments: str,
    timeout: float = 30,
) -> Iterator[Daemon]:
    """Run the exporter until the end of the ``with``; it must then end well.

    :raises FarmError: when it does not get ready, or ends with anything but 0.
    """
    file, log, port = folder / "exporter.yml", folder / "exporter.log", _free_port()
    file.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    listen = f"--web.listen-address=127.0.0.1:{port}"
    argv = [str(COMMAND), "run", f"--config={file}", listen, "--log.format=json", *arguments]
    with log.open("ab") as out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(env), cwd=folder
        )
    daemon = Daemon(process, port, file, log)

    def ready() -> bool:
        if process.poll() is not None:
            raise FarmError(f"the exporter ended with {process.returncode}:\n{daemon.said()}")
        with contextlib.suppress(OSError):
            return daemon.get("/-/ready", timeout=5)[0] == 200
        return False

    try:
        wait_for("the exporter", ready, timeout=timeout, why=daemon.said)
        yield daemon
        code = daemon.stop() if process.poll() is None else process.returncode
        if code != 0:
            raise FarmError(f"the exporter ended with {code}:\n{daemon.said()}")
    finally:
        process.kill()
        process.wait(30)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
