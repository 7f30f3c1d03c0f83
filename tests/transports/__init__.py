"""Tests of exporter.transports."""
