"""An index of the peers: which of them are trusted is asked for each page of what has no hold."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One index."""
    op.create_index("remap_peer_peer", "remap_peer", ["peer"])
