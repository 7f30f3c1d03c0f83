"""The tables. A change here needs a migration beside it (``migrations/versions``)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, MetaData, String, Table

METADATA = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)

prunes = Table(
    "prunes",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("node", String, nullable=False),
    Column("builder", String, nullable=False),
    Column("trigger", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("keep", BigInteger, nullable=False),
    Column("all", Boolean, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("outcome", String, nullable=False),
    Column("finished_at", Double),
    Column("cache_before", BigInteger),
    Column("available_before", BigInteger),
    Column("inodes_free_before", BigInteger),
    Column("cache_after", BigInteger),
    Column("available_after", BigInteger),
    Column("inodes_free_after", BigInteger),
    Column("reclaimed", BigInteger, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("escalated", Boolean, nullable=False),
    Column("effective", Boolean),
    Column("stalled", Boolean, nullable=False),
    Column("note", String),
    Index("ix_prunes_started_at", "started_at"),
    Index("ix_prunes_node_builder_started_at", "node", "builder", "started_at"),
)

orphans = Table(
    "orphans",
    METADATA,
    Column("node", String, primary_key=True),
    Column("volume", String, primary_key=True),
    Column("first_seen", Double, nullable=False),
    Column("removed_at", Double),
)
