"""The page, read back by prometheus_client's own parsers."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from exporter.exposition.page import Page
from exporter.model import Snapshot

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = "text/plain; version=0.0.4"
FORMATS = (TEXT, OPENMETRICS)

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def page(*snapshots: Snapshot, registry: CollectorRegistry | None = None) -> Page:
    """A page of these nodes, without the daemon's own metrics."""
    result = Page(registry or CollectorRegistry())
    for snapshot in snapshots:
        result.update(snapshot)
    return result


def families(page: Page, accept: str = TEXT) -> dict[str, Metric]:
    """Parse a page, strictly, in one of the formats."""
    content_type, body = page.render(accept)
    assert content_type.startswith(accept.split(";", maxsplit=1)[0])
    text = body.decode()
    parsed: Iterable[Metric]
    if accept is OPENMETRICS:
        parsed = openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    else:
        parsed = text_string_to_metric_families(text)
    result: dict[str, Metric] = {}
    for metric in parsed:
        assert metric.name not in result, f"{metric.name} is there twice"
        result[metric.name] = metric
    return result


def series(page: Page, accept: str = TEXT) -> Series:
    """All samples of a page."""
    result: Series = {}
    for metric in families(page, accept).values():
        for sample in metric.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in result, f"{key} is there twice"
            result[key] = sample.value
    return result


def values(page: Page, name: str, label: str) -> dict[str, float]:
    """The values of one metric by one of its labels."""
    return {dict(labels)[label]: value for (n, labels), value in series(page).items() if n == name}
