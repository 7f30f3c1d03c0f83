"""What every test can rely on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

LEFT = """
import asyncio

tasks = []

async def test_forgets_a_task():
    tasks.append(asyncio.create_task(asyncio.sleep(3600), name="forgotten"))

async def test_ends_its_task():
    task = asyncio.create_task(asyncio.sleep(3600))
    task.cancel()
"""


def test_a_task_that_is_left_behind_fails_its_test(pytester: pytest.Pytester) -> None:
    conftest = Path(__file__).with_name("conftest.py")
    pytester.makeconftest(conftest.read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(LEFT)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*tasks left behind:*forgotten*"])


def test_the_developer_s_set_up_is_out_of_reach(private_home: Path) -> None:
    assert Path.home() == private_home
    assert list(private_home.iterdir()) == []
    left = [name for name in os.environ if name.startswith(("SSH_", "DOCKER_", "BUILDX_"))]
    assert left == ["DOCKER_CONFIG"]
    assert os.environ["DOCKER_CONFIG"].startswith(str(private_home))


@pytest.mark.virtual_time
async def test_virtual_time_passes_at_once_and_in_order() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    order: list[str] = []

    async def after(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    async with asyncio.timeout(86400.0):
        await asyncio.gather(after(7200.0, "late"), after(3600.0, "early"))
    assert order == ["early", "late"]
    assert loop.time() - began == pytest.approx(7200.0)
