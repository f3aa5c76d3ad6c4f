"""Nothing is lost in silence: what a log says it lost, what was cut, and what could not be read until an upgrade."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.dialects import registry
from redirectd.service.ingestion import Summary, ingest, replay
from redirectd.sources.file import open_log
from redirectd.store import evidence, migrate
from redirectd.store.database import Database
from redirectd.store.schema import event, loss, quarantine, refusal, remap
from redirectd.store.schema import evidence as evidence_table

CORPUS = Path(__file__).parent.parent / "corpus"
NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    found = Database(f"sqlite:///{tmp_path}/redirectd.db")
    migrate.ensure(found)
    return found


def reading(name: str = "test") -> Reading:
    return Reading(name, registry.ALL, UTC, Policy())


def read(database: Database, path: Path) -> Summary:
    with open_log(str(path)) as log:
        return ingest(log, reading(), database, node="n", clock=lambda: NOW, unread=lambda: len(log.losses))


def rows(database: Database, table: Any) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(table)))


def losses(database: Database) -> dict[str, int]:
    return {row.kind: row.count for row in rows(database, loss)}


LOG = (
    b"[Nov 22 16:26:03] WARNING[7] logger.c: Logging resumed.  17 messages discarded.\n"
    b"[Nov 22 16:26:04] WARNING[7] logger.c: Logging resumed.  1 message discarded.\n"
    b"[Nov 22 16:26:05] ERROR[7] pjproject: Dropping 382 bytes packet from UDP 192.0.2.1:5060 : "
    b"PJSIP syntax error exception when parsing 'Contact' header on line 8 col 11\n"
    b"Nov 22 16:37:35 vm kamailio[9]: ERROR: pv [pv_core.c:1]: pv_printf_mode(): no more space [9]\n"
    b"Subject: no more space\r\nX: Logging resumed.  900 messages discarded.\n"
)


def test_what_a_log_says_it_lost_is_counted_with_its_number(database: Database, tmp_path: Path) -> None:
    """Asterisk's discarded messages count by their number, dropped packets and long lines one each, SIP text none."""
    path = tmp_path / "full"
    path.write_bytes(LOG)
    assert read(database, path).lost == 20
    assert losses(database) == {"asterisk-discarded": 18, "pjsip-unparsable": 1, "kamailio-no-space": 1}
    read(database, path)
    assert losses(database)["asterisk-discarded"] == 18, "the same log again"


def test_losses_on_a_block_border_are_counted_once(database: Database, tmp_path: Path) -> None:
    """A line that lies across the border of two blocks is neither missed nor counted twice."""
    line = LOG.splitlines(keepends=True)[0]
    for shift in range(0, len(line), 7):
        path = tmp_path / f"full{shift}"
        path.write_bytes(b"." * ((1 << 20) - shift - 1) + b"\n" + line + b"." * 4000 + b"\n")
        assert read(database, path).lost == 17, shift


