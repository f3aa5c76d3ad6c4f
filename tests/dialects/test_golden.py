"""Every file of the corpus gives the answers that stand in it: how many, which way, from whom, readable as SIP."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from pathlib import Path

import pytest

from redirectd.dialects.family import FAMILIES, family_of
from redirectd.dialects.frame import Direction, Frame, Record
from redirectd.dialects.registry import ALL, by_name, detect, literals, stream_for
from redirectd.sip.message import Response, parse_message

RECEIVED, SENT, UNKNOWN = Direction.RECEIVED, Direction.SENT, Direction.UNKNOWN

FRAMES: dict[str, dict[tuple[str, int, Direction], int]] = {
    "asterisk/ast22-pjsip.full.log": {
        ("asterisk-pjsip", 301, RECEIVED): 10,
        ("asterisk-pjsip", 183, RECEIVED): 6,
        ("asterisk-pjsip", 183, SENT): 6,
    },
    "asterisk/ast16-pjsip-and-chan_sip.full.log": {
        ("asterisk-pjsip", 301, RECEIVED): 11,
        ("asterisk-pjsip", 183, RECEIVED): 6,
        ("asterisk-pjsip", 183, SENT): 7,
        ("asterisk-chan-sip", 301, RECEIVED): 3,
        ("asterisk-chan-sip", 183, RECEIVED): 2,
    },
    "asterisk/ast16-loop-storm.full.log.gz": {("asterisk-pjsip", 301, RECEIVED): 196},
    "asterisk/ast22-iso-ms.plain.log": {("asterisk-pjsip", 301, RECEIVED): 3},
    "asterisk/ast22-iso-ms.json.log": {("asterisk-json", 301, RECEIVED): 3},
    "asterisk/ast22-rsyslog-escaped.log": {("asterisk-syslog", 301, RECEIVED): 1},
    "asterisk/ast22-console-ansi.log": {("asterisk-console", 301, RECEIVED): 1},
    "asterisk/ast22-hep3.raw": {("hep", 301, UNKNOWN): 12},
    "asterisk/ast22-verbose-only.log": {},
    "asterisk/ast16-messages-only.log": {},
    "kamailio/xlog-syslog.log": {("kamailio-dump", 301, RECEIVED): 32, ("kamailio-dump", 183, RECEIVED): 4},
    "kamailio/xlog-rsyslog-json.log": {
        ("kamailio-dump", 301, RECEIVED): 32,
        ("kamailio-dump", 183, RECEIVED): 4,
    },
    "kamailio/xlog-json-engine.log": {("kamailio-json", 301, RECEIVED): 2},
    "kamailio/xlog-stderr-color.log": {("kamailio-stderr", 301, RECEIVED): 1},
    "kamailio/journal.json": {("kamailio-journal", 301, RECEIVED): 4},
    "kamailio/sipdump.data": {
        ("sipdump", 301, RECEIVED): 8,
        ("sipdump", 301, SENT): 14,
        ("sipdump", 183, RECEIVED): 3,
        ("sipdump", 183, SENT): 3,
    },
    "kamailio/siptrace-hep3.raw": {("hep", 301, UNKNOWN): 6, ("hep", 183, UNKNOWN): 4},
    "kamailio/register-301.log": {},
    "kamailio/dispatcher-options-301.log": {},
    "kamailio/snippet-all-cases.log": {},
    "kamailio/acc-syslog.log": {},
}
RECORDS: dict[str, dict[tuple[str, int], int]] = {
    "kamailio/register-301.log": {("kamailio-text", 301): 2},
    "kamailio/dispatcher-options-301.log": {("kamailio-text", 301): 2},
    "kamailio/xlog-syslog.log": {
        ("kamailio-record", 301): 32,
        ("kamailio-record", 183): 4,
        ("kamailio-text", 301): 63,
    },
    "kamailio/xlog-rsyslog-json.log": {
        ("kamailio-record", 301): 32,
        ("kamailio-record", 183): 4,
        ("kamailio-text", 301): 63,
    },
    "kamailio/xlog-json-engine.log": {("kamailio-record", 301): 2, ("kamailio-text", 301): 4},
    "kamailio/xlog-stderr-color.log": {("kamailio-record", 301): 1, ("kamailio-text", 301): 2},
    "kamailio/journal.json": {("kamailio-record", 301): 4, ("kamailio-text", 301): 4},
    "kamailio/snippet-all-cases.log": {("kamailio-record", 301): 34, ("kamailio-record", 183): 4},
    "kamailio/acc-syslog.log": {("kamailio-acc", 301): 20, ("kamailio-acc", 183): 2},
}
NO_STAMP = {"asterisk/ast22-console-ansi.log", "kamailio/xlog-stderr-color.log"}


def read(path: Path) -> bytes:
    """The text of a corpus file."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def everything(log: bytes) -> list[Frame | Record]:
    """All answers of a log, found as the scanner finds them: literals, then the dialects in order."""
    places = sorted(
        match.start() for literal in literals(ALL, (301, 183)) for match in re.finditer(re.escape(literal), log)
    )
    found: list[Frame | Record] = []
    done = 0
    for at in places:
        framed = None if at < done else next((f for d in ALL if (f := d.frame(log, at, final=True))), None)
        if isinstance(framed, Frame | Record):
            found.append(framed)
            done = framed.end
    return found


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_corpus_file_gives_its_answers(corpus: Path, name: str) -> None:
    """R8: each 301 and 183 of a real log is framed once, whole and readable, with its direction, peer and date."""
    frames: Counter[tuple[str, int, Direction]] = Counter()
    records: Counter[tuple[str, int]] = Counter()
    for one in everything(read(corpus / name)):
        assert bool(one.stamp) is (name not in NO_STAMP) or isinstance(one, Record)
        if isinstance(one, Record):
            records[one.dialect, one.status] += 1
            continue
        message = parse_message(one.payload)
        assert isinstance(message, Response)
        assert one.peer is not None
        assert one.peer.port
        assert not one.cut
        assert message.call_id
        frames[one.dialect, message.status, one.direction] += 1
    assert dict(frames) == FRAMES[name]
    assert dict(records) == RECORDS.get(name, {})


