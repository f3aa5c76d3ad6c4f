"""Applies that somebody asked a node for from the console."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """One table, empty."""
    op.create_table(
        "apply_request",
        sa.Column("id", BIG_ID, primary_key=True, autoincrement=True),
        sa.Column("node", sa.String(64), nullable=False, index=True),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("account", sa.String(255), nullable=False),
        sa.Column("via", LONG_TEXT, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("requested_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("answered_at", TIME),
        sa.Column("answer", LONG_TEXT, nullable=False),
        sqlite_autoincrement=True,
    )
