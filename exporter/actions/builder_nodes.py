"""What the nodes of a configuration are in a buildx builder."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from exporter.buildkit.builders import BARE, EMBEDDED
from exporter.model import BuildxNode, Driver, NodeSpec, TcpEndpoint, TlsFiles

CONTEXT_PREFIX = "buildfarm-"
"""Of the Docker contexts made for buildx: it takes an Engine's certificates from nowhere else."""

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9._-]*", re.ASCII)
_NOT_BUILDX = (EMBEDDED.name, BARE.name)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+", re.ASCII)


class UnfitError(Exception):
    """These nodes can't be one builder. ``problems``: a line each, with what to do about it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def is_name(text: str) -> bool:
    """Tell whether buildx takes it for the name of a builder or of a node."""
    return bool(_NAME.fullmatch(text))


def usable_name(text: str) -> str:
    """Make a name that buildx takes, as near to this one as can be."""
    name = _NOT_IN_NAMES.sub("-", text.lower())
    return name if is_name(name) else f"node-{name}"


def selectable(name: str) -> bool:
    """Tell whether a node's ``builders`` can select the BuildKit of this name for buildx."""
    return name == usable_name(name) and name not in _NOT_BUILDX


def check_name(name: str, contexts: Collection[str]) -> None:
    """Check the name of a builder. ``contexts``: the names that Docker contexts have.

    :raises ValueError: when buildx would not take it.
    """
    if not is_name(name) or name == "default":
        raise ValueError(
            f"'{name}' can't be a builder's name: buildx takes letters, digits and ._-, a letter "
            "first, and not 'default'"
        )
    if name in contexts:
        raise ValueError(
            f"a Docker context is called {name}, and so buildx takes no builder of that name; take "
            "another --name"
        )


def single_name(builder: str, spec: NodeSpec) -> str:
    """Name the builder of one node alone."""
    name = f"{builder}-{spec.name}"
    return name if is_name(name) else f"{builder}-{usable_name(spec.name)}"


def is_own_context(endpoint: str) -> bool:
    """Tell whether a node's endpoint is a Docker context that was made for it here."""
    return "://" not in endpoint and endpoint.startswith(CONTEXT_PREFIX)


def buildx_nodes(
    specs: Sequence[NodeSpec], options: Mapping[str, str]
) -> tuple[Driver, tuple[BuildxNode, ...]]:
    """Say which driver these nodes need, and what they are to it. ``options`` are the driver's.

    :raises UnfitError: when they can't be one builder.
    """
    problems = [*_mixed(specs), *(text for spec in specs for text in _unfit_tls(spec))]
    nodes = tuple(_node(spec, options) for spec in specs)
    for i, node in enumerate(nodes):
        if not is_name(node.name):
            problems.append(f"{specs[i].name}: buildx makes no builder of the name '{node.name}'")
        same = [specs[j].name for j in range(i) if nodes[j].name == node.name]
        if same:
            problems.append(
                f"{same[0]} and {specs[i].name} would both be called {node.name} in the builder; "
                "give one of them another name, or other 'builders'"
            )
    if problems:
        raise UnfitError(problems)
    return Driver.REMOTE if specs[0].remote else Driver.CONTAINER, nodes


def _mixed(specs: Sequence[NodeSpec]) -> Iterator[str]:
    bare = [spec.name for spec in specs if spec.remote]
    engines = [spec.name for spec in specs if not spec.remote]
    if bare and engines:
        yield (
            f"a buildx builder has one driver: {', '.join(engines)} {_need(engines)} "
            f"docker-container, {', '.join(bare)} (driver: remote) {_need(bare)} remote. Make two "
            "builders: name the nodes of one, with --name, on the command line, then those of the "
            "other"
        )


def _need(names: Sequence[str]) -> str:
    return "needs" if len(names) == 1 else "need"


def _unfit_tls(spec: NodeSpec) -> Iterator[str]:
    tls = _tls(spec)
    if tls is not None and tls.ca is None and (spec.remote or tls.cert is None):
        yield f"{spec.name}: docker does TLS only with an authority that it is given: set tls.ca"


def _node(spec: NodeSpec, options: Mapping[str, str]) -> BuildxNode:
    selected = [b for b in spec.builders or () if b not in _NOT_BUILDX]
    # The BuildKit that is there already, with its cache, rather than a second one.
    name = selected[0].lower() if len(selected) == 1 else usable_name(spec.name)
    tls = _tls(spec)
    in_context = tls is not None and not spec.remote
    return BuildxNode(
        name=name,
        endpoint=f"{CONTEXT_PREFIX}{usable_name(spec.name)}" if in_context else spec.endpoint.url,
        platforms=spec.platforms,
        options={**options, **(_remote_options(tls) if tls and spec.remote else {})},
        spec=spec,
    )


def _remote_options(tls: TlsFiles) -> dict[str, str]:
    """What the remote driver is told of TLS."""
    names = {"ca": "cacert", "cert": "cert", "key": "key", "server_name": "servername"}
    files = dataclasses.asdict(tls)
    return {option: str(files[key]) for key, option in names.items() if files[key] is not None}


def _tls(spec: NodeSpec) -> TlsFiles | None:
    return spec.endpoint.tls if isinstance(spec.endpoint, TcpEndpoint) else None
