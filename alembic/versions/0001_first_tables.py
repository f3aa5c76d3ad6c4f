"""First tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out here, not imported: a migration must not change when the program does.
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """First tables."""
    op.create_table(
        "audit",
        sa.Column("id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("remap_id", BIG_ID, nullable=True),
        sa.Column("old_state", sa.String(length=12), nullable=True),
        sa.Column("new_state", sa.String(length=12), nullable=True),
        sa.Column("reason", LONG_TEXT, nullable=False),
        sa.Column("detail", LONG_TEXT, nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("previous"),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_remap_id"), ["remap_id"], unique=False)

    op.create_table(
        "event",
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("event_key", sa.String(length=32), nullable=False),
        sa.Column("call_key", sa.String(length=32), nullable=False),
        sa.Column("remap_id", BIG_ID, nullable=True),
        sa.Column("refusal_id", BIG_ID, nullable=True),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("peer", sa.String(length=80), nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_call_key"), ["call_key"], unique=False)
        batch_op.create_index(batch_op.f("ix_event_seen_at"), ["seen_at"], unique=False)

    op.create_table(
        "evidence",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("remap_id", BIG_ID, nullable=True),
        sa.Column("refusal_id", BIG_ID, nullable=True),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("dialect", sa.String(length=64), nullable=False),
        sa.Column("peer", sa.String(length=80), nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("call_id", LONG_TEXT, nullable=False),
        sa.Column("text", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("evidence", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_evidence_refusal_id"), ["refusal_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_evidence_remap_id"), ["remap_id"], unique=False)

    op.create_table(
        "generation",
        sa.Column("number", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("plan", LONG_TEXT, nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("stages", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    with op.batch_alter_table("generation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_generation_node"), ["node"], unique=False)

    op.create_table(
        "loss",
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=190), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("node", "source", "kind"),
    )
    op.create_table(
        "position",
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=190), nullable=False),
        sa.Column("value", LONG_TEXT, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("node", "source"),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("identity", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("dialect", sa.String(length=64), nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("why", LONG_TEXT, nullable=False),
        sa.Column("content", BLOB, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("identity"),
    )
    op.create_table(
        "refusal",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("identity", sa.String(length=32), nullable=False),
        sa.Column("rule", sa.String(length=8), nullable=False),
        sa.Column("reason", LONG_TEXT, nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("old_uri", LONG_TEXT, nullable=False),
        sa.Column("new_text", LONG_TEXT, nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("first_seen", TIME, nullable=False),
        sa.Column("last_seen", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("identity"),
    )
    op.create_table(
        "remap",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("identity", sa.String(length=32), nullable=False),
        sa.Column("old_hash", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("old_key", LONG_TEXT, nullable=False),
        sa.Column("old_uri", LONG_TEXT, nullable=False),
        sa.Column("new_uri", LONG_TEXT, nullable=True),
        sa.Column("contacts", LONG_TEXT, nullable=False),
        sa.Column("flags", LONG_TEXT, nullable=False),
        sa.Column("facts", LONG_TEXT, nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("first_seen", TIME, nullable=False),
        sa.Column("last_seen", TIME, nullable=False),
        sa.Column("replaces", BIG_ID, nullable=True),
        sa.Column("note", LONG_TEXT, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("revalidate_after", TIME, nullable=True),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decided_by", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("identity"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("remap", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_remap_old_hash"), ["old_hash"], unique=False)
        batch_op.create_index("remap_state_last_seen", ["state", "last_seen"], unique=False)

    op.create_table(
        "setting",
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("node", "name"),
    )
    op.create_table(
        "target_state",
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=190), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("number", BIG_ID, nullable=False),
        sa.Column("pending_reload", sa.Boolean(), nullable=False),
        sa.Column("detail", LONG_TEXT, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("node", "target"),
    )
    op.create_table(
        "generation_file",
        sa.Column("number", BIG_ID, nullable=False),
        sa.Column("target", sa.String(length=190), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("path", LONG_TEXT, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", BLOB, nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("error", LONG_TEXT, nullable=False),
        sa.ForeignKeyConstraint(["number"], ["generation.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("number", "target"),
    )
    op.create_table(
        "remap_incoming",
        sa.Column("remap_id", BIG_ID, nullable=False),
        sa.Column("hash", sa.String(length=32), nullable=False),
        sa.Column("uri", LONG_TEXT, nullable=False),
        sa.Column("forked", sa.Boolean(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["remap_id"], ["remap.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("remap_id", "hash"),
    )
    op.create_table(
        "remap_method",
        sa.Column("remap_id", BIG_ID, nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["remap_id"], ["remap.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("remap_id", "method"),
    )
    op.create_table(
        "remap_peer",
        sa.Column("remap_id", BIG_ID, nullable=False),
        sa.Column("peer", sa.String(length=80), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("first_seen", TIME, nullable=False),
        sa.Column("last_seen", TIME, nullable=False),
        sa.ForeignKeyConstraint(["remap_id"], ["remap.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("remap_id", "peer"),
    )
