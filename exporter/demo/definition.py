"""The input of a build as it comes over the wire: a graph of file operations, and what it makes."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from google.protobuf.message import DecodeError

from exporter.buildkit import control_pb2 as pb

Files = Mapping[str, bytes]
"""Contents by absolute path."""


@dataclass(frozen=True, slots=True)
class Input:
    """What a definition stands for."""

    name: str
    """Its last operation's, as progress shows it."""
    digest: str
    """The same for the same files."""
    files: Files


_SCRATCH = -1
_NOT_AN_OUTPUT = -1


def make(definition: pb.Definition) -> Input:
    """Run the operations of a definition.

    :raises ValueError: with what BuildKit says of a definition that it can't use.
    """
    ops: dict[str, pb.Op] = {}
    last = ""
    for data in getattr(definition, "def"):
        last = f"sha256:{sha256(data).hexdigest()}"
        try:
            ops[last] = pb.Op.FromString(data)
        except DecodeError as error:
            raise ValueError(f"failed to parse llb proto op: {error}") from error
    if not ops:
        raise ValueError("invalid empty definition")
    result = ops.pop(last)
    if not ops:
        raise ValueError("invalid LLB with 1 vertexes")
    if not result.inputs:
        raise ValueError("invalid LLB with no inputs on last vertex")
    wanted = result.inputs[0]
    files = _output(wanted, ops, definition.metadata)
    title = definition.metadata[wanted.digest].description.get("llb.customname")
    made = [f"mkfile {action.mkfile.path}" for action in ops[wanted.digest].file.actions]
    return Input(title or ", ".join(made), wanted.digest, files)


def _output(
    wanted: pb.Input, ops: Mapping[str, pb.Op], metadata: Mapping[str, pb.OpMetadata]
) -> Files:
    op = ops.get(wanted.digest)
    if op is None:
        raise ValueError(f"invalid missing input digest {wanted.digest}")
    if wanted.digest not in metadata:
        raise ValueError(f'invalid definition op with unknown metas "{wanted.digest}"')
    if op.WhichOneof("op") != "file":
        raise ValueError("a simulated builder knows no operations but those on files")
    if not op.file.actions:
        raise ValueError("invalid file op with no actions")
    outputs = _run(op.file.actions, [_output(each, ops, metadata) for each in op.inputs])
    if wanted.index not in outputs:
        raise ValueError(f"missing output index {wanted.index}")
    return outputs[wanted.index]


def _run(actions: Sequence[pb.FileAction], inputs: Sequence[Files]) -> dict[int, Files]:
    """What the actions of one operation make, by the number of the output."""
    made = list(inputs)
    outputs: dict[int, Files] = {}
    for action in actions:
        # An action may lie on an input, or on an action before it.
        if not _SCRATCH <= action.input < len(made):
            raise ValueError(f"invalid input index {action.input}, {len(made)} provided")
        if action.WhichOneof("action") != "mkfile":
            raise ValueError("a simulated builder knows no action on files but mkfile")
        path = posixpath.join("/", action.mkfile.path)
        if posixpath.dirname(path) != "/":
            raise ValueError(f"open {path}: no such file or directory")
        below = {} if action.input == _SCRATCH else made[action.input]
        made.append({**below, path: action.mkfile.data})
        if action.output != _NOT_AN_OUTPUT:
            if action.output in outputs:
                raise ValueError(f"duplicate output {action.output}")
            outputs[action.output] = made[-1]
    if not outputs:
        raise ValueError("no outputs specified")
    return outputs
