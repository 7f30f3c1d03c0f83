"""Asking every builder of a node the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from exporter.collectors.base import Partial
from exporter.collectors.builders import from_every_builder
from exporter.errors import Layer, Reason
from exporter.model import Builder, Driver
from tests.collectors.fakes import HANG, act, broken

ONE = Builder("one", Driver.DOCKER)
TWO = Builder("two", Driver.CONTAINER, container="c2")
SICK = broken(Layer.BUILDKIT, Reason.BUILDKIT, "sick")


async def ask(
    scripts: Mapping[str, Any], previous: Mapping[str, str] | None = None, *builders: Builder
) -> Any:
    async def one(builder: Builder) -> str:
        return str(await act(scripts[builder.name]))

    until = asyncio.get_running_loop().time() + 9.0
    return await from_every_builder(builders or (ONE, TWO), one, previous or {}, until)


async def test_answers_in_the_order_of_the_builders() -> None:
    async def late() -> str:
        await asyncio.sleep(0.01)
        return "a"

    assert await ask({"one": late, "two": "b"}) == ("a", "b")


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("script", "reason"), [(SICK, Reason.BUILDKIT), (HANG, Reason.TIMEOUT)], ids=["fails", "hangs"]
)
@pytest.mark.parametrize(
    ("previous", "values"), [({"one": "old"}, ("old", "b")), ({}, ("b",))], ids=["known", "new"]
)
async def test_one_bad_builder_costs_only_its_own_news(
    script: Any, reason: Reason, previous: Mapping[str, str], values: tuple[str, ...]
) -> None:
    result = await ask({"one": script, "two": "b"}, previous)
    assert isinstance(result, Partial)
    assert result.value == values
    assert result.error.reason is reason


@pytest.mark.virtual_time
async def test_a_silent_builder_is_named() -> None:
    result = await ask({"one": "a", "two": HANG})
    assert result.error.layer is Layer.BUILDKIT
    assert "two" in result.error.detail


async def test_a_builder_that_is_stopped_and_not_selected_is_not_asked() -> None:
    resting = Builder("old", Driver.CONTAINER, selected=False, running=False)
    assert await ask({"one": "a"}, {}, ONE, resting) == ("a",)


async def test_a_selected_builder_is_asked_although_it_is_stopped() -> None:
    stopped = Builder("farm0", Driver.CONTAINER, running=False)
    result = await ask({"farm0": SICK}, {}, stopped)
    assert result.error is SICK


async def test_a_bug_is_not_taken_for_a_sick_builder() -> None:
    with pytest.raises(ZeroDivisionError):
        await ask({"one": ZeroDivisionError(), "two": "b"})


async def test_cancellation_reaches_the_builders() -> None:
    task = asyncio.create_task(ask({"one": HANG, "two": HANG}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
