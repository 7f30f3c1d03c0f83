"""Since when volumes are orphaned, over restarts."""

from __future__ import annotations

from pathlib import Path

from exporter.storage.database import open_database
from exporter.storage.orphans import OrphanStore


async def test_story_of_a_volume(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/history.db"
    async with open_database(url) as database:
        store = OrphanStore(database)
        assert await store.orphans_since("n1", ["a", "b"], 10.0) == {"a": 10.0, "b": 10.0}
        assert await store.orphans_since("n2", ["a"], 15.0) == {"a": 15.0}
    async with open_database(url) as database:
        store = OrphanStore(database)
        # a is in use again, and then not: its time starts anew. On n2 nothing changed.
        assert await store.orphans_since("n1", ["b"], 20.0) == {"b": 10.0}
        assert await store.orphans_since("n1", ["a", "b"], 30.0) == {"a": 30.0, "b": 10.0}
        assert await store.orphans_since("n2", ["a"], 40.0) == {"a": 15.0}
        # b is removed, and another of that name comes and is orphaned.
        await store.orphan_removed("n1", "b", 50.0)
        assert await store.orphans_since("n1", [], 60.0) == {}
        assert await store.orphans_since("n1", ["b"], 70.0) == {"b": 70.0}
