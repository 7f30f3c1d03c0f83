"""The present samples by metric, for who decides by the same numbers that Prometheus gets."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from prometheus_client import CollectorRegistry

from exporter.exposition.families import Distribution
from exporter.exposition.samples import parts
from exporter.model import Snapshot

Samples = list[tuple[Mapping[str, str], float]]


class SeriesView:
    """The samples of the metrics in ``names``: of all nodes, and of what ``registry`` keeps.

    A node's are made anew only from the parts of its snapshot that changed.
    """

    def __init__(self, registry: CollectorRegistry, names: Collection[str]) -> None:
        self._registry = registry
        self._names = frozenset(names)
        self._made_from: dict[tuple[str, str], object] = {}
        self._parts: dict[tuple[str, str], dict[str, Samples]] = {}

    def update(self, snapshot: Snapshot) -> None:
        """Take a node's new snapshot."""
        node = snapshot.node.name
        for key, source, samples in parts(snapshot):
            place = (node, key)
            if place in self._made_from and self._made_from[place] is source:
                continue
            self._made_from[place] = source
            made: dict[str, Samples] = {}
            for family, labels, value in samples:
                if family.name in self._names and not isinstance(value, Distribution):
                    made.setdefault(family.name, []).append(({"node": node, **labels}, value))
            self._parts[place] = made

    def __call__(self) -> dict[str, Samples]:
        """Return what is known now."""
        found: dict[str, Samples] = {}
        for made in self._parts.values():
            for name, samples in made.items():
                found.setdefault(name, []).extend(samples)
        for metric in self._registry.restricted_registry(self._names).collect():
            for sample in metric.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found
