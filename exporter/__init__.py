"""Prometheus exporter and alerting daemon for Docker Buildx build farms."""

__version__ = "0.1.0.dev0"
