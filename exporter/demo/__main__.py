"""``python -m exporter.demo``: a simulated farm in a process of its own, for load and for play."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from pathlib import Path
from random import Random

from exporter.demo.configfile import write_config
from exporter.demo.farm import DemoFarm, allow_many_sockets


def main() -> int:
    """Raise the farm, write how it is reached, and serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m exporter.demo",
        description="Serve a farm of simulated nodes on loopback until SIGTERM.",
    )
    parser.add_argument("--nodes", type=int, default=6, metavar="N", help="how many (6)")
    parser.add_argument("--seed", type=int, metavar="N", help="the same farm again for the same N")
    parser.add_argument(
        "--config-out",
        type=Path,
        required=True,
        metavar="FILE",
        help="where to write a configuration with these nodes, once all of them answer",
    )
    arguments = parser.parse_args()
    if arguments.nodes < 1:
        parser.error("--nodes: at least 1")
    # asyncio warns of each answer to a client that is gone already.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    allow_many_sockets()
    asyncio.run(_serve(arguments.nodes, Random(arguments.seed), arguments.config_out))  # noqa: S311
    return 0


async def _serve(nodes: int, rng: Random, config: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with DemoFarm(nodes, rng=rng, clock=time.time) as farm:
        await asyncio.to_thread(write_config, farm.specs, config)
        sys.stdout.write(f"{nodes} simulated nodes are up; their configuration is {config}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
