"""R39: what a source has shown decides whether records without a proof are believed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.collect.verdict import Learnt
from redirectd.dialects.registry import with_keys
from tests.collect.logs import MemoryLog, reading
from tests.dialects.test_proof import FIELDS, FORGERIES, KEY, line

NOW = datetime(2026, 11, 30, 2, tzinfo=UTC)
HEAD = b"2026-11-30T01:55:31.072416+00:00 sip1 kamailio[235]: NOTICE: "


def read(log: bytes, *, proven: bool = False, accept: bool = False, zone: str = "UTC") -> tuple[Batch, list[str]]:
    """What reading a log comes to, and the Call-IDs that were learnt from."""
    how = reading()
    how = replace(how, dialects=with_keys(how.dialects, (KEY,)), accept_unkeyed=accept, zone=ZoneInfo(zone))
    reader, batch = LogReader(MemoryLog(log), how, clock=lambda: NOW, proven=proven), Batch("test")
    while reader.read(batch, final=True):
        pass
    return batch, [one.answer.call_id for one in batch.verdicts.values() if isinstance(one, Learnt)]


def entry(call: str, proof: bytes | None = None, head: bytes = HEAD, version: bytes = b"v=2") -> bytes:
    fields = FIELDS.replace(b"ci=own", b"ci=" + call.encode()).replace(b"v=2", version)
    return head + b"<script>: " + line(fields, proof) + b"\n"


def test_unproven_records_are_refused_from_the_first_proven_one_on() -> None:
    """R39: `v=1` and `mac=none` count until a proven record comes, then they are counted as refused."""
    log = entry("a", b"none") + entry("b", version=b"v=1") + entry("c") + entry("d", b"none")
    batch, calls = read(log + entry("e", version=b"v=1"))
    assert calls == ["a", "b", "c"]
    assert (batch.losses, batch.proven) == ({"unkeyed-refused": 2}, True)


def test_a_source_once_proven_stays_so() -> None:
    """R39: after a restart too; an archive is read by `--accept-unkeyed`."""
    assert read(entry("a", b"none"), proven=True)[1] == []
    batch, calls = read(entry("a", b"none"), proven=True, accept=True)
    assert (calls, batch.losses, batch.proven) == (["a"], {}, False)


@pytest.mark.parametrize("forged", FORGERIES)
def test_forged_records_move_nothing_and_are_counted(forged: bytes) -> None:
    """R39: the entry's own record is learnt from, the forged one in its Call-ID is counted as `forged`."""
    batch, calls = read(HEAD + b"{1 1 INVITE x <script>: " + forged + b"} <script>: " + line() + b"\n")
    assert calls == ["own"]
    assert batch.losses == {"forged": forged.count(b"REDIRECTD")}
    assert not batch.quarantined


@pytest.mark.parametrize(
    ("head", "zone", "learnt"),
    [
        (b"2026-11-30T01:57:30+00:00 sip1 kamailio[2]: NOTICE: ", "UTC", True),
        (b"2026-11-30T01:57:32+00:00 sip1 kamailio[2]: NOTICE: ", "UTC", False),
        (b"2026-11-30T01:53:30+00:00 sip1 kamailio[2]: NOTICE: ", "UTC", False),
        (b"Nov 30 02:55:31 sip1 kamailio[2]: NOTICE: ", "Europe/Berlin", True),
        (b" 2(26536) NOTICE: ", "UTC", True),
    ],
)
def test_a_record_of_another_time_than_its_entry_is_refused(head: bytes, zone: str, learnt: bool) -> None:
    """R39: over 120 s apart; where the entry has no time, that test is skipped."""
    batch, calls = read(entry("a", head=head), zone=zone)
    assert bool(calls) is learnt
    assert batch.losses == ({} if learnt else {"record-mistimed": 1})


def test_the_hour_that_the_clock_shows_twice_refuses_nothing() -> None:
    """R37, R39: an entry's time in it means either of two, and one of them is the record's."""
    for epoch in (1792888200, 1792891800):  # 25 October 2026, 02:30 in Berlin, twice
        fields = FIELDS.replace(b"1796003731.100000", b"%d.5" % epoch)
        log = b"Oct 25 02:30:00 sip1 kamailio[2]: NOTICE: <script>: " + line(fields) + b"\n"
        assert len(read(log, zone="Europe/Berlin")[1]) == 1, epoch
