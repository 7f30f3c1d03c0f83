"""Conditions on metrics: evaluated here, and written as PromQL that says the same.

The part of PromQL that the alerts need, and no more. Every metric is aggregated by the labels that
an alert has: whatever Prometheus adds to a series (``job``, ``instance``) is not in the result, and
an alert has the same labels whoever raises it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""

Vector = dict[Labels, float]

Series = Mapping[str, Iterable[tuple[Mapping[str, str], float]]]
"""The present samples by the metric's name, each with its labels."""

_AGGREGATES: dict[str, Callable[[float, float], float]] = {
    "max": max,
    "min": min,
}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}


class Expression(Protocol):
    """A condition, or a part of one."""

    def evaluate(self, series: Series, now: float) -> Vector:
        """Its value for each set of labels, at ``now`` (seconds since the epoch)."""
        ...

    def promql(self, nodes: tuple[str, ...] = ()) -> str:
        """The same in PromQL; where ``nodes`` are named, of these alone."""
        ...

    def metrics(self) -> frozenset[str]:
        """The names of the metrics in it."""
        ...

    def labels(self) -> tuple[str, ...]:
        """The names of the labels that its values have."""
        ...


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's samples, aggregated ``by`` these labels.

    ``where``: the values that are meant. ``over``: labels that are added up first; so the same
    series scraped from two exporters counts once.
    """

    name: str
    by: tuple[str, ...]
    aggregate: str = "max"
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    over: tuple[str, ...] = ()

    def evaluate(self, series: Series, now: float) -> Vector:
        """Aggregate the present samples."""
        del now
        join = operator.add if self.over else _AGGREGATES[self.aggregate]
        result: Vector = {}
        for labels, value in series.get(self.name, ()):
            if all(labels.get(name) in values for name, values in self.where):
                key = tuple((name, labels[name]) for name in sorted(self.by) if labels.get(name))
                result[key] = join(result[key], value) if key in result else float(value)
        return result

    def promql(self, nodes: tuple[str, ...] = ()) -> str:
        """``max by (node) (name{layer=~"a|b"})``."""
        where = (*self.where, ("node", nodes)) if nodes and "node" in self.by else self.where
        matchers = ",".join(_matcher(name, values) for name, values in where)
        selector = f"{self.name}{{{matchers}}}" if matchers else self.name
        if self.over:
            selector = f"sum without ({', '.join(self.over)}) ({selector})"
        return f"{self.aggregate} by ({', '.join(self.by)}) ({selector})"

    def metrics(self) -> frozenset[str]:
        """Its name."""
        return frozenset({self.name})

    def labels(self) -> tuple[str, ...]:
        """Those it is aggregated by."""
        return self.by


@dataclass(frozen=True, slots=True)
class Number:
    """The same number for all labels; ``None``: the time, in seconds since the epoch."""

    value: float | None

    def promql(self, nodes: tuple[str, ...] = ()) -> str:
        """As it is written."""
        del nodes
        return "time()" if self.value is None else f"{self.value:.12g}"

    def at(self, now: float) -> float:
        """Its value."""
        return now if self.value is None else self.value


NOW = Number(None)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``left`` and ``right`` by ``+ - * /``. Two vectors are matched label by label."""

    operator: str
    left: Expression | Number
    right: Expression | Number

    def evaluate(self, series: Series, now: float) -> Vector:
        """Compute; labels that are on one side only have no result."""
        compute = _ARITHMETIC[self.operator]
        if isinstance(self.left, Number):
            assert not isinstance(self.right, Number)
            number = self.left.at(now)
            right = self.right.evaluate(series, now)
            return {key: _safe(compute, number, value) for key, value in right.items()}
        left = self.left.evaluate(series, now)
        if isinstance(self.right, Number):
            number = self.right.at(now)
            return {key: _safe(compute, value, number) for key, value in left.items()}
        right = self.right.evaluate(series, now)
        return {
            key: _safe(compute, value, right[key]) for key, value in left.items() if key in right
        }

    def promql(self, nodes: tuple[str, ...] = ()) -> str:
        """``(left - right)``."""
        return f"({self.left.promql(nodes)} {self.operator} {self.right.promql(nodes)})"

    def metrics(self) -> frozenset[str]:
        """The names on both sides."""
        return _metrics(self.left) | _metrics(self.right)

    def labels(self) -> tuple[str, ...]:
        """Those of either side: a number has none."""
        return (self.right if isinstance(self.left, Number) else self.left).labels()  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True)
