"""Counted builds, and the results of canary builds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "002"
down_revision = "001"


def upgrade() -> None:
    """Make their tables."""
    op.create_table(
        "build_counts",
        sa.Column("node", sa.String, nullable=False),
        sa.Column("builder", sa.String, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("steps", sa.BigInteger, nullable=False),
        sa.Column("cached", sa.BigInteger, nullable=False),
        sa.Column("duration_sum", sa.Double, nullable=False),
        sa.Column("buckets", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("node", "builder", name="pk_build_counts"),
    )
    op.create_table(
        "builds_counted",
        sa.Column("node", sa.String, nullable=False),
        sa.Column("builder", sa.String, nullable=False),
        sa.Column("ref", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("node", "builder", "ref", name="pk_builds_counted"),
    )
    op.create_table(
        "canaries",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("builder", sa.String, nullable=False),
        sa.Column("platform", sa.String, nullable=False),
        sa.Column("emulated", sa.Boolean, nullable=False),
        sa.Column("trigger", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double, nullable=False),
        sa.Column("steps", sa.JSON, nullable=False),
        sa.Column("detail", sa.String),
        sa.PrimaryKeyConstraint("id", name="pk_canaries"),
    )
    op.create_index("ix_canaries_started_at", "canaries", ["started_at"])
    op.create_index(
        "ix_canaries_node_builder_platform_started_at",
        "canaries",
        ["node", "builder", "platform", "started_at"],
    )
    op.create_table(
        "multiarch_canaries",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("builder", sa.String, nullable=False),
        sa.Column("trigger", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double, nullable=False),
        sa.Column("first", sa.JSON),
        sa.Column("second", sa.JSON),
        sa.Column("across_nodes", sa.Boolean),
        sa.Column("pushed", sa.JSON, nullable=False),
        sa.Column("detail", sa.String),
        sa.PrimaryKeyConstraint("id", name="pk_multiarch_canaries"),
    )
    op.create_index("ix_multiarch_canaries_started_at", "multiarch_canaries", ["started_at"])
