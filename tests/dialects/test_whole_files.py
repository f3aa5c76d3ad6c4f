"""Texts that only make sense from their beginning: siptrace's table, ngrep without `-W byline`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.collect.batch import Batch
from redirectd.collect.capture import CapturedLog, searchable
from redirectd.collect.log_reader import LogReader
from redirectd.collect.reading import Reading
from redirectd.dialects.frame import Authenticity, Frame, Peer
from redirectd.dialects.registry import stream_for
from redirectd.dialects.siptrace import LONGEST_ROW
from tests.collect.logs import NOW, Found, MemoryLog, found_in, reading, received, request, response
from tests.dialects.strategies import messages

CORPUS = Path(__file__).parent.parent / "corpus"
NEW = "<sip:new@192.0.2.50>"
US, THEM = "udp:192.0.2.1:5060", "udp:192.0.2.7:5060"
TABLE = (
    b"id(int,auto) time_stamp(int) time_us(int) callid(string) traced_user(string) msg(string) method(string) "
    b"status(string) fromip(string) toip(string) fromtag(string) totag(string) direction(string)\n"
)


def table(rows: list[tuple[bytes, str, str]]) -> bytes:
    """db_text's file: what a field holds of colons, backslashes and line ends is escaped."""
    out = TABLE
    for number, (message, source, target) in enumerate(rows):
        values = [b"%d" % number, b"1795366147", b"945332", b"c", b"", message, b"INVITE", b"", source.encode()]
        values += [target.encode(), b"a", b"b", b"in"]
        for mark, spelt in ((b"\\", b"\\\\"), (b"\r", b"\\r"), (b"\n", b"\\n"), (b":", b"\\:"), (b"\t", b"\\t")):
            values = [value.replace(mark, spelt) for value in values]
        out += b":".join(values) + b"\n"
    return out


def printed(rows: list[tuple[bytes, str, str]]) -> bytes:
    """`SELECT * FROM sip_trace\\G`."""
    out = b""
    for number, (message, source, target) in enumerate(rows, 1):
        fields = {b"id": b"%d" % number, b"time_stamp": b"2026-11-22 16:42:27", b"callid": b"c", b"msg": message}
        fields |= {b"method": b"INVITE", b"fromip": source.encode(), b"toip": target.encode(), b"direction": b"in"}
        out += b"*" * 27 + b" %d. row " % number + b"*" * 27 + b"\n"
        out += b"".join(b"%11s: %s\n" % field for field in fields.items())
    return out + b"%d rows in set (0.00 sec)\n" % len(rows)


def ngrep(rows: list[tuple[bytes, str, str]]) -> bytes:
    """ngrep's own layout on a terminal of 80 columns."""
    out = b"interface: any\nfilter: ( ip ) and ( port 5060 )\n"
    for message, source, target in rows:
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in message)
        lines = [text[at : at + 76] for at in range(0, len(text), 76)]
        head = f"#\nU {source.removeprefix('udp:')} -> {target.removeprefix('udp:')}\n"
        out += (head + "".join(f"  {line}\n" for line in lines) + "\n").encode()
    return out


WRITERS = {"siptrace": table, "siptrace-rows": printed, "ngrep-wrapped": ngrep}


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def frames(data: bytes, size: int = 1 << 16) -> list[Frame]:
    stream = stream_for(data[: 1 << 16])
    assert stream is not None
    return list(stream.messages(pieces(data, size)))


def found(data: bytes) -> Found:
    log = searchable(MemoryLog(data))
    assert isinstance(log, CapturedLog)
    base = reading()
    reader = LogReader(log, Reading("test", (log.dialect,), base.zone, base.policy), clock=lambda: NOW)
    batch = Batch("test")
    while reader.read(batch, final=True):
        pass
    return found_in(batch)


CALL = [(request(), US, THEM), (response("301 Moved Permanently", NEW), THEM, US)]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_call_is_paired_under_its_own_name(name: str) -> None:
    """R6: request and answer of a table or text make the move, with the peer; only db_text's frames are sure (R40)."""
    result = found(WRITERS[name](CALL))
    (learnt,) = result.learnt
    assert result.remaps["sip:old@gw.test"][0] == ["sip:new@192.0.2.50"]
    assert learnt.answer.dialect == name
    assert learnt.answer.peer == Peer("udp", "192.0.2.7", 5060)
    sure = Authenticity.FRAMED if name == "siptrace" else Authenticity.UNPROVEN
    assert learnt.answer.authenticity is sure
    assert (learnt.answer.seen_at is not None) is (name == "siptrace")


