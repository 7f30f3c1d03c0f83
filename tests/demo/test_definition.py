"""What a simulated builder makes of the definitions that it gets as a build's input."""

from __future__ import annotations

from hashlib import sha256

import pytest

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.llb import text_file
from exporter.demo.definition import make


def definition(op: pb.Op, *, described: bool = True, named: bool = True) -> pb.Definition:
    data = op.SerializeToString()
    digest = f"sha256:{sha256(data).hexdigest()}"
    end = pb.Op(inputs=[pb.Input(digest=digest if named else "sha256:0")]).SerializeToString()
    made = pb.Definition(metadata={digest: pb.OpMetadata()} if described else {})
    getattr(made, "def").extend([data, end])
    return made


def files(path: str = "/Dockerfile", start: int = -1, output: int = 0) -> pb.Op:
    mkfile = pb.FileActionMkFile(path=path, data=b"FROM scratch")
    action = pb.FileAction(input=start, secondaryInput=-1, output=output, mkfile=mkfile)
    return pb.Op(file=pb.FileOp(actions=[action]))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (pb.Definition(), "invalid empty definition"),
        (definition(files(), named=False), "invalid missing input digest sha256:0"),
        (definition(files(), described=False), "unknown metas"),
        (definition(pb.Op()), "no operations but those on files"),
        (definition(pb.Op(file=pb.FileOp())), "invalid file op with no actions"),
        (definition(files(start=0)), "invalid input index 0, 0 provided"),
        (definition(files(output=-1)), "no outputs specified"),
        (definition(files(output=1)), "missing output index 0"),
        (definition(files("/a/Dockerfile")), "open /a/Dockerfile: no such file or directory"),
    ],
)
def test_definitions_that_make_no_sense(made: pb.Definition, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(made)


def test_files_of_one_definition_lie_on_each_other() -> None:
    op = files(output=-1)
    op.file.actions.extend(files("/x", start=0).file.actions)
    found = make(definition(op))
    assert found.name == "mkfile /Dockerfile, mkfile /x"
    assert found.files == dict.fromkeys(("/Dockerfile", "/x"), b"FROM scratch")


def test_a_title_is_its_name() -> None:
    found = make(text_file("x", "a", "the title"))
    assert (found.name, found.files) == ("the title", {"/x": b"a"})
