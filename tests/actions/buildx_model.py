"""What ``docker buildx create`` and ``rm`` do to the buildx store, as far as plans need it.

That the real one does the same is shown on real nodes.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.actions.builder_plan import Step
from exporter.model import BuildxBuilder, BuildxNode, NodeSpec, SshEndpoint, UnixEndpoint

DEFAULT_FLAGS = ("--allow-insecure-entitlement=network.host",)

_CREATE = argparse.ArgumentParser(allow_abbrev=False)
for option in ("name", "driver", "node", "platform", "buildkitd-flags", "buildkitd-config"):
    _CREATE.add_argument(f"--{option}")
_CREATE.add_argument("--append", action="store_true")
_CREATE.add_argument("--leave", action="store_true")
_CREATE.add_argument("--driver-opt", action="append")
_CREATE.add_argument("endpoint", nargs="?")


def spec(name: str, *platforms: str, **more: object) -> NodeSpec:
    """A configured node of this name, reached over SSH."""
    at: NodeSpec = NodeSpec(name, SshEndpoint(name, user="me"), platforms=platforms)
    return replace(at, **more)  # type: ignore[arg-type]


def stored(name: str, *platforms: str, at: str | None = None, **more: object) -> BuildxNode:
    """A node of a builder in the store; ``at`` is the machine's name."""
    machine = NodeSpec(at or name, SshEndpoint(at or name, user="me"))
    node = BuildxNode(name, machine.endpoint.url, platforms, flags=DEFAULT_FLAGS, spec=machine)
    return replace(node, **more)  # type: ignore[arg-type]


@dataclass
class Buildx:
    """A buildx store."""

    builders: dict[str, BuildxBuilder] = field(default_factory=dict)

    def run(self, steps: Iterable[Step]) -> None:
        """Do what docker would."""
        for step in steps:
            tool, verb, *arguments = step.arguments
            if (tool, verb) == ("buildx", "rm"):
                assert arguments[:-1] == ["--keep-daemon", "--keep-state"]
                del self.builders[arguments[-1]]
            elif (tool, verb) == ("buildx", "create"):
                self._create(_CREATE.parse_args(arguments), step)

    def _create(self, wish: argparse.Namespace, step: Step) -> None:
        if not wish.append and not wish.leave and wish.name not in self.builders:
            self.builders[wish.name] = BuildxBuilder(wish.name, wish.driver, ())
        builder = self.builders[wish.name]
        nodes = {node.name: node for node in builder.nodes}
        known = nodes.get(wish.node)
        if wish.leave:
            assert known
            assert len(nodes) > 1, "the last node can't leave"
            del nodes[wish.node]
        else:
            assert known or wish.append or not nodes, "did you mean to append?"
            nodes[wish.node] = made = self._node(wish, known, step)
            endpoints = [node.endpoint for node in nodes.values()]
            assert endpoints.count(made.endpoint) == 1, "invalid duplicate endpoint"
            for node in nodes.values():
                if node is not made:
                    left = tuple(p for p in node.platforms if p not in made.platforms)
                    nodes[node.name] = replace(node, platforms=left)
        self.builders[wish.name] = replace(builder, nodes=tuple(nodes.values()))

    def _node(self, wish: argparse.Namespace, known: BuildxNode | None, step: Step) -> BuildxNode:
        node = known or BuildxNode(wish.node, "")
        host = wish.endpoint.partition("://me@")[2]
        machine = NodeSpec(host, SshEndpoint(host, user="me") if host else UnixEndpoint("/other"))
        flags = tuple((wish.buildkitd_flags or "").split()) or DEFAULT_FLAGS
        options = dict(next(csv.reader([text]))[0].split("=", 1) for text in wish.driver_opt or ())
        files = step.files or (
            {"buildkitd.toml": Path(wish.buildkitd_config).read_bytes()}
            if wish.buildkitd_config
            else node.files
        )
        return replace(
            node,
            endpoint=wish.endpoint,
            platforms=tuple(wish.platform.split(",")) if wish.platform else node.platforms,
            options=options or node.options,
            flags=flags,
            files=files,
            spec=machine,
        )