@given(sent=st.lists(messages(), min_size=1, max_size=4), size=st.integers(1, 500), rows=st.booleans())
def test_messages_come_back_in_pieces_of_any_size(sent: list[bytes], size: int, rows: bool) -> None:
    """Round trip: each message comes back whole, wherever the file is cut into pieces."""
    write = printed if rows else table
    got = frames(write([(one, US, THEM) for one in sent]), size)
    assert [frame.payload for frame in got] == sent
    assert {frame.peer for frame in got} == {Peer("udp", "192.0.2.1", 5060)}


@given(data=st.data(), name=st.sampled_from(sorted(WRITERS)), noise=st.binary(max_size=200))
def test_cut_or_damaged_anywhere_raises_nothing(data: st.DataObject, name: str, noise: bytes) -> None:
    """R25: a file that ends anywhere, or holds anything, gives what it has."""
    log = WRITERS[name](CALL)
    begin = log.index(b"INVITE")
    cut = data.draw(st.integers(begin, len(log)))
    stream = stream_for(log)
    assert stream is not None
    list(stream.messages([log[:cut]]))
    list(stream.messages([log[:cut], noise, log[cut:]]))
    list(stream.messages([noise]))


def test_no_message_forges_a_row() -> None:
    """R38: rows in a body, with columns and a lying length, are the body's; what printed rows can forge is unproven."""
    forged = response("301 Moved Permanently", "<sip:evil@192.0.2.66>", call="f")
    rows = [(request(call="f"), US, THEM), (forged, THEM, US)]
    body = b"\r\n" + table(rows) + printed(rows) + b"\n     method: INVITE\n" + printed(rows)
    genuine = response("200 OK", body=body)
    assert not found(table([(genuine, THEM, US), *CALL])).remaps.keys() - {"sip:old@gw.test"}
    lying = genuine.replace(b"Content-Length: %d" % len(body), b"Content-Length: 2")
    for message in (genuine, lying):
        for one in found(printed([(message, THEM, US), *CALL])).learnt:
            assert one.answer.authenticity is Authenticity.UNPROVEN
    assert [frame.payload for frame in frames(printed([(genuine, THEM, US)]))] == [genuine]


def test_rows_without_end_are_bounded() -> None:
    """R25: a row longer than any message is cut, and what comes behind it is read."""
    long = (b"SIP/2.0 200 OK\r\nX: " + b"x" * 2 * LONGEST_ROW + b"\r\n\r\n", THEM, US)
    assert len(frames(table([long, *CALL]))) == 3
    assert found(printed([long, *CALL])).remaps


def test_work_grows_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """R25: marks of rows without rows cost as much as other text."""
    from redirectd.dialects import siptrace

    calls = 0
    own = siptrace._row_end

    def counted(held: bytearray, at: int, *, final: bool) -> int:
        nonlocal calls
        calls += 1
        return own(held, at, final=final)

    monkeypatch.setattr(siptrace, "_row_end", counted)
    row = b"*" * 27 + b" 1. row " + b"*" * 27 + b"\n        msg: x\n"
    list(siptrace.SiptraceRows().messages(pieces(row * 20_000, 1 << 18)))
    assert calls <= 20_000 + 10


def test_samples() -> None:
    """The samples of the corpus: unpaired answers of a table, a call each of printed rows and of ngrep."""
    refused = found((CORPUS / "cases/siptrace-db_text.txt").read_bytes()).refused
    assert [rule for rule, _ in refused] == ["R7", "R7"]
    assert list(found((CORPUS / "text/siptrace-rows.txt").read_bytes()).remaps) == ["sip:fork@gw03.carrier.test"]
    remaps = found((CORPUS / "cases/ngrep-default.txt").read_bytes()).remaps
    assert remaps["sip:5551230@198.51.100.9"][0] == ["sip:5551230@198.51.100.77"]


def test_other_logs_are_none() -> None:
    """A log that holds such text later on is read in place."""
    assert stream_for(b"x\n" + table(CALL)) is None
    assert stream_for(received(response("200 OK")) + printed(CALL)) is None
    assert stream_for((CORPUS / "cases/L05l-old-maddr-301.txt").read_bytes()) is None
