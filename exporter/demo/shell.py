"""What a shell command does to a machine, read from the command.

Known are pipes, lists, groups, ``while`` loops, positional parameters, redirections, and the
programs that canary builds are made of: ``head -c``, ``cat``, ``dd``, ``touch``, ``rm``, those that
hash (``sha256sum``), ``sleep``, ``cd``, ``test``, ``false`` and ``exit``. All else is done well, in
no time.
"""

from __future__ import annotations

import operator
import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

_SIZE = re.compile(r"(\d+)([a-z]*)", re.ASCII)
_UNITS = {"": 1, "c": 1, "b": 512, "kb": 1000, "k": 1024, "mb": 1000**2, "m": 1024**2}
_UNITS |= {"gb": 1000**3, "g": 1024**3}
_JOINTS = (";", "&&", "||", "&")
_OPENING, _CLOSING = ("{", "while"), ("}", "done")
_TESTS: Mapping[str, Callable[[int, int], bool]] = {
    "-eq": operator.eq,
    "-ne": operator.ne,
    "-lt": operator.lt,
    "-le": operator.le,
    "-gt": operator.gt,
    "-ge": operator.ge,
}
_DD_BLOCK = "512"

# A loop that has not ended by then never will.
_ROUNDS = 10_000
_SYNTAX_ERROR = 2


@dataclass(frozen=True, slots=True)
class Hash:
    """So many bytes are hashed."""

    size: int


@dataclass(frozen=True, slots=True)
class Write:
    """So many bytes are written to a file."""

    path: str
    size: int
    at: int = 0
    """Where they begin."""
    truncate: bool = True
    """Whether what the file was before is lost."""

    def length(self, before: int) -> int:
        """Bytes of the file then."""
        end = self.at + self.size
        return end if self.truncate else max(before, end)


@dataclass(frozen=True, slots=True)
class Remove:
    """A file is removed."""

    path: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """Nothing happens."""

    seconds: float


Act = Hash | Write | Remove | Sleep


