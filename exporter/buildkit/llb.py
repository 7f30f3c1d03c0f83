"""Build definitions (LLB) made here: small files given to a build without a session."""

from __future__ import annotations

import hashlib

from exporter.buildkit import control_pb2 as pb

_SCRATCH = -1


def text_file(name: str, text: str, title: str) -> pb.Definition:
    """Define a directory with one file in it. ``title`` is what the build's progress calls it.

    BuildKit since 0.12 at the latest also describes the cache record by it; 0.8 does not.
    """
    action = pb.FileAction(
        input=_SCRATCH,
        secondaryInput=_SCRATCH,
        output=0,
        mkfile=pb.FileActionMkFile(path=f"/{name}", mode=0o644, data=text.encode()),
    )
    made, digest = _marshal(pb.Op(file=pb.FileOp(actions=[action])))
    # The last op names the result, and does nothing.
    result, end = _marshal(pb.Op(inputs=[pb.Input(digest=digest, index=0)]))
    metadata = {
        digest: pb.OpMetadata(description={"llb.customname": title}),
        end: pb.OpMetadata(),
    }
    definition = pb.Definition(metadata=metadata)
    getattr(definition, "def").extend([made, result])  # a keyword in Python
    return definition


def _marshal(op: pb.Op) -> tuple[bytes, str]:
    data = op.SerializeToString(deterministic=True)
    return data, f"sha256:{hashlib.sha256(data).hexdigest()}"
