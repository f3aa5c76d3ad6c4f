"""A log full of answers is read in short steps, and to what one long step would read it."""

from __future__ import annotations

from datetime import UTC
from unittest.mock import Mock, patch

import pytest

from redirectd.collect import console_streams, places, scan
from redirectd.collect.batch import Batch
from redirectd.collect.explanation import explain_log
from redirectd.collect.log_reader import LogReader
from redirectd.collect.reading import Reading
from redirectd.dialects.registry import ALL
from tests.collect.logs import NOW, POLICY, MemoryLog, received, record, request, response, sent
from tests.collect.wrapping import docker

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


def test_a_containers_log_is_read_in_short_steps_too() -> None:
    """R25: the same where each line is wrapped; the offset never passes what was not looked at yet."""
    log = b"".join(docker(dense(300)))
    reader = console_streams.reader_of(MemoryLog(log), Reading("t", ALL, UTC, POLICY), clock=lambda: NOW)
    batch, taken, steps = Batch("t"), 0, 0
    while reader.read(batch, final=True):
        assert len(batch.verdicts) - taken <= MOST
        taken, steps = len(batch.verdicts), steps + 1
        if steps == 3:
            half, first = reader.offset, len(batch.verdicts)
    assert (taken, reader.offset, batch.read) == (300, len(log), len(log))
    again = Batch("t")
    behind = console_streams.reader_of(MemoryLog(log), Reading("t", ALL, UTC, POLICY), clock=lambda: NOW, offset=half)
    while behind.read(again, final=True):
        pass
    assert first + len(again.verdicts) >= 300
    assert batch.verdicts.keys() >= again.verdicts.keys()


def test_the_order_of_what_is_searched_for_is_not_left_to_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """R25: a process whose order was another searched thirty times as long."""
    finder = Mock(return_value=lambda _window, _begin: [])
    monkeypatch.setattr(places, "_one_pass", finder)
    monkeypatch.setattr(places, "one_pass", Mock())
    places.Places([b"SIP/2.0 183", b"SIP/2.0 301"], [b"Logging resumed.", b"no more space"])
    searched, _ = finder.call_args.args
    assert tuple(searched) == (b"SIP/2.0 183", b"SIP/2.0 301", b"Logging resumed.", b"no more space")


def test_explain_goes_once_over_a_log() -> None:
    """R1, R3: each entry is framed once, by one scanner, though all messages of the log are counted."""
    reading = Reading("t", ALL, UTC, POLICY)
    with patch.object(scan.Scanner, "_frame", autospec=True, side_effect=scan.Scanner._frame) as framed:
        found = explain_log(MemoryLog(dense(20)), reading, clock=lambda: NOW, with_lines=False)
    assert found.counts.by_status()["asterisk-pjsip"] == {183: 20, 301: 20}
    assert found.counts.requests["asterisk-pjsip"] == 20
    assert framed.call_count == 60
