"""The requests of a log and what became of each: once each, with their final answer, bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from redirectd.collect.request_fates import MAX_WAITING, RequestFate, RequestFates
from redirectd.collect.traffic import LoggedMessage
from redirectd.dialects.frame import Direction
from redirectd.sip.message import parse_message

NOW = datetime(2026, 11, 22, 18, 0, 0, 500_000, tzinfo=UTC)


def logged(
    line: str, call: str = "c1", *, method: str = "INVITE", tag: str = "", way: Direction | None = None, ms: int = 0
) -> LoggedMessage:
    """One message of a transaction as a log shows it."""
    raw = (
        f"{line}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{call}-{method}\r\nTo: <sip:b@x>{tag}\r\n"
        f"Call-ID: {call}\r\nCSeq: 1 {method}\r\n\r\n"
    )
    usual = Direction.RECEIVED if line.startswith("SIP/2.0") else Direction.SENT
    message = parse_message(raw.encode())
    return LoggedMessage(0, "test", way or usual, None, None, NOW + timedelta(milliseconds=ms), message)


def fates(*messages: LoggedMessage) -> list[RequestFate]:
    """What became of the requests."""
    return list(RequestFates().of(messages))


INVITE = "INVITE sip:b@x SIP/2.0"


def test_a_request_has_its_final_answer_and_wait() -> None:
    """R6: the first final answer of its transaction ends it, whatever comes before; sent again, it is one request."""
    answers = [("SIP/2.0 100 Trying", 5), ("SIP/2.0 183 S", 20), ("SIP/2.0 301 Moved", 40), ("SIP/2.0 301 Moved", 60)]
    again = [logged(INVITE), logged(INVITE, ms=1)]
    [one] = fates(*again, *(logged(line, ms=ms) for line, ms in answers))
    assert (one.uri, one.status, one.waited_ms, one.received) == ("sip:b@x", 301, 40, False)


def test_what_can_not_move_is_left_out() -> None:
    """R10, R12: requests within a dialog, and methods that no remap moves, are counted and not replayed."""
    found = RequestFates()
    messages = [
        logged(INVITE, tag=";tag=1"),
        logged("REGISTER sip:x SIP/2.0", method="REGISTER"),
        logged("BYE sip:b@x SIP/2.0", method="BYE"),
        logged("ACK sip:b@x SIP/2.0", "c2"),
    ]
    assert list(found.of(messages)) == []
    assert (found.counts["in_dialog"], found.counts["other"]) == (1, 2)


def test_a_capture_shows_both_sides() -> None:
    """Where the direction is not known, a request stands for both, and its copy on another leg is none."""
    legs = [logged(INVITE, way=Direction.UNKNOWN), logged(INVITE, way=Direction.UNKNOWN)]
    [one] = fates(*legs)
    assert one.received is None


def test_what_is_older_is_left_out() -> None:
    """`--last` counts what it leaves out."""
    found = RequestFates(NOW + timedelta(seconds=1))
    assert [one.call_id for one in found.of([logged(INVITE), logged(INVITE, "c2", ms=2000)])] == ["c2"]
    assert found.counts["older"] == 1


def test_requests_without_an_answer_are_bounded() -> None:
    """A storm of requests that nobody answers is read through, the oldest as not answered."""
    found = fates(*(logged(INVITE, f"c{number}") for number in range(MAX_WAITING + 100)))
    assert len(found) == MAX_WAITING + 100
    assert {one.status for one in found} == {None}
