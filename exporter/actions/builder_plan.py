"""What to do so that a buildx builder is what the configuration says: pure."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.actions.builder_merge import Pair, Wish, paired, with_platforms
from exporter.actions.builder_nodes import UnfitError, selectable
from exporter.model import BuildxBuilder, BuildxNode, Driver

_CONFIG = "buildkitd.toml"
_CERTIFICATES = "certs/"

CREATED, ADDED, AS_IT_WAS = "created", "added", "as it was"
NEW = (CREATED, ADDED)
"""What is done to nodes that the builder did not have."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command of docker."""

    arguments: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """BuildKit's configuration, to be laid down and named in ``--buildkitd-config``."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What a node will be, and what is done to it."""

    node: BuildxNode
    done: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How a builder becomes what it is to be."""

    name: str
    driver: str
    fates: tuple[Fate, ...]
    """Of each node that it will have, in that order."""
    steps: tuple[Step, ...]
    remarks: tuple[str, ...] = ()
    """What the user should know, a line each."""

    @property
    def nodes(self) -> tuple[BuildxNode, ...]:
        """The nodes that it will have."""
        return tuple(fate.node for fate in self.fates)


def plan(wish: Wish, there: BuildxBuilder | None, config: bytes = b"") -> Plan:
    """Plan what to do. ``there`` is the builder as it is, ``config`` what the file in ``wish`` has.

    :raises UnfitError: when the builder that is there can't become that.
    """
    old = there.nodes if there else ()
    if there and there.driver != wish.driver:
        problem = (
            f"builder {there.name} is there with the driver {there.driver or 'docker'}, these "
            f"nodes need {wish.driver}; take another --name, or remove it first: "
            f"docker buildx rm --keep-state {there.name}"
        )
        raise UnfitError([problem])
    pairs = paired(wish, old)
    nodes = with_platforms(wish, pairs, old)
    before = {node.name: node for node in old}
    fates = tuple(Fate(node, _done(node, before, there)) for node in nodes)
    remarks = (*_remarks(wish, pairs, config), *_unclaimed(wish, nodes))
    return Plan(wish.name, wish.driver, fates, tuple(_steps(wish, nodes, there)), remarks)


def plan_single(wish: Wish, there: BuildxBuilder | None) -> Plan:
    """Plan a builder of one node, over a BuildKit that another builder has, too.

    :raises UnfitError: when a builder of that name is there and is none of that kind.
    """
    (node,) = wish.nodes
    if there and [old.name for old in there.nodes] != [node.name]:
        problem = f"a builder {there.name} is there, and not one of {node.name} alone"
        raise UnfitError([f"{problem}: rename or remove it, or do without --each"])
    return plan(replace(wish, in_order=False, config=None if there else wish.config), there)


def beside(plan: Plan, there: Mapping[str, Sequence[str]], *, made: bool) -> Plan:
    """Remark on BuildKits beside which another one is made.

    ``there``: by node, the BuildKits that it had before; ``made``: the plan is carried out anyway.
    """
    remarks = []
    used = {node.name for node in plan.nodes}
    for node in (fate.node for fate in plan.fates if fate.done in NEW):
        names = there.get(node.name, ())
        others = [name for name in names if selectable(name) and name not in used]
        if node.spec is None or node.name in names or not others:
            continue
        one = len(others) == 1
        remarks.append(
            f"{node.spec.name}: {', '.join(others)} {'is' if one else 'are'} there already, "
            f"{'' if one else 'each '}with a cache of its own; to use {'it' if one else 'one'} "
            f"instead write {' or '.join(f'builders: [{name}]' for name in others)} for this node"
            f"{', then builder rm (caches stay) and builder create' if made else ''}"
        )
    return replace(plan, remarks=(*plan.remarks, *remarks))


def _steps(wish: Wish, nodes: Sequence[BuildxNode], there: BuildxBuilder | None) -> Iterator[Step]:
    old = there.nodes if there else ()
    known = {node.name for node in old}
    pairs = list(zip(old, nodes, strict=False))
    if there is not None and not all(_changeable(a, b) for a, b in pairs):
        # Nothing but the entry goes: containers and caches are found again by the nodes' names.
        yield Step(("buildx", "rm", "--keep-daemon", "--keep-state", wish.name))
        old, pairs = (), []
    for before, after in pairs:
        if before != replace(after, spec=before.spec):
            yield Step(_create(wish, after))
    for i, node in enumerate(nodes[len(pairs) :]):
        how = ("--append",) if old or i else ("--driver", wish.driver)
        config = wish.config if not node.files and node.name not in known else None
        yield Step(_create(wish, node, how, config), node.files)


def _changeable(before: BuildxNode, after: BuildxNode) -> bool:
    """Tell whether buildx can make the one of the other: it can't take back what was given."""
    return before.name == after.name and all(
        was == will or will
        for was, will in ((before.platforms, after.platforms), (before.options, after.options))
    )


