"""Docker contexts for buildx, which takes an Engine's certificates from nowhere else: pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exporter.actions.builder_nodes import is_own_context
from exporter.actions.builder_plan import Step, quoted
from exporter.model import BuildxNode, NodeSpec, TcpEndpoint


def context_steps(
    nodes: Sequence[BuildxNode], state: Callable[[str, NodeSpec], bool | None]
) -> list[Step]:
    """Make the contexts of these nodes, or have them hold the certificates of now.

    ``state`` tells whether a context is as the node needs it; ``None``: there is none.
    """
    steps = []
    for node in nodes:
        spec = node.spec
        if spec is None or not is_own_context(node.endpoint):
            continue
        found = state(node.endpoint, spec)
        if not found:
            how = "create" if found is None else "update"
            steps.append(Step(("context", how, node.endpoint, "--docker", _where(spec))))
    return steps


def _where(spec: NodeSpec) -> str:
    endpoint = spec.endpoint
    tls = endpoint.tls if isinstance(endpoint, TcpEndpoint) else None
    files = (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)) if tls else ()
    return ",".join(
        [
            quoted("host", endpoint.url),
            *(quoted(key, str(path)) for key, path in files if path is not None),
        ]
    )


def unused_contexts(nodes: Sequence[BuildxNode], others: Sequence[BuildxNode]) -> dict[str, str]:
    """By the node's name: the context that was made for it and that none of the others has."""
    used = {node.endpoint for node in others}
    return {
        node.name: node.endpoint
        for node in nodes
        if is_own_context(node.endpoint) and node.endpoint not in used
    }
