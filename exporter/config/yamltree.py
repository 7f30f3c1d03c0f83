"""YAML into plain data that knows its lines.

Stricter than a plain YAML load: a key that is given twice is a problem (YAML would silently keep
the last), and so are tags that make objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from exporter.config.problems import Loc, Unset

# libyaml is many times faster on a file of a thousand nodes; its messages are shorter.
_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Tree:
    """A file's content: the data, the line of each value, and what is wrong with it as YAML."""

    data: Any = None
    lines: dict[Loc, int] = field(default_factory=dict)
    problems: list[tuple[int, Loc, str]] = field(default_factory=list)
    """Line, place and message of each problem."""


def parse(text: str) -> Tree:
    """Read YAML. Never raises for what the text says: see :attr:`Tree.problems`."""
    try:
        return _Builder(_Fast(text)).build()
    except (yaml.YAMLError, RecursionError):
        pass  # once more, slowly, for a message that says where
    try:
        return _Builder(yaml.SafeLoader(text)).build()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return Tree(problems=[(line, (), "not valid YAML: a control character")])
    except yaml.MarkedYAMLError as error:
        message = _message(error)
        # What is not closed is best looked for where it was opened.
        mark = error.context_mark if message == _NOT_CLOSED else error.problem_mark
        return Tree(problems=[(mark.line + 1 if mark else 1, (), f"not valid YAML: {message}")])
    except RecursionError:
        return Tree(problems=[(1, (), "not valid YAML: nested too deeply")])


_NOT_CLOSED = "the quote or bracket that opens here is not closed, or a ',' in it is missing"
_TAG = "tag:yaml.org,2002:"


def _message(error: yaml.MarkedYAMLError) -> str:
    problem = (error.problem or "can't be read").strip()
    if "'\\t'" in problem:
        return "a tab can't indent; use spaces"
    opened = (error.context or "").startswith(("while parsing a flow", "while scanning a quoted"))
    if error.context_mark and opened:
        return _NOT_CLOSED
    if "but found another document" in problem or "expected a single document" in (
        error.context or ""
    ):
        return "more than one document; leave out the '---' between them"
    if "mapping values are not allowed" in problem:
        return (
            "a ':' where none can be; is the line above indented as it should, or a quote missing?"
        )
    return " ".join(part for part in ((error.context or "").strip(), problem) if part)


class _Builder:
    """Walks the composed nodes once; the loader turns scalars into values."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._tree = Tree()
        self._inside: list[yaml.Node] = []

    def build(self) -> Tree:
        try:
            root = self._loader.get_single_node()
            if root is not None:
                self._tree.data = self._value(root, ())
        finally:
            self._loader.dispose()
        return self._tree

    def _value(self, node: yaml.Node, loc: Loc) -> Any:
        line = node.start_mark.line + 1
        self._tree.lines.setdefault(loc, line)
        if any(node is outer for outer in self._inside):
            self._tree.problems.append((line, loc, "an alias (*) inside of what it stands for"))
            return Unset()
        if not isinstance(node, yaml.ScalarNode) and node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            return self._unknown_tag(node, loc)
        self._inside.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, loc)
            if isinstance(node, yaml.SequenceNode):
                return [self._value(item, (*loc, i)) for i, item in enumerate(node.value)]
            return self._scalar(node, loc)
        finally:
            self._inside.pop()

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        self._duplicates(node, loc)
        try:
            self._loader.flatten_mapping(node)  # `<<: *anchor`; own keys come after merged ones
        except yaml.constructor.ConstructorError:
            line = node.start_mark.line + 1
            self._tree.problems.append((line, loc, "'<<' takes a mapping, as in `<<: *name`"))
            return {}
        # The last one wins, as for every YAML reader; lines and values must agree on that.
        last = {key.value: (key, value) for key, value in node.value if _is_text(key)}
        data: dict[str, Any] = {}
        for key, _ in node.value:
            if not _is_text(key):
                line = key.start_mark.line + 1
                self._tree.problems.append((line, loc, "a key must be text"))
        for name, (key, value) in last.items():
            self._tree.lines[(*loc, name)] = key.start_mark.line + 1
            data[name] = self._value(value, (*loc, name))
        return data

    def _duplicates(self, node: yaml.MappingNode, loc: Loc) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not _is_text(key):
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                message = f"given twice; first on line {first[key.value]}"
                self._tree.problems.append((line, (*loc, key.value), message))
            first.setdefault(key.value, line)

    def _scalar(self, node: yaml.Node, loc: Loc) -> Any:
        line = node.start_mark.line + 1
        if node.tag.endswith(("timestamp", "binary")) and isinstance(node.value, str):
            return node.value
        try:
            return self._loader.construct_object(node)
        except yaml.constructor.ConstructorError:
            return self._unknown_tag(node, loc)
        except ValueError:
            self._tree.problems.append((line, loc, "can't be read; put it in quotes"))
        return Unset()

    def _unknown_tag(self, node: yaml.Node, loc: Loc) -> Unset:
        tag = node.tag.replace(_TAG, "!!")
        self._tree.problems.append((node.start_mark.line + 1, loc, f"unknown tag '{tag}'"))
        return Unset()


def _is_text(key: yaml.Node) -> bool:
    # `on`, `1` and the like are taken as they are written: a key is never anything but text.
    return isinstance(key, yaml.ScalarNode)