def read(command: str, files: Mapping[str, int]) -> tuple[list[Act], int]:
    """What ``/bin/sh -c`` does, and its exit code. ``files``: the sizes of those that are there."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    shell = _Shell(dict(files))
    try:
        shell.run(list(lexer))
    except _Exit:
        pass
    except ValueError:  # a quotation without an end, a loop without one
        shell.status = _SYNTAX_ERROR
    return shell.acts, shell.status


class _Exit(Exception):  # noqa: N818 - what the command wants
    """The shell ends."""


class _Shell:
    """Follows the bytes from program to program."""

    def __init__(self, files: dict[str, int]) -> None:
        self.acts: list[Act] = []
        self.status = 0
        self._files = files
        self._directory = "/"
        self._parameters: list[str] = []

    def run(self, words: list[str], flow: int = 0) -> int:
        """Run a list of pipelines that may read ``flow`` bytes; how many it writes."""
        out = 0
        for joint, pipeline in _split(words, _JOINTS):
            left_out = (joint == "&&" and self.status) or (joint == "||" and not self.status)
            if pipeline and not left_out:
                passed = flow
                for _, command in _split(pipeline, ("|",)):
                    passed = self._command(command, passed)
                out += passed
        return out

    def _command(self, words: list[str], flow: int) -> int:
        self.status = 0
        words, sign, target = _redirected(words)
        if not words:
            flow = 0
        elif words[0] == "{" and words[-1] == "}":
            flow = self.run(words[1:-1], flow)
        elif words[0] == "while" and words[-1] == "done" and "do" in words:
            middle = words.index("do")
            flow = self._loop(words[1:middle], words[middle + 1 : -1])
        else:
            flow = self._program(words[0], list(self._expanded(words[1:])), flow)
        if not target:
            return flow
        append = sign == ">>"
        self._write(target, flow, at=self._length(target) or 0 if append else 0, keep=append)
        return 0

    def _loop(self, condition: list[str], body: list[str]) -> int:
        out = 0
        for _ in range(_ROUNDS):
            self.run(condition)
            if self.status:
                self.status = 0
                return out
            out += self.run(body)
        raise ValueError("a loop without an end")

    def _expanded(self, words: list[str]) -> Iterator[str]:
        for word in words:
            if word == "$@":
                yield from self._parameters
            else:
                yield word.replace("$#", str(len(self._parameters)))

    def _program(self, name: str, words: list[str], flow: int) -> int:
        """Run a program that may read ``flow`` bytes; how many it writes."""
        first = words[0] if words else ""
        if name == "set" and first == "--":
            self._parameters = words[1:]
        elif name in ("[", "test"):
            self.status = int(not self._holds([word for word in words if word != "]"]))
        elif name == "cd":
            self._directory = self._absolute(first)
        elif name == "head" and first == "-c" and len(words) >= 2:
            there = self._length(words[2]) if words[2:] else flow
            return _size(words[1]) if there is None else min(_size(words[1]), there)
        elif name == "cat":
            return sum(self._length(path) or 0 for path in words) if words else flow
        elif name == "dd":
            return self._dd(dict(word.split("=", 1) for word in words if "=" in word), flow)
        elif name == "touch":
            for path in words:
                self._write(path, 0, keep=True)
        elif name == "rm":
            for path in map(self._absolute, words):
                if self._files.pop(path, None) is not None:
                    self.acts.append(Remove(path))
        elif name.endswith("sum"):
            self.acts.append(Hash(sum(self._length(path) or 0 for path in words) or flow))
        elif name == "sleep":
            self.acts.append(Sleep(_size(first)))
        elif name == "false":
            self.status = 1
        elif name == "exit":
            self.status = _size(first)
            raise _Exit
        return 0

    def _holds(self, words: list[str]) -> bool:
        match words:
            case ["!", *rest]:
                return not self._holds(rest)
            case ["-e" | "-f" | "-s", path]:
                return self._absolute(path) in self._files
            case [left, comparison, right] if comparison in _TESTS:
                return _TESTS[comparison](_size(left), _size(right))
        return True

    def _dd(self, options: Mapping[str, str], flow: int) -> int:
        block = _size(options.get("bs", _DD_BLOCK))
        there = self._length(options["if"]) if "if" in options else flow
        limit = block * _size(options["count"]) if "count" in options else there or 0
        flow = limit if there is None else min(there, limit)
        if "of" not in options:
            return flow
        keep = "notrunc" in options.get("conv", "").split(",")
        self._write(options["of"], flow, at=block * _size(options.get("seek", "0")), keep=keep)
        return 0

    def _absolute(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self._directory, path))

    def _length(self, path: str) -> int | None:
        """Bytes to be read from a file; ``None``: without an end."""
        if path in ("/dev/zero", "/dev/urandom", "/dev/random"):
            return None
        return self._files.get(self._absolute(path), 0)

    def _write(self, path: str, size: int, *, at: int = 0, keep: bool = False) -> None:
        path = self._absolute(path)
        if not path.startswith("/dev/"):
            act = Write(path, size, at, truncate=not keep)
            self._files[path] = act.length(self._files.get(path, 0))
            self.acts.append(act)


def _split(words: Iterable[str], at: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Split words outside of groups and loops: each part, after what joins it to the last one."""
    joint, part, depth = "", list[str](), 0
    for word in words:
        depth += (word in _OPENING) - (word in _CLOSING)
        if word in at and not depth:
            yield joint, part
            joint, part = word, []
        else:
            part.append(word)
    yield joint, part


def _redirected(words: list[str]) -> tuple[list[str], str, str]:
    """Tell apart a command, and the file that its output goes to, if there is one."""
    for place, word in enumerate(words[:-1]):
        if word in (">", ">>") and not any(closing in words[place:] for closing in _CLOSING):
            return words[:place] + words[place + 2 :], word, words[place + 1]
    return words, "", ""


def _size(text: str) -> int:
    """Read a number of bytes as these programs take it; what they would refuse is none."""
    found = _SIZE.fullmatch(text.lower())
    return int(found[1]) * _UNITS.get(found[2], 1) if found else 0