@pytest.mark.parametrize("name", ["asterisk/ast22-pjsip.full.log", "kamailio/sipdump.data"])
def test_request_is_found_by_branch_with_the_same_function(corpus: Path, name: str) -> None:
    """R6: for each received 301 the request with its top branch stands before it and is framed as a sent message."""
    log = read(corpus / name)
    answers = [one for one in everything(log) if isinstance(one, Frame) and one.direction is RECEIVED]
    assert answers
    for answer in answers:
        message = parse_message(answer.payload)
        assert message.top_via is not None
        branch = (message.top_via.branch or "").encode()
        dialect = by_name(answer.dialect)
        at = log.rfind(dialect.spell(branch), 0, answer.start)
        requests = []
        while at >= 0:
            frame = dialect.frame(log, at, final=True)
            assert isinstance(frame, Frame)
            requests.append(frame)
            at = log.rfind(dialect.spell(branch), 0, min(at, frame.start))
        assert any(frame.direction is SENT and b" SIP/2.0\r\n" in frame.payload for frame in requests)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("asterisk/ast22-pjsip.full.log", "asterisk-pjsip"),
        ("asterisk/ast22-iso-ms.json.log", "asterisk-json"),
        ("asterisk/ast22-console-ansi.log", "asterisk-console"),
        ("kamailio/snippet-all-cases.log", "kamailio-record"),
        ("kamailio/sipdump.data", "sipdump"),
        ("kamailio/siptrace-hep3.raw", "hep"),
    ],
)
def test_dialect_is_detected_by_content(corpus: Path, name: str, expected: str) -> None:
    """R38: the dialect that reads a log is first; other families' are left out, and an author's text where none is."""
    head = read(corpus / name)[: 1 << 18]
    order, family = detect(head), FAMILIES.get(family_of(head))
    assert order[0].name == expected
    possible = {dialect.name for dialect in ALL} if family is None else family
    assert possible - {dialect.name for dialect in order} <= {"kamailio-text"}
    assert {dialect.name for dialect in order} <= possible


@pytest.mark.parametrize("name", ["asterisk/ast22-hep3.raw", "kamailio/siptrace-hep3.raw"])
@pytest.mark.parametrize("size", [1, 97, 1 << 20])
def test_hep_file_is_streamed_the_same_in_pieces_of_any_size(corpus: Path, name: str, size: int) -> None:
    """Streaming gives the same messages as framing from inside, however the file is cut."""
    log = read(corpus / name)
    stream = stream_for(log[:64])
    assert stream is not None
    frames = list(stream.messages(log[at : at + size] for at in range(0, len(log), size)))
    answers = [frame for frame in frames if frame.payload.startswith((b"SIP/2.0 301", b"SIP/2.0 183"))]
    inside = [one.payload for one in everything(log) if isinstance(one, Frame)]
    assert [frame.payload for frame in answers] == inside
    assert all(log[frame.start : frame.end].endswith(frame.payload) for frame in frames)
    assert len(frames) == log.count(b"HEP3")


def test_password_of_a_capture_agent_goes_nowhere(corpus: Path) -> None:
    """The HEP password in the file is in no frame."""
    log = read(corpus / "asterisk/ast22-hep3.raw")
    assert b"hepsecret" in log
    assert all(b"hepsecret" not in repr(one).encode() for one in everything(log))
