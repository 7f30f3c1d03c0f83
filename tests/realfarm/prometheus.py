"""A real Prometheus that scrapes the exporter, and what it knows afterwards."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.realfarm.daemon import Daemon
from tests.realfarm.shell import tail, wait_for


class Prometheus:
    """A running Prometheus with the exporter as its job ``buildfarm``."""

    def __init__(self, port: int, log: Path) -> None:
        self._url, self.log = f"http://127.0.0.1:{port}", log

    def api(self, path: str, **query: str) -> Any:
        """Ask its API; the ``data`` of the answer.

        :raises OSError: when it does not answer, or the query is wrong.
        """
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, promql: str, *by: str) -> dict[tuple[str, ...], float]:
        """Evaluate now: the values by the values of the labels ``by``."""
        rows = self.api("query", query=promql)["result"]
        return {
            tuple(row["metric"].get(label, "") for label in by): float(row["value"][1])
            for row in rows
        }

    def one(self, promql: str) -> float:
        """Evaluate now what has exactly one value."""
        (value,) = self.query(promql, "__name__").values()
        return value

    def said(self) -> str:
        """The end of its log."""
        return tail(self.log.read_text(errors="replace"))


@contextmanager
def scraping(
    exporter: Daemon,
    folder: Path,
    interval: str,
    rules: str = "",
    alertmanagers: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes the exporter, and itself, until the end of the ``with``.

    It evaluates ``rules``, a rule file's text, and tells the ``alertmanagers``, as HOST:PORT.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    targets = {"buildfarm": exporter.port, "prometheus": port}
    config: dict[str, Any] = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        },
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{of}"]}]}
            for job, of in targets.items()
        ],
    }
    if rules:
        (folder / "rules.yml").write_text(rules)
        config["rule_files"] = ["rules.yml"]
        told = {"static_configs": [{"targets": list(alertmanagers)}]}
        config["alerting"] = {"alertmanagers": [told]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    argv = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", "--log.level=debug"]
    argv += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    log = folder / "prometheus.log"
    with log.open("ab") as out:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    prometheus = Prometheus(port, log)

    def scraped() -> bool:
        try:
            return bool(
                prometheus.query("up == 1", "job").keys() == {("buildfarm",), ("prometheus",)}
            )
        except OSError:
            return False

    try:
        wait_for("Prometheus", scraped, why=prometheus.said)
        yield prometheus
    finally:
        process.terminate()
        process.wait(30)
