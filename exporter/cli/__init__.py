"""The command line: one file for each command."""

from exporter.cli.main import main

__all__ = ["main"]
