"""Write the dashboards to the files that Grafana provisions."""

from __future__ import annotations

from pathlib import Path

from grafana.canaries_and_builds import BUILDS_AND_CANARIES
from grafana.farm import FARM
from grafana.node import NODE

FOLDER = Path(__file__).with_name("dashboards")
BOARDS = {
    "farm.json": FARM,
    "node.json": NODE,
    "canaries-and-builds.json": BUILDS_AND_CANARIES,
}

if __name__ == "__main__":
    for name, board in BOARDS.items():
        (FOLDER / name).write_text(board.json(), encoding="utf-8")
