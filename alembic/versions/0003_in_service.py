"""Since when each remap is in service, what its old URI was answered since, and how long callers waited for a 301."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """The tables of both."""
    op.create_table(
        "remap_wait",
        sa.Column("remap_id", BIG_ID, nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("milliseconds", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["remap_id"], ["remap.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("remap_id"),
    )
    op.create_table(
        "in_service",
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("remap_id", BIG_ID, nullable=False),
        sa.Column("old_hash", sa.String(32), nullable=False),
        sa.Column("generation", BIG_ID, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("calls_a_day", sa.Double(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", TIME),
        sa.ForeignKeyConstraint(["remap_id"], ["remap.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("node", "remap_id"),
    )
    op.create_index("in_service_old_hash", "in_service", ["node", "old_hash"])
    op.create_index(op.f("ix_in_service_calls"), "in_service", ["calls"])
