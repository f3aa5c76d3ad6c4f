"""An index of the review dates: which approved remaps are past theirs is asked by every list and status."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One index."""
    op.create_index("remap_state_revalidate_after", "remap", ["state", "revalidate_after"])