class Compare:
    """Those of ``left`` for which the comparison holds, with their values."""

    left: Expression
    operator: str
    right: Expression | Number

    def evaluate(self, series: Series, now: float) -> Vector:
        """Filter."""
        holds = _COMPARISONS[self.operator]
        left = self.left.evaluate(series, now)
        if isinstance(self.right, Number):
            number = self.right.at(now)
            return {key: value for key, value in left.items() if holds(value, number)}
        right = self.right.evaluate(series, now)
        return {
            key: value for key, value in left.items() if key in right and holds(value, right[key])
        }

    def promql(self, nodes: tuple[str, ...] = ()) -> str:
        """``left < right``."""
        return f"{self.left.promql(nodes)} {self.operator} {self.right.promql(nodes)}"

    def metrics(self) -> frozenset[str]:
        """The names on both sides."""
        return _metrics(self.left) | _metrics(self.right)

    def labels(self) -> tuple[str, ...]:
        """Those of the left side."""
        return self.left.labels()


@dataclass(frozen=True, slots=True)
class Both:
    """Those of ``left`` for which ``right`` has the same labels."""

    left: Expression
    right: Expression

    def evaluate(self, series: Series, now: float) -> Vector:
        """Filter."""
        right = self.right.evaluate(series, now)
        return {k: v for k, v in self.left.evaluate(series, now).items() if k in right}

    def promql(self, nodes: tuple[str, ...] = ()) -> str:
        """``(left) and (right)``."""
        return f"({self.left.promql(nodes)})\nand\n({self.right.promql(nodes)})"

    def metrics(self) -> frozenset[str]:
        """The names on both sides."""
        return _metrics(self.left) | _metrics(self.right)

    def labels(self) -> tuple[str, ...]:
        """Those of the left side."""
        return self.left.labels()


@dataclass(frozen=True, slots=True)
class Unless:
    """Those of ``left`` for which ``right`` has no result with the same labels ``on``."""

    left: Expression
    right: Expression
    on: tuple[str, ...]

    def evaluate(self, series: Series, now: float) -> Vector:
        """Filter."""
        right = {self._part(key) for key in self.right.evaluate(series, now)}
        left = self.left.evaluate(series, now)
        return {key: value for key, value in left.items() if self._part(key) not in right}

    def _part(self, labels: Labels) -> Labels:
        return tuple(label for label in labels if label[0] in self.on)

    def promql(self, nodes: tuple[str, ...] = ()) -> str:
        """``(left) unless on (node) (right)``."""
        left, right = self.left.promql(nodes), self.right.promql(nodes)
        return f"({left})\nunless on ({', '.join(self.on)})\n({right})"

    def metrics(self) -> frozenset[str]:
        """The names on both sides."""
        return _metrics(self.left) | _metrics(self.right)

    def labels(self) -> tuple[str, ...]:
        """Those of the left side."""
        return self.left.labels()


def _metrics(part: Expression | Number) -> frozenset[str]:
    return frozenset() if isinstance(part, Number) else part.metrics()


def _safe(compute: Callable[[float, float], float], left: float, right: float) -> float:
    """Compute as PromQL does: a division by nothing is no error."""
    try:
        return compute(left, right)
    except ZeroDivisionError:
        return float("nan") if left == 0 or left != left else float("inf") * left


def _matcher(name: str, values: tuple[str, ...]) -> str:
    if len(values) == 1:
        return f'{name}="{_quoted(values[0])}"'
    return f'{name}=~"{"|".join(_quoted(re.escape(value)) for value in values)}"'


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
