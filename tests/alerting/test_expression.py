"""Conditions on metrics, by what PromQL says of the same samples."""

from __future__ import annotations

from math import inf, isnan, nan
from typing import Any

import pytest

from exporter.alerting.expression import (
    NOW,
    Arithmetic,
    Both,
    Compare,
    Labels,
    Metric,
    Number,
    Unless,
)

A: Labels = (("node", "a"),)
B: Labels = (("node", "b"),)

SERIES = {
    "up": [
        ({"node": "a", "layer": "transport", "job": "x"}, 1.0),
        ({"node": "a", "layer": "engine", "job": "x"}, 0.0),
        ({"node": "b", "layer": "transport", "job": "x"}, 1.0),
    ],
    "free": [({"node": "a"}, 10.0), ({"node": "b"}, 60.0)],
    "size": [({"node": "a"}, 100.0), ({"node": "b"}, 100.0), ({"node": "c"}, 100.0)],
    "kinds": [({"node": "a", "kind": "x"}, 3.0), ({"node": "a", "kind": "y"}, 4.0)],
    "one": [({}, 7.0)],
}

UP = Metric("up", ("node",), "min")
FREE, SIZE = Metric("free", ("node",)), Metric("size", ("node",))


@pytest.mark.parametrize(
    ("expression", "value", "promql"),
    [
        (UP, {A: 0.0, B: 1.0}, "min by (node) (up)"),
        (Metric("up", ("node",)), {A: 1.0, B: 1.0}, "max by (node) (up)"),
        (
            Metric("up", ("node",), "min", (("layer", ("engine",)),)),
            {A: 0.0},
            'min by (node) (up{layer="engine"})',
        ),
        (
            Metric("up", ("node",), "min", (("layer", ("transport", "x.y")),)),
            {A: 1.0, B: 1.0},
            r'min by (node) (up{layer=~"transport|x\\.y"})',
        ),
        (
            Metric("kinds", ("node",), over=("kind",)),
            {A: 7.0},
            "max by (node) (sum without (kind) (kinds))",
        ),
        (Metric("one", ("builder",)), {(): 7.0}, "max by (builder) (one)"),
        (Metric("absent", ("node",)), {}, "max by (node) (absent)"),
        (
            Arithmetic("/", FREE, SIZE),
            {A: 0.1, B: 0.6},
            "(max by (node) (free) / max by (node) (size))",
        ),
        (Arithmetic("*", FREE, Number(1.5)), {A: 15.0, B: 90.0}, "(max by (node) (free) * 1.5)"),
        (Arithmetic("-", NOW, FREE), {A: 990.0, B: 940.0}, "(time() - max by (node) (free))"),
        (Compare(FREE, "<", Number(60)), {A: 10.0}, "max by (node) (free) < 60"),
        (Compare(FREE, ">", Number(1e9)), {}, "max by (node) (free) > 1000000000"),
        (
            Compare(FREE, "<", Arithmetic("*", SIZE, Number(0.5))),
            {A: 10.0},
            "max by (node) (free) < (max by (node) (size) * 0.5)",
        ),
        (
            Both(FREE, Compare(UP, "==", Number(0))),
            {A: 10.0},
            "(max by (node) (free))\nand\n(min by (node) (up) == 0)",
        ),
        (
            Unless(Metric("kinds", ("node", "kind")), Compare(UP, "==", Number(0)), ("node",)),
            {},
            "(max by (node, kind) (kinds))\nunless on (node)\n(min by (node) (up) == 0)",
        ),
        (
            Unless(FREE, Compare(UP, "==", Number(0)), ("node",)),
            {B: 60.0},
            "(max by (node) (free))\nunless on (node)\n(min by (node) (up) == 0)",
        ),
    ],
)
def test_what_is_so_and_how_promql_says_it(expression: Any, value: Any, promql: str) -> None:
    assert expression.evaluate(SERIES, 1000.0) == value
    assert expression.promql() == promql


def test_of_some_nodes_alone() -> None:
    """Every metric that has nodes is narrowed to them."""
    condition = Unless(FREE, Compare(UP, "==", Number(0)), ("node",))
    assert condition.promql(("a", "b.c")) == (
        r'(max by (node) (free{node=~"a|b\\.c"}))' + "\nunless on (node)\n"
        r'(min by (node) (up{node=~"a|b\\.c"}) == 0)'
    )
    assert Metric("one", ("builder",)).promql(("a",)) == "max by (builder) (one)"


def test_what_it_is_made_of() -> None:
    condition = Unless(Compare(FREE, "<", SIZE), Compare(UP, "==", Number(0)), ("node",))
    assert condition.metrics() == {"free", "size", "up"}
    assert Arithmetic("-", NOW, FREE).labels() == condition.labels() == ("node",)


@pytest.mark.parametrize(("left", "result"), [(1.0, inf), (-1.0, -inf), (0.0, nan), (nan, nan)])
def test_a_division_by_nothing(left: float, result: float) -> None:
    """As in PromQL: infinite or no number, and no error."""
    series = {"x": [({"node": "a"}, left)], "y": [({"node": "a"}, 0.0)]}
    condition = Arithmetic("/", Metric("x", ("node",)), Metric("y", ("node",)))
    value = condition.evaluate(series, 0.0)[A]
    assert value == result or (isnan(value) and isnan(result))
    assert not Compare(condition, "==", condition).evaluate(series, 0.0) or not isnan(result)
