"""chan_sip counts the lines of each body it received, as Asterisk 16 printed them: that tells where a block ends."""

from __future__ import annotations

import pytest

from redirectd.dialects.frame import Authenticity, Direction, Frame
from redirectd.dialects.registry import by_name

ENTRY = b"[Nov 23 01:42:56] VERBOSE[17863] chan_sip.c: "
TRUSTED = b"198.51.100.1:5060"


def message(name: bytes, *headers: bytes) -> bytes:
    lines = [
        b"SIP/2.0 301 Moved Permanently", b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK" + name,
        b"Call-ID: " + name, b"CSeq: 102 INVITE", b"Contact: <sip:" + name + b"@p.test>", *headers,
    ]  # fmt: skip
    return b"".join(line + b"\n" for line in lines) + b"\n"


def block(text: bytes, count: int | None, peer: bytes = b"192.0.2.7:5062", end: bytes = b"\n") -> bytes:
    told = b"" if count is None else b"%b--- (6 headers %d lines) ---%b" % (ENTRY, count, end)
    head = b"%b%b<--- SIP read from UDP:%b --->%b" % (ENTRY, end, peer, end)
    return head + text.replace(b"\n", end) + end + b"<------------->" + end + told


def read(log: bytes, name: bytes, dialect: str = "asterisk-chan-sip") -> Frame:
    found = by_name(dialect).frame(log, log.index(b"Call-ID: " + name), final=True)
    assert isinstance(found, Frame)
    return found


LYING = message(b"lying", b"Content-Length: 90")
NEXT = message(b"next", b"Content-Length: 33") + b"a\n---\n\nb\n<------------->\nc"


def test_a_length_that_is_told_too_long_hides_no_answer_behind_it() -> None:
    """UDP's end is the message's: what a peer tells of its length reaches over no later block."""
    log = block(LYING.removesuffix(b"\n"), 0) + block(NEXT, 6)
    assert read(log, b"lying").payload == LYING.removesuffix(b"\n")
    assert (read(log, b"next").payload, read(log, b"next").cut) == (NEXT, False)


@pytest.mark.parametrize("length", [(), (b"Content-Length: 3",), (b"Content-Length: 9000",)])
@pytest.mark.parametrize("lie", [None, 0, 1, 2, 17])
def test_no_body_forges_a_block(length: tuple[bytes, ...], lie: int | None) -> None:
    """R40: whatever length and number of lines a body tells, what it forges has one of two readings: unproven."""
    forged = message(b"forged", b"Content-Length: 0").removesuffix(b"\n")
    body = b"x\n<------------->\n" + (b"" if lie is None else ENTRY + b"--- (6 headers %d lines) ---\n" % lie)
    body += ENTRY + b"\n<--- SIP read from UDP:" + TRUSTED + b" --->\n" + forged + b"\n<------------->\n"
    body += ENTRY + b"--- (6 headers 0 lines) ---"
    genuine = message(b"genuine", *length) + body
    log = block(genuine, body.count(b"\n") + 1) + block(NEXT, 6)
    found = read(log, b"genuine")
    assert genuine.startswith(found.payload)
    assert found.peer is not None
    assert (found.peer.address, found.authenticity) == ("192.0.2.7", Authenticity.FRAMED)
    assert read(log, b"forged").authenticity is Authenticity.UNPROVEN
    assert read(log, b"next").authenticity is Authenticity.FRAMED
    assert read(log, b"next").payload == NEXT


def test_a_body_of_more_lines_than_are_counted() -> None:
    """Asterisk counts 256 lines at most."""
    long = message(b"long", b"Content-Length: 5") + b"a line\n" * 299 + b"a line"
    log = block(long, 256) + block(NEXT, 6)
    assert read(log, b"long").payload == long
    assert read(log, b"next").payload == NEXT


def test_without_a_count_the_length_decides() -> None:
    """Another thread's line can stand behind a delimiter: then Content-Length tells the end, as before."""
    log = block(NEXT, None) + ENTRY + b"something else\n" + block(LYING, 0)
    found = read(log, b"next")
    assert (found.payload, found.direction, found.cut) == (NEXT, Direction.RECEIVED, False)


@pytest.mark.parametrize("length", [b"Content-Length: 0", b"Content-Length: 60000"])
@pytest.mark.parametrize("lead", [ENTRY, b""], ids=["file", "console"])
def test_an_empty_line_at_the_end_of_a_body_is_counted_or_not(length: bytes, lead: bytes) -> None:
    """R40: Asterisk prints no LF of the body's last line: the number may say one more, and hides no call behind it."""
    genuine = message(b"genuine", length) + b"x\ny\n"
    for count in (2, 3):
        log = (block(genuine, count) + block(NEXT, 6)).replace(ENTRY, lead)
        assert read(log, b"genuine").payload == genuine
        assert read(log, b"next").payload == NEXT


def test_a_console_shows_the_same_counts() -> None:
    """A terminal writes CR LF, and the count ends its line there, too."""
    log = block(LYING.removesuffix(b"\n"), 0, end=b"\r\n") + block(NEXT, 6, end=b"\r\n")
    assert read(log, b"next", "asterisk-console").payload == NEXT


def test_an_entry_of_its_own_ends_with_its_delimiter() -> None:
    """In an escaped syslog line nothing but the block stands, whatever length its message tells."""
    body = b"x\n<------------->\ny"
    genuine = message(b"genuine", b"Content-Length: 4000") + body
    text = b"chan_sip.c:1 in handle: \n<--- SIP read from UDP:192.0.2.7:5062 --->\n" + genuine + b"\n<------------->\n"
    log = b"Nov 23 01:42:56 vm asterisk[1]: VERBOSE[2]: " + text.replace(b"\n", b"#012") + b"\n"
    found = read(log, b"genuine", "asterisk-syslog")
    assert (found.payload, found.cut) == (genuine, False)
