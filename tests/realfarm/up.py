"""A farm for hands: ``python -m tests.realfarm.up [NODE…]`` raises it until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time

import yaml

from tests.realfarm.farm import Farm, raised
from tests.realfarm.shell import FarmError
from tests.realfarm.specs import NODES


def main() -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(prog="tests.realfarm.up", description=__doc__)
    names = [spec.name for spec in NODES]
    parser.add_argument("nodes", nargs="*", metavar="NODE", help=f"of {', '.join(names)}")
    wanted = parser.parse_args().nodes or names
    if unknown := set(wanted) - set(names):
        parser.error(f"no such node: {', '.join(sorted(unknown))}")
    end = threading.Event()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.monotonic()
    try:
        with raised([spec for spec in NODES if spec.name in wanted]) as farm:
            print(_story(farm, time.monotonic() - start), flush=True)
            end.wait()
    except KeyboardInterrupt:
        print("taken down", file=sys.stderr)
    except FarmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _story(farm: Farm, seconds: float) -> str:
    config = farm.slot.runtime / "exporter.yml"
    config.write_text(yaml.safe_dump(farm.config(), sort_keys=False))
    env = " ".join(f"{name}={value}" for name, value in farm.client.env.items() if name != "LANG")
    lines = [f"# up in {seconds:.0f} s; Ctrl-C takes it down. The exporter's configuration:"]
    lines += [config.read_text(), f"# buildfarm-exporter --config {config}"]
    lines += [f"# docker, buildx and ssh as the farm's user: env {env} docker buildx ls"]
    for node in farm.nodes.values():
        enter = f"nsenter --target {node.machine.init} --mount --pid --uts --ipc --net"
        lines.append(f"# {node.name}: {node.endpoint}; a shell: {enter} bash")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
