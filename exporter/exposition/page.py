"""The page of all nodes' metrics: text is made once per change and joined per scrape.

Both formats have the same samples; they differ in the head lines of counters and in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from exporter.exposition.families import FAMILIES, Distribution, Family, Kind
from exporter.exposition.samples import Sample, parts
from exporter.model import Snapshot


class NodeText:
    """The sample lines of one node, by metric."""

    def __init__(self, node: str) -> None:
        self._node = f'node="{_escape(node)}"'
        self._made_from: dict[str, object] = {}
        self._parts: dict[str, dict[str, bytes]] = {}
        self.lines: dict[str, bytes] = {}
        """By the metric's name: its lines of all parts, each ending with a newline."""

    def update(self, snapshot: Snapshot) -> None:
        """Write anew the parts that changed, and only those."""
        for key, source, samples in parts(snapshot):
            if key in self._made_from and self._made_from[key] is source:
                continue
            before = self._parts.get(key, {})
            self._made_from[key] = source
            self._parts[key] = text = _write(self._node, samples)
            for name in before.keys() | text.keys():
                joined = b"".join(part.get(name, b"") for part in self._parts.values())
                if joined:
                    self.lines[name] = joined
                else:
                    self.lines.pop(name, None)


class Page:
    """What ``/metrics`` serves: the nodes' metrics, then the daemon's own from ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._nodes: dict[str, NodeText] = {}

    def update(self, snapshot: Snapshot) -> None:
        """Take a node's new snapshot."""
        name = snapshot.node.name
        if name not in self._nodes:
            self._nodes[name] = NodeText(name)
        self._nodes[name].update(snapshot)

    def render(self, accept: str) -> tuple[str, bytes]:
        """Return the content type and the page, in the format that the client prefers."""
        encoder: Callable[[CollectorRegistry], bytes]
        encoder, content_type = choose_encoder(accept)
        openmetrics = content_type.startswith("application/openmetrics-text")
        chunks: list[bytes] = []
        nodes = [node.lines for node in self._nodes.values()]
        for family in FAMILIES:
            lines = [text for node in nodes if (text := node.get(family.name))]
            if lines:
                chunks.append(_head(family, openmetrics))
                chunks += lines
        chunks.append(encoder(self._registry))
        return content_type, b"".join(chunks)


def _head(family: Family, openmetrics: bool) -> bytes:
    name = family.name
    if openmetrics and family.kind is Kind.COUNTER:
        name = name.removesuffix("_total")
    return f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n".encode()


def _write(node: str, samples: Iterable[Sample]) -> dict[str, bytes]:
    lines: dict[str, list[str]] = {}
    for family, labels, value in samples:
        text, of_family = node + _labels(labels), lines.setdefault(family.name, [])
        if isinstance(value, Distribution):
            of_family += _histogram(family.name, text, value)
        else:
            of_family.append(f"{family.name}{{{text}}} {_number(value)}\n")
    # A node may say what is no Unicode ("\ud800" in JSON): it must not cost the whole page.
    return {name: "".join(text).encode(errors="replace") for name, text in lines.items()}


def _histogram(name: str, labels: str, value: Distribution) -> Iterator[str]:
    sums = tuple(accumulate(value.counts))
    for bound, count in zip((*map(repr, value.bounds), "+Inf"), sums, strict=True):
        yield f'{name}_bucket{{{labels},le="{bound}"}} {count}\n'
    yield f"{name}_sum{{{labels}}} {value.sum!r}\n"
    yield f"{name}_count{{{labels}}} {sums[-1]}\n"


def _labels(labels: Mapping[str, str]) -> str:
    return "".join(f',{name}="{_escape(value)}"' for name, value in labels.items())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, bool) else repr(value)
