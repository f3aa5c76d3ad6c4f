"""The product and a slow, obvious reader agree on generated logs, however these are cut into blocks and arrive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from redirectd.collect import branches, pair, scan
from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.sip.contact import parse_contacts
from tests import oracle
from tests.collect.logs import NOW, MemoryLog, found_in, reading
from tests.collect.strategies import pjsip_logs, record_logs

LARGEST = 2_048
"""Larger than any record that the strategies make: what a block must hold at least."""


@contextmanager
def blocks_of(size: int) -> Iterator[None]:
    """Reads in blocks of `size` bytes, so that small logs have many borders."""
    with (
        patch.object(scan, "BLOCK", size),
        patch.object(scan, "LEAD", 2 * LARGEST),
        patch.object(scan, "REACH", LARGEST),
        patch.object(branches, "CHUNK", size // 2),
        patch.object(branches, "OVERLAP", LARGEST),
        patch.object(pair, "OVERLAP", LARGEST),
    ):
        yield


def product(log: bytes, *, block: int, arrivals: list[int]) -> oracle.Reading:
    """What the product makes of a log that arrives in pieces cut at `arrivals`."""
    source = MemoryLog()
    batch = Batch("test")
    with blocks_of(block):
        reader = LogReader(source, reading(), clock=lambda: NOW)
        done = 0
        for cut in [*sorted(arrivals), len(log)]:
            source.grow(log[done:cut])
            done = max(done, cut)
            while reader.read(batch, final=False):
                pass
        while reader.read(batch, final=True):
            pass
    found = found_in(batch)
    assert found.unreadable == []
    moved = [
        oracle.Seen(
            answer.call_id,
            answer.cseq or 0,
            answer.request_uri or "",
            tuple(contact.uri_text for contact in parse_contacts(answer.contacts)),
        )
        for answer in (verdict.answer for verdict in batch.verdicts.values())
    ]
    return oracle.Reading(tuple(sorted(moved)), len(batch.progress))


cuts = st.lists(st.integers(0, 12_000), max_size=6)
sizes = st.integers(LARGEST, 3 * LARGEST)


@given(pjsip_logs(), sizes, cuts)
def test_r1_to_r9_pjsip_logs(log: bytes, block: int, arrivals: list[int]) -> None:
    """R1 to R9: the same 301s with the same old URIs and Contacts, and as many 183s, as the oracle finds."""
    arrivals = [min(cut, len(log)) for cut in arrivals]
    assert product(log, block=block, arrivals=arrivals) == oracle.read_pjsip(log)


@given(record_logs(), sizes, cuts)
def test_r1_to_r9_record_logs(log: bytes, block: int, arrivals: list[int]) -> None:
    """R1 to R9: the same for one-line records."""
    arrivals = [min(cut, len(log)) for cut in arrivals]
    assert product(log, block=block, arrivals=arrivals) == oracle.read_records(log)


def test_the_oracle_counts_by_itself() -> None:
    """The oracle reads a log whose result is known by hand."""
    from tests.collect.logs import call, record, response

    log = call(response("301 Moved", "<sip:new@place.test>")) + call(response("183 Ringing"))
    assert oracle.read_pjsip(log) == oracle.Reading(
        (oracle.Seen("call-1", 1, "sip:old@gw.test", ("sip:new@place.test",)),), 1
    )
    assert oracle.read_records(record("<sip:new@place.test>")).moved[0].old == "sip:old@gw.test"
