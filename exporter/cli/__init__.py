"""The command line: one file for each command."""

import sys

try:
    from exporter.cli.main import main
except KeyboardInterrupt:  # what is imported takes long enough to be interrupted
    sys.exit(130)

__all__ = ["main"]
