"""Locks by key: nodes wait for each other only where they report the same call or remap."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table, empty."""
    op.create_table("key_lock", sa.Column("key", sa.String(32), primary_key=True))
