"""What is looked at on a node, one subject a file."""

from exporter.collectors import cache, certificates, disk, orphans, reachability, workers
from exporter.collectors.base import Collector

COLLECTORS: tuple[Collector, ...] = (
    reachability.COLLECTOR,
    workers.COLLECTOR,
    disk.COLLECTOR,
    cache.COLLECTOR,
    orphans.COLLECTOR,
    certificates.COLLECTOR,
)

__all__ = ["COLLECTORS", "Collector"]
