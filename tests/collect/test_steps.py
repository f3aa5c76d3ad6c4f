"""A log full of answers is read in short steps, and to what one long step would read it."""

from __future__ import annotations

from datetime import UTC

import pytest

from redirectd.collect import scan
from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.collect.reading import Reading
from redirectd.dialects.registry import ALL
from tests.collect.logs import NOW, POLICY, MemoryLog, received, record, request, response, sent

MOST = scan.STEP_WORK // scan._HARD + 1


def dense(count: int) -> bytes:
    """Calls that are answered 301, each with another new URI, and a 183 as a line and as a message."""
    calls = []
    for number in range(count):
        call, branch = f"c{number}", f"z9hG4bKPjdense{number}"
        calls += [
            sent(request(f"sip:u{number}@gw.test", call=call, branch=branch)),
            received(response("183 Session Progress", call=call, branch=branch)),
            received(response("301 Moved Permanently", f"<sip:n{number}@p.test>", call=call, branch=branch)),
        ]
    return b"".join(calls)


def reader_of(log: bytes) -> LogReader:
    return LogReader(MemoryLog(log), Reading("t", ALL, UTC, POLICY, session_progress="each"), clock=lambda: NOW)


def test_no_step_takes_more_than_a_few_answers() -> None:
    """R25: what one step looks at is bounded, so that whoever waits for it does not wait long."""
    reader, batch, taken, steps = reader_of(dense(400)), Batch("t"), 0, 0
    while reader.read(batch, final=True):
        assert len(batch.verdicts) - taken <= MOST
        taken, steps = len(batch.verdicts), steps + 1
    assert taken == 400
    assert steps >= 400 // MOST


def test_short_steps_read_what_a_long_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """R3, R8: the same answers, records of 183s, losses and offset, however many steps a stretch takes."""
    log = dense(300) + b"".join(record(call=f"c{number}", status=183) for number in range(300))
    outcomes = []
    for work in (scan.STEP_WORK, 1 << 30):
        monkeypatch.setattr(scan, "STEP_WORK", work)
        reader, batch = reader_of(log), Batch("t")
        while reader.read(batch, final=True):
            reader.confirm()
        outcomes.append((batch.verdicts.keys(), batch.progress, batch.losses, batch.read, reader.offset))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][4] == len(log)


def test_a_reader_that_goes_back_within_a_stretch_reads_it_again() -> None:
    """R8: what was not committed counts when it comes again, also where the stretch was half taken."""
    reader, batch = reader_of(dense(200)), Batch("t")
    reader.read(batch, final=True)
    reader.confirm()
    offset, first = reader.offset, set(batch.verdicts)
    reader.read(Batch("t"), final=True)
    reader.undo(reader.log, offset)
    again = Batch("t")
    while reader.read(again, final=True):
        reader.confirm()
    assert len(first) + len(again.verdicts) == 200
