"""A real Alertmanager, alone or as a cluster of replicas, and a receiver that remembers."""

from __future__ import annotations

import base64
import json
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.realfarm.daemon import Scrape
from tests.realfarm.shell import FarmError, tail, wait_for


@dataclass(frozen=True, slots=True)
class Told:
    """What a receiver was told of one alert."""

    status: str
    """``firing`` or ``resolved``."""
    labels: Mapping[str, str]
    at: float


class Receiver:
    """A webhook on loopback. Every Alertmanager, or cluster of them, has a name there."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.port = server.server_address[1]
        self._told: dict[str, list[Told]] = defaultdict(list)

    def url(self, name: str) -> str:
        """Where those of this name tell."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def hear(self, path: str, body: Mapping[str, Any]) -> None:
        """Remember one notification."""
        now = time.time()
        told = [Told(alert["status"], alert["labels"], now) for alert in body["alerts"]]
        self._told[path.strip("/")] += told

    def told(self, name: str, **labels: str) -> list[Told]:
        """What those of this name told of alerts with these labels, in its order."""
        wanted = labels.items()
        return [told for told in list(self._told[name]) if wanted <= told.labels.items()]

    def statuses(self, name: str, **labels: str) -> list[str]:
        """The same, only firing or resolved."""
        return [told.status for told in self.told(name, **labels)]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver until the end of the ``with``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.hear(self.path, json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server)
        thread = threading.Thread(target=server.serve_forever, name="receiver")
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join(30)


@dataclass
class Alertmanager:
    """One replica. Started again, it has what it wrote down before."""

    folder: Path
    port: int
    arguments: Sequence[str]
    tls: ssl.SSLContext | None = None
    auth: tuple[str, str] | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it, until it answers."""
        argv = ["prometheus-alertmanager", f"--config.file={self.folder / 'config.yml'}"]
        argv += [f"--storage.path={self.folder / 'data'}", "--log.level=debug"]
        argv += [f"--web.listen-address=127.0.0.1:{self.port}", *self.arguments]
        with (self.folder / "log").open("ab") as out:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._process = process

        def ready() -> bool:
            if process.poll() is not None:
                raise FarmError(f"Alertmanager ended with {process.returncode}:\n{self.said()}")
            try:
                return bool(self.get("/api/v2/status"))
            except OSError:
                return False

        wait_for("Alertmanager", ready, why=self.said)

    def stop(self) -> None:
        """End it as an operator does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None

    def get(self, path: str) -> Any:
        """Ask its API.

        :raises OSError: when it does not answer.
        """
        request = urllib.request.Request(self.url + path)
        if self.auth is not None:
            said = base64.b64encode(":".join(self.auth).encode()).decode()
            request.add_header("Authorization", f"Basic {said}")
        with urllib.request.urlopen(request, timeout=30, context=self.tls) as answer:
            return json.load(answer)

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Those that are firing now and have these labels."""
        wanted = labels.items()
        return [a for a in self.get("/api/v2/alerts") if wanted <= a["labels"].items()]

    def said(self) -> str:
        """The end of its log."""
        return tail((self.folder / "log").read_text(errors="replace"))


@contextmanager
def alertmanager(folder: Path, tells: str, **options: Any) -> Iterator[Alertmanager]:
    """Run one that stands alone; ``tells``: the receiver's URL."""
    with alertmanagers(folder, tells, 1, **options) as (one,):
        yield one


@contextmanager
def alertmanagers(
    folder: Path, tells: str, replicas: int, arguments: Sequence[str] = (), **options: Any
) -> Iterator[list[Alertmanager]]:
    """Run replicas that know each other. Every alert is a group of its own, and told soon.

    A replica waits :data:`_PEER` for those before it, and then tells what was so before, where
    they did not: each must be done when the next one looks. A replica that was restarted looks
    when it hears of an alert, the others ``group_wait`` later, and all do every interval.
    """
    wait, interval = ("1s", "1s") if replicas == 1 else ("3s", "5s")
    config = {
        "route": {
            "receiver": "hook",
            "group_by": ["..."],
            "group_wait": wait,
            "group_interval": interval,
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "hook", "webhook_configs": [{"url": tells, "send_resolved": True}]}],
    }
    ports = _free_ports(2 * replicas)
    peers = ports[replicas:]
    with ExitStack() as stack:
        made = []
        for number in range(replicas):
            own = folder / f"replica{number}"
            own.mkdir(parents=True)
            (own / "config.yml").write_text(yaml.safe_dump(config))
            cluster = _cluster(peers[number], peers) if replicas > 1 else _ALONE
            one = Alertmanager(own, ports[number], [*cluster, *arguments], **options)
            stack.callback(one.stop)
            one.start()
            made.append(one)
        if replicas > 1:
            for one in made:
                wait_for("the cluster", partial(_together, one, replicas), why=one.said)
        yield made


def sent_more(before: Scrape, number: int) -> Callable[[Scrape], bool]:
    """Whether a daemon has told each Alertmanager of so many alerts more than it had before."""
    name = "buildfarm_alertmanager_notifications_total"
    wanted = {labels: value + number for labels, value in before.all(name).items()}
    return lambda now: all(now.all(name)[labels] >= value for labels, value in wanted.items())


_ALONE = ("--cluster.listen-address=",)
_PEER = "1s"


def _cluster(own: int, peers: Sequence[int]) -> list[str]:
    others = [f"--cluster.peer=127.0.0.1:{peer}" for peer in peers if peer != own]
    return [
        f"--cluster.listen-address=127.0.0.1:{own}",
        *others,
        f"--cluster.peer-timeout={_PEER}",
        "--cluster.gossip-interval=100ms",
        "--cluster.reconnect-interval=1s",
    ]


def _together(one: Alertmanager, replicas: int) -> bool:
    cluster = one.get("/api/v2/status")["cluster"]
    return cluster["status"] == "ready" and len(cluster["peers"]) == replicas


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)
        ]
        return [server.getsockname()[1] for server in servers]
