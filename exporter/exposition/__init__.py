"""Snapshots to the Prometheus and OpenMetrics text formats."""

from prometheus_client import disable_created_metrics

# Else the library serves, beside each counter and histogram, a series of when it was made.
disable_created_metrics()  # type: ignore[no-untyped-call]
