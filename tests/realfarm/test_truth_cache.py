"""The caches that the exporter serves are those that the nodes' own tools tell of, to the byte."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.realfarm.caches import BUILDERS, DAY, Sums, served, told
from tests.realfarm.daemon import Daemon
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.watching import agree, exporter_for_all

COLLECT = {"reachability": "2s", "cache": "1s"}
DOCKERFILE = """\
FROM busybox
COPY seed /seed
RUN --mount=type=cache,target=/kept dd if=/dev/urandom of=/kept/{builder} bs=1k count=3001
RUN dd if=/dev/urandom of=/big bs=1k count=5003
"""


@pytest.fixture(scope="module")
def built(farm: Farm) -> Farm:
    """The farm, after a build on each of its builders."""

    def build(name: str, builder: str) -> None:
        # From an Engine's builder an image comes out, which then shares records with the cache.
        tag = ["--tag=made"] if builder == "docker" else []
        seed = {"seed": f"{name} {builder}".encode()}
        farm[name].build(builder, DOCKERFILE.format(builder=builder), seed, options=tag)

    with ThreadPoolExecutor(2, "build") as pool:
        list(pool.map(lambda row: build(*row), BUILDERS))
    return farm


@pytest.fixture(scope="module")
def exporter(built: Farm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """An exporter of the whole farm."""
    folder = tmp_path_factory.mktemp("exporter")
    with exporter_for_all(built, folder, built.config(collect=COLLECT)) as daemon:
        yield daemon


def _agree(
    daemon: Daemon,
    node: Node,
    builder: str,
    *,
    ahead: float = 0,
    also: Callable[[Sums], object] = lambda _: True,
) -> Sums:
    """Compare one cache, whole; the exporter's clock may be ``ahead`` by so many seconds."""
    found = agree(
        daemon,
        lambda scrape: served(scrape, node.name, builder),
        partial(told, node, builder, time.time() + ahead),
        also=lambda sums: sums is not None and also(sums),
    )
    assert found is not None
    return found


def test_every_cache(built: Farm, exporter: Daemon) -> None:
    """After builds every builder's sums are right: by type, reclaimable, in use, shared, idle."""
    for name, builder in BUILDERS:
        sums = _agree(exporter, built[name], builder)
        assert {"regular", "exec.cachemount"} <= sums.sizes.keys()
        assert sums.total > 8004 << 10
        assert (sums.shared > 5003 << 10) == (builder == "docker")
        assert sums.reclaimable > 0


@pytest.mark.parametrize("name", ["new", "tls", "local", "kitd"])
def test_users_view(built: Farm, exporter: Daemon, name: str) -> None:
    """The sum over a builder's records is the total of ``docker buildx du``."""
    node = built[name]
    served_total = _agree(exporter, node, node.builders[-1]).total
    said = built.client.docker("buildx", "du", "--builder", str(node.spec.builder))
    total = re.search(r"Total:\s+([\d.]+)(kB|MB|GB)", said)
    assert total is not None
    unit = {"kB": 1e3, "MB": 1e6, "GB": 1e9}[total[2]]
    assert f"{served_total / unit:.4g}" == total[1]


def test_engine_s_own_command_does_not_see_it(built: Farm, exporter: Daemon) -> None:
    """A container builder's cache is served, which the Engine's ``/system/df`` has nothing of."""
    node = built["new"]
    sums = _agree(exporter, node, "farm0")
    engines = told(node, "docker", time.time())
    assert sums.total > 8004 << 10
    assert engines.total != sums.total
    descriptions = {row["Description"] for row in node.truth.system_df()["BuildCache"]}
    assert not any("/kept/farm0" in text for text in descriptions)


def test_in_use_while_a_build_runs(built: Farm, exporter: Daemon) -> None:
    """What a running build holds is in use, and not reclaimable, on every builder."""
    dockerfile = "FROM busybox\nRUN dd if=/dev/zero of=/x bs=1M count=1 && sleep 12\n"
    with ThreadPoolExecutor(len(BUILDERS), "build") as pool:
        builds = [pool.submit(built[name].build, builder, dockerfile) for name, builder in BUILDERS]
        for name, builder in BUILDERS:
            sums = _agree(exporter, built[name], builder, also=lambda sums: sums.in_use > 0)
            assert sums.reclaimable == sums.total - sums.in_use
        assert not any(build.done() for build in builds)
    for name, builder in BUILDERS:
        _agree(exporter, built[name], builder, also=lambda sums: sums.in_use == 0)


def test_idle(built: Farm, daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """Seen from eight days later, all that is reclaimable is idle for a week, not for a month."""
    ahead = 8 * DAY
    (tmp_path / "sitecustomize.py").write_text(
        f"import time\n_now = time.time\ntime.time = lambda: _now() + {ahead}\n"
    )
    exporter = daemon(built.config(collect=COLLECT), PYTHONPATH=str(tmp_path))
    for name, builder in BUILDERS:
        sums = _agree(exporter, built[name], builder, ahead=ahead)
        assert sums.idle == {"1d": sums.reclaimable, "7d": sums.reclaimable, "30d": 0}
        assert sums.reclaimable > 0


def test_cache_shrinks_with_a_prune(built: Farm, exporter: Daemon) -> None:
    """What somebody else prunes is gone from the next look's figures."""
    node = built["kitd"]
    before = _agree(exporter, node, "buildkitd")
    node.run(["buildctl", "prune", "--filter", "type==exec.cachemount"])
    after = _agree(exporter, node, "buildkitd", also=lambda sums: sums.total < before.total)
    assert "exec.cachemount" not in after.sizes
    node.build("buildkitd", DOCKERFILE.format(builder="again"), {"seed": b"again"})
    _agree(exporter, node, "buildkitd", also=lambda sums: sums.total > before.total)
