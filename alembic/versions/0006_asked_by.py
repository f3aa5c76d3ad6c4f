"""An index by which the remaps of one incoming URI are found."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One index."""
    op.create_index("remap_incoming_hash", "remap_incoming", ["hash"])