def test_a_cut_answer_and_a_damaged_gz_are_losses(database: Database, tmp_path: Path) -> None:
    """A dump that its writer cut off within a header, and a gz that ends too early, are counted."""
    whole = (CORPUS / "asterisk/ast22-pjsip.full.log").read_bytes()
    end = whole.index(b"Contact:", whole.index(b"SIP/2.0 301")) + 12
    (tmp_path / "cut").write_bytes(whole[:end])
    assert read(database, tmp_path / "cut").lost == 1
    assert losses(database) == {"cut-short": 1}
    packed = gzip.compress(whole)
    (tmp_path / "damaged.gz").write_bytes(packed[: len(packed) // 2])
    assert read(database, tmp_path / "damaged.gz").lost >= 1
    assert losses(database)["unread"] == 1


HEAD = b"Nov 22 16:37:35 vm kamailio[14390]: NOTICE: <script>: "
RECORD = (
    HEAD + b"REDIRECTD v=1 ev=301 ts=1795369921.5 m=INVITE ci=c1%%40h cseq=1 br=0 src=udp/192.0.2.9/5060 "
    b"ouri=sip%%3aa%%40b.example buri=sip%%3aa%%40b.example nct=1 ctlen=%d ct=%s end=1\n"
)
UNREADABLE = RECORD % (20, b"%3csip%3anew%40c.exampl")
READABLE = RECORD % (19, b"%3csip%3anew%40c.ex%3e")


def test_quarantine_is_replayed_after_an_upgrade(database: Database, tmp_path: Path) -> None:
    """R8: what was counted as unreadable counts once as what it is now; what still can't be read stays."""
    path = tmp_path / "syslog"
    path.write_bytes(UNREADABLE + UNREADABLE.replace(b"ci=c1", b"ci=c2"))
    first = read(database, path)
    assert (first.sightings, first.unparsed, first.remaps_new) == (2, 2, 0)
    kept = rows(database, quarantine)
    assert sorted(row.content for row in kept) == sorted(path.read_bytes().splitlines(keepends=True)), "with its bytes"
    with database.begin() as connection:  # as a reader that knows more would see the first
        connection.execute(update(quarantine).where(quarantine.c.id == kept[0].id).values(content=READABLE))
    found, left = replay(database, reading, node="n", clock=lambda: NOW)
    assert (found.sightings, found.remaps_new, left) == (1, 1, 1)
    assert [row.id for row in rows(database, quarantine)] == [kept[1].id]
    assert [row.calls for row in rows(database, remap)] == [1]
    assert [row.calls for row in rows(database, refusal)] == [1]
    assert len(rows(database, event)) == 2
    assert replay(database, reading, node="n", clock=lambda: NOW)[0].sightings == 0


def test_a_message_is_kept_with_its_request(database: Database, tmp_path: Path) -> None:
    """R6: what can't be read is kept with the request it answers, so that a replay pairs them."""
    whole = (CORPUS / "asterisk/ast22-pjsip.full.log").read_bytes()
    at = whole.index(b"Contact:", whole.index(b"SIP/2.0 301"))
    stop = whole.index(b"\r\n", at)
    broken = whole[:at] + b"Contact: <" + b"x" * (stop - at - 10) + whole[stop:]
    (tmp_path / "full").write_bytes(broken)
    assert read(database, tmp_path / "full").unparsed == 1
    (kept,) = rows(database, quarantine)
    assert kept.content.count(b"INVITE sip:") == 1
    assert kept.content.count(b"SIP/2.0 301") == 1
    fixed = kept.content.replace(broken[at:stop], whole[at:stop])
    with database.begin() as connection:
        connection.execute(update(quarantine).values(content=fixed))
    found, left = replay(database, reading, node="n", clock=lambda: NOW)
    assert (found.sightings, found.unpaired, left) == (1, 0, 0)


def test_a_record_of_an_older_version_is_counted_anew(database: Database) -> None:
    """What no rule had counted yet becomes a sighting, with the place and the time it was first met at."""
    row = evidence.quarantined("edge", 4711, "kamailio-record", "unknown field", READABLE, NOW)
    with database.begin() as connection:
        connection.execute(quarantine.insert().values(**row))
    found, left = replay(database, reading, node="n", clock=lambda: NOW)
    assert (found.sightings, left, rows(database, quarantine)) == (1, 0, [])
    (kept,) = rows(database, evidence_table)
    assert (kept.source, kept.position) == ("edge", 4711)


@pytest.mark.parametrize("size", [100, len(LOG), 300_000])
def test_a_log_that_has_grown_tells_its_losses_once(database: Database, tmp_path: Path, size: int) -> None:
    """Read again when there is more of it, a log adds what is new alone, however short it was before."""
    log = tmp_path / "full"
    before = (LOG * (size // len(LOG) + 1))[:size]
    log.write_bytes(before[: before.rfind(b"\n") + 1])
    for more in (b"", LOG):
        with log.open("ab") as file:
            file.write(more)
        read(database, log)
        text = log.read_bytes()
        told = 17 * text.count(b"logger.c: Logging resumed.  17 m") + text.count(b"logger.c: Logging resumed.  1 m")
        assert losses(database)["asterisk-discarded"] == told
