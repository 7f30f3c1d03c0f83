"""Stands in for ``docker``: buildx as far as a canary over several nodes can tell.

It is a program of its own: what it is like is in ``knobs.json`` beside it, what it was asked is
written to ``calls.jsonl``. As buildx does, it builds each platform on the node that it is claimed
for, else on the first one that offers it.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KNOBS: dict[str, Any] = {}
HISTORY = HERE / "history.json"
STEPS = 3


def main(arguments: list[str]) -> int:
    """Do one command; the exit code."""
    KNOBS.update(json.loads((HERE / "knobs.json").read_text()))
    store = os.environ.get("BUILDX_CONFIG", "")
    with (HERE / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps([arguments, store]) + "\n")
    what = arguments[1]
    if what in KNOBS.get("fails", {}):
        print(KNOBS["fails"][what], file=sys.stderr)
        return 1
    commands = {"inspect": _inspect, "build": _build, "history": _history, "imagetools": _images}
    if what == "version":
        print("github.com/docker/buildx v0.36.1 abc")
    else:
        commands[what](arguments, Path(store))
    return 0


def _nodes(store: Path) -> list[dict[str, Any]]:
    (file,) = (store / "instances").iterdir()
    nodes: list[dict[str, Any]] = json.loads(file.read_text())["Nodes"]
    return nodes


def _names(entries: Any) -> list[str]:
    return ["/".join(entry.values()) for entry in entries or ()]


def _inspect(arguments: list[str], store: Path) -> None:
    print(f"Name:   {arguments[-1]}\nDriver: docker-container\n\nNodes:")
    for node in _nodes(store):
        name = node["Name"]
        print(f"Name:      {name}\nEndpoint:  ssh://{name}")
        if name in KNOBS.get("down", {}):
            print(f"Error:     {KNOBS['down'][name]}\n")
        else:
            print(f"Status:    running\nPlatforms: {', '.join(KNOBS['offers'][name])}\n")


def _build(arguments: list[str], store: Path) -> None:
    platforms = _option(arguments, "--platform").split(",")
    again = not any(argument.startswith("--cache-to") for argument in arguments)
    places: dict[str, list[str]] = {}
    for platform in platforms:
        places.setdefault(_place(platform, _nodes(store)), []).append(platform)
    for node in places:
        ref = store / "refs" / _option(arguments, "--builder") / node / f"ref-{again}"
        ref.parent.mkdir(parents=True)
        ref.touch()
    HISTORY.write_text(json.dumps(places))
    for line in KNOBS.get("progress", ()):
        print(json.dumps(line), file=sys.stderr)
    for number in range(len(platforms) * STEPS if KNOBS.get("steps", True) else 0):
        platform = platforms[number // STEPS]
        prefix = f"{platform} " if len(platforms) > 1 else ""
        name = f"[{prefix}{number % STEPS + 2}/4] RUN echo"
        vertex = {"digest": f"sha256:{number}", "name": name, "started": "2026-11-25T02:51:39Z"}
        print(json.dumps({"vertexes": [vertex]}), file=sys.stderr, flush=True)
        if KNOBS.get("hangs"):
            time.sleep(600)
        done = {"completed": "2026-11-25T02:51:40Z", "cached": again and _cached(platform)}
        print(json.dumps({"vertexes": [vertex | done]}), file=sys.stderr)
    image = _option(arguments, "--build-arg")
    (HERE / "pushed.json").write_text(json.dumps(dict.fromkeys(platforms, image)))


def _place(platform: str, nodes: list[dict[str, Any]]) -> str:
    names = [node["Name"] for node in nodes if platform in _names(node.get("Platforms"))]
    names += [node["Name"] for node in nodes if platform in KNOBS["offers"].get(node["Name"], ())]
    return str(names[0])


def _cached(platform: str) -> bool:
    return platform in KNOBS.get("cached", ())


def _history(arguments: list[str], store: Path) -> None:
    (node,) = _nodes(store)  # given several, buildx tells of any
    places = json.loads(HISTORY.read_text())
    print(json.dumps({"Ref": arguments[-1], "Platform": places[node["Name"]]}))


def _images(arguments: list[str], store: Path) -> None:
    pushed = json.loads((HERE / "pushed.json").read_text())
    images = {}
    for platform, argument in pushed.items():
        if platform in KNOBS.get("lost", ()):
            continue
        system, architecture = platform.split("/")
        by = "RUN true" if platform in KNOBS.get("foreign", ()) else f"RUN |1 {argument} echo"
        history = [{"created_by": by}]
        images[platform] = {"os": system, "architecture": architecture, "history": history}
    print(json.dumps(images if len(pushed) > 1 else next(iter(images.values()))))


def _option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
