"""What a buildx builder will be: what it is, and over that what the configuration says. Pure.

A platform that is claimed for a node (``--platform``) is claimed for that node only: buildx takes
it from all others of the builder, and builds on the node with the claim before any other. So each
platform is claimed here for the first of the nodes that are to build it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.actions.builder_nodes import UnfitError
from exporter.model import BuildxNode, Driver, NodeSpec, TcpEndpoint


@dataclass(frozen=True, slots=True)
class Wish:
    """What a builder is to be."""

    name: str
    driver: Driver
    nodes: tuple[BuildxNode, ...]
    in_order: bool = False
    """Whether the order of the nodes counts."""
    config: Path | None = None
    """BuildKit's configuration, for nodes that are new."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A node of the builder: as it is and as it is to be. At least one of the two is there."""

    old: BuildxNode | None
    new: BuildxNode | None

    @property
    def expected(self) -> tuple[str, ...]:
        """The platforms that the configuration expects of it."""
        return self.new.platforms if self.new else ()

    @property
    def merged(self) -> BuildxNode:
        """The node without its platforms: what is there is taken over where it will do."""
        if self.old is None or self.new is None:
            node = self.new or self.old
            assert node is not None
            return replace(node, platforms=())
        remote = self.new.spec is not None and self.new.spec.remote
        return replace(
            self.old,
            platforms=(),
            endpoint=self.old.endpoint if _same_way(self.old, self.new) else self.new.endpoint,
            options=self.new.options if remote else self.old.options,
            spec=self.new.spec,
        )


def same_buildkit(one: BuildxNode, other: BuildxNode) -> bool:
    """Tell whether two nodes, of two builders maybe, are one BuildKit."""
    return _same_name(one, other) and _same_machine(one, other)


def taken_over(wish: Wish, others: Sequence[BuildxNode]) -> Wish:
    """Let BuildKits that other builders have be made again, one day, as they were made there."""

    def like_there(node: BuildxNode) -> BuildxNode:
        other = next((other for other in others if same_buildkit(node, other)), node)
        return replace(
            node,
            options=node.options or other.options,
            flags=other.flags,
            files=other.files if wish.config is None else {},
        )

    return replace(wish, nodes=tuple(like_there(node) for node in wish.nodes))


def paired(wish: Wish, old: Sequence[BuildxNode]) -> list[Pair]:
    """List the nodes that the builder will have, in order.

    Buildx has no two nodes of one endpoint, so it goes by that first, and then by name.
    """
    partner: dict[str, BuildxNode] = {}
    for find in (_same_machine, _same_name):
        for new in wish.nodes:
            match = next((o for o in old if o.name not in partner and find(o, new)), None)
            if match and new not in partner.values():
                partner[match.name] = new
    kept = [Pair(node, partner.get(node.name)) for node in old]
    pairs = [*kept, *(Pair(None, new) for new in wish.nodes if new not in partner.values())]
    if wish.in_order:
        place = {new.name: i for i, new in enumerate(wish.nodes)}
        pairs.sort(key=lambda pair: place[pair.new.name] if pair.new else len(place))
    names = [pair.merged.name for pair in pairs]
    problems = [
        f"{pair.new.spec.name}: builder {wish.name} has its machine as node {pair.old.name}, the "
        f"configuration selects {pair.new.name} there; take another --name, or change 'builders'"
        for pair in pairs
        if pair.old and pair.new and pair.new.spec
        if pair.old.name != pair.new.name and pair.new.name in (pair.new.spec.builders or ())
    ]
    problems += [
        f"builder {wish.name} has a node {name} on another machine already; take another --name"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if problems:
        raise UnfitError(problems)
    return pairs


def with_platforms(
    wish: Wish, pairs: Sequence[Pair], old: Sequence[BuildxNode]
) -> list[BuildxNode]:
    """Claim each platform for one node."""
    claims: dict[str, str] = {}

    def claim(pair: Pair, platforms: Iterable[str]) -> None:
        for platform in platforms:
            claims.setdefault(platform, pair.merged.name)

    if not wish.in_order:
        for pair in pairs:
            if pair.old is not None:
                kept = pair.old.platforms
                claim(pair, [p for p in kept if pair.new is None or p in pair.expected])
    for pair in pairs:
        claim(pair, pair.expected)
    for pair in pairs:
        if pair.old is not None and not pair.expected:
            claim(pair, pair.old.platforms)
    before = {node.name: node.platforms for node in old}
    nodes = []
    for node in (pair.merged for pair in pairs):
        platforms = tuple(platform for platform, name in claims.items() if name == node.name)
        was = before.get(node.name, ())
        nodes.append(replace(node, platforms=was if set(was) == set(platforms) else platforms))
    return nodes


def _same_machine(old: BuildxNode, new: BuildxNode) -> bool:
    return old.spec is not None and new.spec is not None and _way(old.spec) == _way(new.spec)


def _same_name(old: BuildxNode, new: BuildxNode) -> bool:
    return old.name == new.name


def _same_way(old: BuildxNode, new: BuildxNode) -> bool:
    """Tell whether the endpoint that is there will do: another context may hold certificates."""
    if old.endpoint == new.endpoint:
        return True
    return _same_machine(old, new) and _is_tls(old.spec) == _is_tls(new.spec)


def _way(spec: NodeSpec) -> tuple[str, bool]:
    return spec.endpoint.url.lower(), spec.remote


def _is_tls(spec: NodeSpec | None) -> bool:
    return spec is not None and isinstance(spec.endpoint, TcpEndpoint) and bool(spec.endpoint.tls)
