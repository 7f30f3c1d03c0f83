"""The tables. A change here needs a migration beside it (``migrations/versions``)."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Index, MetaData, String, Table

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

build_counts = Table(
    "build_counts",
    METADATA,
    Column("node", String, primary_key=True),
    Column("builder", String, primary_key=True),
    Column("total", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("duration_sum", Double, nullable=False),
    Column("buckets", JSON, nullable=False),
)

# The builds that are in build_counts and that BuildKit may tell of again.
builds_counted = Table(
    "builds_counted",
    METADATA,
    Column("node", String, primary_key=True),
    Column("builder", String, primary_key=True),
    Column("ref", String, primary_key=True),
)

canaries = Table(
    "canaries",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("node", String, nullable=False),
    Column("builder", String, nullable=False),
    Column("platform", String, nullable=False),
    Column("emulated", Boolean, nullable=False),
    Column("trigger", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double, nullable=False),
    Column("steps", JSON, nullable=False),
    Column("detail", String),
    Index("ix_canaries_started_at", "started_at"),
    Index(
        "ix_canaries_node_builder_platform_started_at", "node", "builder", "platform", "started_at"
    ),
)

multiarch_canaries = Table(
    "multiarch_canaries",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("builder", String, nullable=False),
    Column("trigger", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double, nullable=False),
    Column("first", JSON),
    Column("second", JSON),
    Column("across_nodes", Boolean),
    Column("pushed", JSON, nullable=False),
    Column("detail", String),
    Index("ix_multiarch_canaries_started_at", "started_at"),
)

alerts = Table(
    "alerts",
    METADATA,
    Column("name", String, primary_key=True),
    # Names and values as JSON, sorted: part of what an alert is.
    Column("labels", String, primary_key=True),
    Column("active_since", Double, nullable=False),
    Column("value", Double, nullable=False),
    Column("phase", String, nullable=False),
    Column("fired_at", Double),
    Column("resolved_at", Double),
    Column("seen_at", Double, nullable=False),
)
