"""How alerts stand, as rows: a restart goes on from there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from exporter.alerts import Alert, AlertPhase, Labels
from exporter.storage.database import Database
from exporter.storage.tables import alerts


class AlertStore:
    """Reads and writes alerts. Every method may raise :class:`~exporter.errors.StorageError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = database.engine.dialect.name
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert

    async def load(self) -> list[Alert]:
        """Return all alerts as they stood."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(select(alerts))
            return [
                Alert(
                    name=row.name,
                    labels=tuple((name, value) for name, value in json.loads(row.labels)),
                    active_since=row.active_since,
                    value=row.value,
                    phase=AlertPhase(row.phase),
                    fired_at=row.fired_at,
                    resolved_at=row.resolved_at,
                    seen_at=row.seen_at,
                )
                for row in rows
            ]

    async def save(self, changed: Iterable[Alert], ended: Iterable[Alert]) -> None:
        """Write those that changed, and forget those that ended, wholly or not at all."""
        async with self._database.transaction() as connection:
            for alert in ended:
                here = (alerts.c.name == alert.name) & (alerts.c.labels == _text(alert.labels))
                await connection.execute(delete(alerts).where(here))
            for alert in changed:
                values: dict[str, Any] = {
                    "active_since": alert.active_since,
                    "value": alert.value,
                    "phase": alert.phase,
                    "fired_at": alert.fired_at,
                    "resolved_at": alert.resolved_at,
                    "seen_at": alert.seen_at,
                }
                statement: Any = self._insert(alerts).values(
                    name=alert.name, labels=_text(alert.labels), **values
                )
                await connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=[alerts.c.name, alerts.c.labels], set_=values
                    )
                )


def _text(labels: Labels) -> str:
    return json.dumps(labels)
