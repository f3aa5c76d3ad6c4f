"""A redirect loop of thousands of answers: counters exact, rows and evidence few, nothing counted twice."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.dialects import registry
from redirectd.service.ingestion import Summary, ingest
from redirectd.sources.file import open_log
from redirectd.store import migrate, sightings
from redirectd.store.database import Database
from redirectd.store.evidence import KEPT_FIRST, KEPT_LAST
from redirectd.store.schema import event, event_pack, remap
from redirectd.store.schema import evidence as evidence_table

CALLS = 2 * sightings.OWN_ROWS + 500
LINE = (
    "Nov 22 16:37:{second:02d} vm kamailio[1]: NOTICE: <script>: REDIRECTD v=1 ev=301 m=INVITE ci=c{number}%40h cseq=1 "
    "br=0 src=udp/192.0.2.9/5060 ouri=sip%3a{old}%40b.example buri=sip%3a{old}%40b.example nct=1 ctlen=19 "
    "ct=%3csip%3a{new}%40b.example%3e end=1\n"
)


def storm(calls: int) -> str:
    """A loop between two users: each call is answered with the other."""
    users = ("loopa", "loopb")
    return "".join(
        LINE.format(second=number // 200 % 60, number=number, old=users[number % 2], new=users[1 - number % 2])
        for number in range(2 * calls)
    )


def test_a_storm_costs_few_rows_and_counts_exactly(tmp_path: Path) -> None:
    """R8: beyond a thousand an hour answers are kept by key alone; read again, longer, only what is new is counted."""
    database = Database(f"sqlite:///{tmp_path}/redirectd.db")
    migrate.ensure(database)
    log = tmp_path / "syslog"
    log.write_text(storm(CALLS))
    assert read(database, log).sightings == 2 * CALLS
    assert calls_of(database) == [CALLS, CALLS]
    assert read(database, log).sightings == 0
    log.write_text(storm(CALLS + 7))
    assert read(database, log).sightings == 14
    assert calls_of(database) == [CALLS + 7, CALLS + 7]
    assert rows(database, event) <= 2 * sightings.OWN_ROWS + 1000
    assert rows(database, event_pack) <= 2 * 16
    assert rows(database, evidence_table) <= 2 * (KEPT_FIRST + KEPT_LAST)


def read(database: Database, path: Path) -> Summary:
    with open_log(str(path)) as log:
        reading = Reading("storm", registry.detect(log.read(0, 1 << 20)), UTC, Policy())
        return ingest(log, reading, database, node="n", clock=lambda: datetime(2026, 11, 22, 18, tzinfo=UTC))


def rows(database: Database, table: Any) -> int:
    with database.read() as connection:
        return connection.scalars(select(func.count()).select_from(table)).one()


def calls_of(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.scalars(select(remap.c.calls)))
