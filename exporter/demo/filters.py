"""Filters as BuildKit takes them for cache records, in containerd's syntax.

One filter is a list of conditions joined by commas, all of which must hold; of several filters
one is enough, and none at all lets everything pass (``github.com/containerd/containerd/filters``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

_CONDITION = re.compile(
    r"""\s*(?P<field>[a-z.]+)\s*
    (?:(?P<operator>==|!=|~=)\s*(?P<value>"(?:[^"\\]|\\.)*"|[^,"\s]*)\s*)?(?:,|$)""",
    re.VERBOSE,
)

Fields = Mapping[str, str | None]
"""What a record says of itself. A field that is absent, or ``None``, is not present."""

Condition = Callable[[Fields], bool]


def parse_filters(texts: Sequence[str]) -> Condition:
    """Make one condition of all filters.

    :raises ValueError: when one can't be read.
    """
    filters = [_parse(text) for text in texts]
    return lambda fields: not filters or any(_all_hold(f, fields) for f in filters)


def _all_hold(conditions: Sequence[Condition], fields: Fields) -> bool:
    return all(condition(fields) for condition in conditions)


def _parse(text: str) -> list[Condition]:
    conditions = []
    at = 0
    while at < len(text):
        found = _CONDITION.match(text, at)
        if found is None:
            raise ValueError(f"[{text[at:]} >|<]: parse error")
        conditions.append(_condition(found["field"], found["operator"], found["value"]))
        at = found.end()
    return conditions


def _condition(field: str, operator: str | None, value: str | None) -> Condition:
    if operator is None or value is None:
        return lambda fields: fields.get(field) is not None
    if value.startswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if operator == "==":
        return lambda fields: fields.get(field) == value
    if operator == "!=":
        # A field that is not there differs from every value.
        return lambda fields: (fields.get(field) or "") != value
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise ValueError(f"{value}: {error}") from error
    return lambda fields: pattern.search(fields.get(field) or "") is not None
