"""What a look at a remap's URIs came to, how remaps of its new URI are found, which calls to it were counted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from redirectd.collect.verdict import digest
from redirectd.sip.compare import route_key
from redirectd.sip.uri import SipUri, UriError, parse_uri

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
PART = 1000

STATISTICS = sa.table("sqlite_stat1", sa.column("tbl"), sa.column("idx"), sa.column("stat"))

SIZES = {
    "sqlite_autoindex_remap_1": "1000000 1",
    "remap_state_id": "1000000 200000 1",
    "remap_state_last_seen": "1000000 200000 2",
    "remap_old_hash_state": "1000000 2 1",
    "remap_new_hash_state": "1000000 2 1",
}
"""Rows of the table, and how many of them share the first column of an index, the first two."""

REMAP = sa.table(
    "remap", sa.column("id", sa.Integer), sa.column("kind"), sa.column("new_uri"), sa.column("new_hash", sa.String)
)


def upgrade() -> None:
    """Two tables, a column that is filled from the new URIs, and indexes of two columns."""
    op.create_table(
        "screening",
        sa.Column("remap_id", BIG_ID, nullable=False),
        sa.Column("basis", sa.String(32), nullable=False),
        sa.Column("suspicious", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["remap_id"], ["remap.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("remap_id"),
    )
    op.create_table(
        "followed_call",
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(op.f("ix_followed_call_seen_at"), "followed_call", ["seen_at"])
    op.add_column("remap", sa.Column("new_hash", sa.String(32)))
    _fill()
    op.create_index("remap_state_id", "remap", ["state", "id"])
    op.create_index("remap_old_hash_state", "remap", ["old_hash", "state"])
    op.create_index("remap_new_hash_state", "remap", ["new_hash", "state"])
    op.drop_index(op.f("ix_remap_old_hash"), "remap")
    if op.get_bind().dialect.name == "sqlite":
        _tell_sizes()


def _tell_sizes() -> None:
    """SQLite takes it, without figures, that ten remaps are in one state, and would go through all approved ones for a
    few URIs. These figures stand until `PRAGMA optimize` has its own; other databases count by themselves."""
    op.execute("ANALYZE remap")  # makes the table
    op.execute(sa.delete(STATISTICS).where(STATISTICS.c.tbl == "remap"))
    for index, figures in SIZES.items():
        op.execute(sa.insert(STATISTICS).values(tbl="remap", idx=index, stat=figures))
    op.execute("ANALYZE sqlite_schema")  # has them read


def _fill() -> None:
    """In parts: a table can hold a million remaps."""
    connection = op.get_bind()
    change = sa.update(REMAP).where(REMAP.c.id == sa.bindparam("of")).values(new_hash=sa.bindparam("hash"))
    after = 0
    while True:
        query = sa.select(REMAP.c.id, REMAP.c.kind, REMAP.c.new_uri).where(REMAP.c.id > after).order_by(REMAP.c.id)
        rows = connection.execute(query.limit(PART)).all()
        if not rows:
            return
        after = rows[-1].id
        found = [{"of": row.id, "hash": made} for row in rows if (made := _hash(row.kind, row.new_uri)) is not None]
        if found:
            connection.execute(change, found)


def _hash(kind: str, new_uri: str | None) -> str | None:
    """As the running program makes it: it is compared with what that makes of old URIs."""
    try:
        uri = parse_uri(new_uri or "")
    except UriError:
        return None
    return digest(kind, str(route_key(uri))) if isinstance(uri, SipUri) else None
