"""The keys of a storm's answers, packed: a redirect loop gives thousands of them in seconds."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """One table."""
    op.create_table(
        "event_pack",
        sa.Column("remap_id", BIG_ID, nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("content", BLOB, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["remap_id"], ["remap.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("remap_id", "part"),
    )
    op.create_index(op.f("ix_event_pack_seen_at"), "event_pack", ["seen_at"])
