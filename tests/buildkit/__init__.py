"""Tests of exporter.buildkit."""
