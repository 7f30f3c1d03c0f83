"""Snapshots to the Prometheus and OpenMetrics text formats."""
