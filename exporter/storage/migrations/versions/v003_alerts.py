"""How alerts stand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "003"
down_revision = "002"


def upgrade() -> None:
    """Make their table."""
    op.create_table(
        "alerts",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("labels", sa.String, nullable=False),
        sa.Column("active_since", sa.Double, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("fired_at", sa.Double),
        sa.Column("resolved_at", sa.Double),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", name="pk_alerts"),
    )
