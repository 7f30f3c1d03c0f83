"""The history of prunes, and since when volumes are orphaned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "prunes",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("builder", sa.String, nullable=False),
        sa.Column("trigger", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("keep", sa.BigInteger, nullable=False),
        sa.Column("all", sa.Boolean, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("cache_before", sa.BigInteger),
        sa.Column("available_before", sa.BigInteger),
        sa.Column("inodes_free_before", sa.BigInteger),
        sa.Column("cache_after", sa.BigInteger),
        sa.Column("available_after", sa.BigInteger),
        sa.Column("inodes_free_after", sa.BigInteger),
        sa.Column("reclaimed", sa.BigInteger, nullable=False),
        sa.Column("records", sa.BigInteger, nullable=False),
        sa.Column("escalated", sa.Boolean, nullable=False),
        sa.Column("effective", sa.Boolean),
        sa.Column("stalled", sa.Boolean, nullable=False),
        sa.Column("note", sa.String),
        sa.PrimaryKeyConstraint("id", name="pk_prunes"),
    )
    op.create_index("ix_prunes_started_at", "prunes", ["started_at"])
    op.create_index(
        "ix_prunes_node_builder_started_at", "prunes", ["node", "builder", "started_at"]
    )
    op.create_table(
        "orphans",
        sa.Column("node", sa.String, nullable=False),
        sa.Column("volume", sa.String, nullable=False),
        sa.Column("first_seen", sa.Double, nullable=False),
        sa.Column("removed_at", sa.Double),
        sa.PrimaryKeyConstraint("node", "volume", name="pk_orphans"),
    )
