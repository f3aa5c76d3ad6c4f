"""How sure the sightings behind each remap are (R39): proven, surely framed, or neither."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

UNPROVEN, UNKEYED, FRAMED = 0, 1, 2
WHOLE = 3

LINES = ("kamailio-record", "kamailio-text", "kamailio-acc")
"""The dialects of lines; all others frame a message."""

REMAP = sa.table("remap", sa.column("id"), sa.column("authenticity", sa.Integer))
EVIDENCE = sa.table("evidence", sa.column("remap_id"), sa.column("dialect", sa.String))
AUDIT = sa.table("audit", sa.column("remap_id"), sa.column("action", sa.String))
EVENT = sa.table("event", sa.column("remap_id"), sa.column("refusal_id"), sa.column("rank", sa.Integer))

PEER = sa.table(
    "remap_peer",
    *(sa.column(name) for name in ("remap_id", "calls", "first_seen", "last_seen")),
    *(sa.column(name) for name in ("authentic_calls", "authentic_first", "authentic_last")),
)
METHOD = sa.table("remap_method", *(sa.column(name) for name in ("remap_id", "calls", "authentic_calls")))


def upgrade() -> None:
    """What is known only from lines, or of which nothing is known any more, becomes unkeyed; nothing else changes.

    Proofs were not kept, so a record counts as one without. What a person imported rests on that person's decision.
    """
    op.add_column("remap", sa.Column("authenticity", sa.Integer(), nullable=False, server_default="1"))
    for table in ("remap_peer", "remap_method"):
        op.add_column(table, sa.Column("authentic_calls", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("remap_peer", sa.Column("authentic_first", TIME))
    op.add_column("remap_peer", sa.Column("authentic_last", TIME))
    _mark()
    _carry_over()


def _mark() -> None:
    """By the kept excerpts: a message of any frame is enough; acc alone is less than a record."""

    def seen(condition: sa.ColumnElement[bool]) -> sa.Select[tuple[object]]:
        return sa.select(EVIDENCE.c.remap_id).where(EVIDENCE.c.remap_id.is_not(None), condition)

    framed = seen(EVIDENCE.c.dialect.not_in(LINES))
    imported = sa.select(AUDIT.c.remap_id).where(AUDIT.c.remap_id.is_not(None), AUDIT.c.action == "import")
    weak, better = seen(EVIDENCE.c.dialect == "kamailio-acc"), seen(EVIDENCE.c.dialect != "kamailio-acc")
    op.execute(
        sa.update(REMAP).where(sa.or_(REMAP.c.id.in_(framed), REMAP.c.id.in_(imported))).values(authenticity=FRAMED)
    )
    op.execute(
        sa.update(REMAP)
        .where(REMAP.c.authenticity == UNKEYED, REMAP.c.id.in_(weak), REMAP.c.id.not_in(better))
        .values(authenticity=UNPROVEN)
    )


def _carry_over() -> None:
    """Which single sighting was framed is not known: all of such a remap's count as they did."""
    authentic = sa.select(REMAP.c.id).where(REMAP.c.authenticity >= FRAMED)
    times = {"authentic_first": PEER.c.first_seen, "authentic_last": PEER.c.last_seen}
    op.execute(sa.update(PEER).where(PEER.c.remap_id.in_(authentic)).values({"authentic_calls": PEER.c.calls} | times))
    op.execute(sa.update(METHOD).where(METHOD.c.remap_id.in_(authentic)).values(authentic_calls=METHOD.c.calls))
    paired = EVENT.c.rank.between(WHOLE - 1, WHOLE)
    counted = sa.or_(EVENT.c.remap_id.in_(authentic), EVENT.c.refusal_id.is_not(None))
    op.execute(sa.update(EVENT).where(paired, counted).values(rank=EVENT.c.rank + WHOLE + 1))
