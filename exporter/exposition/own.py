"""The daemon's metrics about itself."""

from __future__ import annotations

import platform

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.process_collector import ProcessCollector


class OwnMetrics:
    """The registry of the daemon's own metrics, and the ones that change while it runs."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Gauge(
            "buildfarm_exporter_build_info",
            "The exporter's version and the Python it runs on.",
            ["version", "python_version"],
            registry=self.registry,
        )
        build.labels(version, platform.python_version()).set(1)
        self._reloaded = Gauge(
            "buildfarm_config_last_reload_successful",
            "Whether the last attempt to read the configuration succeeded.",
            registry=self.registry,
        )
        self._reload_time = Gauge(
            "buildfarm_config_last_reload_success_timestamp_seconds",
            "When the configuration was last read with success.",
            registry=self.registry,
        )

    def config_loaded(self, now: float) -> None:
        """Record that the configuration in force was read at ``now``."""
        self._reloaded.set(1)
        self._reload_time.set(now)
