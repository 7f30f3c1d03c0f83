"""Tests of buildfarm-exporter."""
