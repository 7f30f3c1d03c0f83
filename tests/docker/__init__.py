"""Tests of exporter.docker."""
