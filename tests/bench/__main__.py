"""``python -m tests.bench``: prints what looking costs, as Markdown."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterable
from math import isnan
from pathlib import Path

from tests.bench import look, many
from tests.realfarm.farm import raised
from tests.realfarm.shell import FarmError
from tests.realfarm.specs import NODES

_NODES = ("old", "new")
_MIB = 1024 * 1024


def main() -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--nodes", type=int, default=200, help="simulated nodes (200)")
    parser.add_argument("--seconds", type=float, default=180, help="how long to watch them (180)")
    parser.add_argument("--warm-up", type=float, default=30, help="seconds before that (30)")
    parser.add_argument("--only", choices=["look", "many"], help="one of the two parts")
    arguments = parser.parse_args()
    print(_machine(), flush=True)
    if arguments.only != "many":
        _look()
    if arguments.only != "look":
        _many(arguments.nodes, arguments.warm_up, arguments.seconds)
    return 0


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} CPUs ({model}), Python {platform.python_version()}, "
        f"load before the start {load:.1f}"
    )


def _look() -> None:
    print("\n## One look at a real node: reachability, disk, cache\n", flush=True)
    try:
        with raised([spec for spec in NODES if spec.name in _NODES]) as farm:
            for name in _NODES:
                print(f"Node {name}, builders {', '.join(farm[name].builders)}; ms per look:\n")
                _table(look.compare(farm, farm[name]))
    except FarmError as error:
        print(f"Left out, the real farm can't be raised here: {error}", file=sys.stderr)


def _table(costs: list[look.Cost]) -> None:
    print("| way | client CPU | client + node CPU | whole machine | wall |")
    print("|---|---|---|---|---|")
    for cost in costs:
        _row(cost.way, cost.figures, "{:.2f}")
    ours, *others = costs
    for other in others:
        ratios = [b / a for a, b in zip(ours.figures, other.figures, strict=True)]
        _row(f"{other.way}, times ours", ratios, "{:.0f}")
    if isnan(ours.machine):
        print("\nThe machine did too much else for its total to say anything.")
    print(flush=True)


def _row(name: str, figures: Iterable[float], form: str) -> None:
    cells = ("" if isnan(figure) else form.format(figure) for figure in figures)
    print(f"| {name} | {' | '.join(cells)} |")


def _many(nodes: int, warm_up: float, seconds: float) -> None:
    print(f"\n## {nodes} simulated nodes at the default intervals\n", flush=True)
    result = many.measure(nodes, warm_up, seconds)
    print(f"Watched for {result.seconds:.0f} s; {result.up} nodes up at the end.\n")
    print("| | |\n|---|---|")
    print(f"| the daemon's CPU | {100 * result.cpu_share:.1f} % of one CPU |")
    print(f"| memory (RSS) | {result.rss / _MIB:.0f} MiB, at most {result.peak / _MIB:.0f} MiB |")
    print(f"| `/metrics` | {result.page / _MIB:.2f} MiB |")
    print(f"| a scrape: median / p99 / max | {many.spread(result.scrapes)} ms |")
    print(f"| `/-/healthy`: median / p99 / max | {many.spread(result.health)} ms |")
    for name, (interval, age) in result.staleness.items():
        print(f"| oldest {name} (every {interval:.0f} s) | {age:.1f} s |")


if __name__ == "__main__":
    sys.exit(main())
