"""Run by Alembic for each migration: over the connection that ``database.migrate`` opened."""

from __future__ import annotations

from alembic import context

from exporter.storage.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
