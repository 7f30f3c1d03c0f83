"""Build definitions, checked by the rules that BuildKit loads them by."""

from __future__ import annotations

import hashlib

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.llb import text_file


def test_a_file_is_made_from_nothing_and_the_last_operation_names_it() -> None:
    definition = text_file("Dockerfile", "FROM scratch\n# ü\n", "the work")
    made, result = map(pb.Op.FromString, getattr(definition, "def"))
    (action,) = made.file.actions
    assert (action.input, action.secondaryInput, action.output) == (-1, -1, 0)
    assert action.mkfile.path == "/Dockerfile"
    assert action.mkfile.data == "FROM scratch\n# ü\n".encode()
    assert action.mkfile.mode == 0o644
    assert not made.inputs
    assert [(i.digest, i.index) for i in result.inputs] == [(_digests(definition)[0], 0)]
    assert result.WhichOneof("op") is None


def test_every_operation_is_described_by_its_digest() -> None:
    """BuildKit refuses a definition that lacks one."""
    definition = text_file("Dockerfile", "FROM scratch\n", "the work")
    made, result = _digests(definition)
    assert set(definition.metadata) == {made, result}
    assert dict(definition.metadata[made].description) == {"llb.customname": "the work"}


def _digests(definition: pb.Definition) -> list[str]:
    ops: list[bytes] = list(getattr(definition, "def"))
    return ["sha256:" + hashlib.sha256(op).hexdigest() for op in ops]
