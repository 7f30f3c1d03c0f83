"""``python -m exporter`` is the command ``buildfarm-exporter``."""

from exporter.cli import main

main()