def _create(
    wish: Wish, node: BuildxNode, how: Sequence[str] = (), config: Path | None = None
) -> tuple[str, ...]:
    arguments = ["buildx", "create", "--name", wish.name, *how, "--node", node.name]
    if node.platforms:
        arguments.append(f"--platform={','.join(node.platforms)}")
    arguments += [f"--driver-opt={quoted(name, value)}" for name, value in node.options.items()]
    if node.flags:
        arguments.append(f"--buildkitd-flags={shlex.join(node.flags)}")
    if config is not None:
        arguments.append(f"--buildkitd-config={config}")
    return (*arguments, node.endpoint)


def quoted(name: str, value: str) -> str:
    """Write one of docker's options of the form ``name=value``; they are read as CSV."""
    text = f"{name}={value}"
    return '"' + text.replace('"', '""') + '"' if set(text) & set('",') else text


def with_files(step: Step, folder: Path, write: Callable[[Path, bytes], object]) -> tuple[str, ...]:
    """Lay down the files of a step; the command's arguments with them."""
    if not step.files:
        return step.arguments
    for name, data in step.files.items():
        # Buildx reads certificates from where the configuration says that they lie.
        inside = f"/etc/buildkit/{_CERTIFICATES}".encode()
        write(folder / name, data.replace(inside, f"{folder}/{_CERTIFICATES}".encode()))
    *options, endpoint = step.arguments
    return (*options, f"--buildkitd-config={folder / _CONFIG}", endpoint)


def _done(node: BuildxNode, before: Mapping[str, BuildxNode], there: BuildxBuilder | None) -> str:
    if there is None:
        return CREATED
    was = before.get(node.name)
    if was is None:
        return ADDED
    changed = [
        word
        for word, one, other in (
            ("endpoint", was.endpoint, node.endpoint),
            ("platforms", was.platforms, node.platforms),
            ("options", was.options, node.options),
        )
        if one != other
    ]
    return f"{' and '.join(changed)} changed" if changed else AS_IT_WAS


def _remarks(wish: Wish, pairs: Sequence[Pair], config: bytes) -> Iterator[str]:
    left = [pair.old.name for pair in pairs if pair.old and pair.new is None]
    if left:
        yield (
            f"left as it was, the configuration has no such node: {', '.join(left)}. To take a "
            f"node out: docker buildx create --name {wish.name} --leave --node NODE"
        )
    kept = [
        pair.old.name
        for pair in pairs
        if pair.old and pair.new and wish.driver is Driver.CONTAINER
        if (pair.new.options and pair.new.options != pair.old.options)
        or (wish.config and not _same_config(pair.old.files, config))
    ]
    if kept:
        yield (
            f"{', '.join(kept)}: there already, with other options or another configuration, and "
            "BuildKit keeps those that it was made with. To change them: builder rm (caches stay), "
            "then builder create"
        )


def _unclaimed(wish: Wish, nodes: Sequence[BuildxNode]) -> Iterator[str]:
    silent = [node.spec.name for node in wish.nodes if node.spec and not node.platforms]
    if silent and len(nodes) > 1:
        yield (
            f"no 'platforms' are configured for {', '.join(silent)}: buildx will ask all nodes "
            "before a build, and take emulated platforms for native ones"
        )


def _same_config(files: Mapping[str, bytes], config: bytes) -> bool:
    """Compare buildkitd's configurations as far as can be: buildx changes paths of certificates."""
    if any(name.startswith(_CERTIFICATES) for name in files):
        return True
    stored = files.get(_CONFIG, b"").decode()
    return tomllib.loads(stored) == tomllib.loads(config.decode())
