"""What any program writes is read back the same, from any place in it and however the window is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.dialects.frame import Direction, Frame, Incomplete
from redirectd.dialects.registry import ALL, by_name
from tests.dialects.strategies import messages
from tests.dialects.writers import CASES, NOISE, PEER, PORT, Writer, dump_c_style

BOTH = NOISE["asterisk"], NOISE["kamailio"]


def middle(name: str, log: bytes) -> int:
    """A position inside the message: its branch, spelled as the dialect says."""
    at = log.find(by_name(name).spell(b"z9hG4bK"))
    assert at >= 0
    return at


ids = [f"{name}-{writer.__name__}" for name, writer in CASES]


@pytest.mark.parametrize(("name", "writer"), CASES, ids=ids)
@given(message=messages(), before=messages(), place=st.floats(0, 1))
def test_message_comes_back_from_any_inner_position(
    name: str, writer: Writer, message: bytes, before: bytes, place: float
) -> None:
    """The same bytes, peer and bounds come back wherever in the record the position is, between other entries."""
    lead = writer(before).log + (b"" if name in {"hep", "sipdump"} else b"".join(BOTH))
    written = writer(message)
    log = lead + written.log + (writer(before).log if name in {"hep", "sipdump"} else b"".join(BOTH))
    first = middle(name, written.log)
    at = len(lead) + first + int(place * (written.log.find(by_name(name).spell(b"CSeq")) - first))
    frame = by_name(name).frame(log, at, final=True)
    assert isinstance(frame, Frame)
    assert frame == by_name(name).frame(bytearray(log), at, final=True)
    assert frame.payload == written.payload
    assert frame.peer is not None
    assert (frame.peer.address, frame.peer.port) == (PEER, PORT)
    assert not frame.cut
    assert frame.start <= at < frame.end
    assert len(lead) <= frame.start + 2
    assert frame.end <= len(lead) + len(written.log)


@pytest.mark.parametrize(("name", "writer"), CASES, ids=ids)
@given(message=messages(), missing=st.floats(0, 1))
def test_window_that_ends_in_a_record_asks_for_more(name: str, writer: Writer, message: bytes, missing: float) -> None:
    """A window that ends within the record gives Incomplete at the record's start, or already the whole message."""
    written = writer(message)
    lead = b"" if name in {"hep", "sipdump"} else BOTH[0]
    log = lead + written.log
    at = middle(name, log)
    stop = at + 7 + int(missing * (len(log) - at - 8))
    framed = by_name(name).frame(log[:stop], at, final=False)
    assert isinstance(framed, Incomplete | Frame)
    if isinstance(framed, Frame):
        assert framed.payload == written.payload
    else:
        assert framed.start <= len(lead) + 128


@pytest.mark.parametrize(("name", "writer"), CASES, ids=ids)
@given(message=messages(), missing=st.floats(0, 1))
def test_record_cut_at_the_end_of_the_log_is_never_taken_for_whole(
    name: str, writer: Writer, message: bytes, missing: float
) -> None:
    """What ends with the log comes back marked as cut (or unreadable), unless the message itself is all there."""
    written = writer(message)
    at = middle(name, written.log)
    stop = at + 7 + int(missing * (len(written.log) - at - 8))
    framed = by_name(name).frame(written.log[:stop], at, final=True)
    if isinstance(framed, Frame) and not framed.cut:
        assert framed.payload == written.payload


@pytest.mark.parametrize(("name", "writer"), CASES, ids=ids)
@given(message=messages())
def test_no_other_dialect_claims_the_record(name: str, writer: Writer, message: bytes) -> None:
    """Exactly one writer's dialect frames a record, so the order in which they are asked does not matter.

    Plain SIP text is asked behind them all.
    """
    log = writer(message).log
    at = middle(name, log)
    claimed = {dialect.name for dialect in ALL if dialect.frame(log, at, final=True) is not None}
    assert claimed - {"sip-text"} == {name}


@given(message=messages().filter(lambda message: b"\\" not in message))
def test_syslog_with_letters_for_control_characters_comes_back(message: bytes) -> None:
    r"""rsyslog's other escapes, `\r\n`, are undone as well, where the message has no backslash of its own."""
    log = dump_c_style(message).log
    frame = by_name("kamailio-dump").frame(log, log.find(b"z9hG4bK"), final=True)
    assert isinstance(frame, Frame)
    assert (frame.payload, frame.cut) == (message, False)


@pytest.mark.parametrize("name", ["kamailio-dump", "asterisk-syslog"])
def test_spelling_holds_in_plain_and_json_templates(name: str) -> None:
    r"""R6: a Call-ID with `/` is found in a plain template and in JSON, where it is `\/`."""
    assert by_name(name).spell(b'ab/longest"c') == b"longest"


@pytest.mark.parametrize(("name", "writer"), CASES, ids=ids)
def test_direction_is_told_only_where_the_log_tells_it(name: str, writer: Writer) -> None:
    """R8: received and sent come from the log's own words; captures leave the direction open."""
    message = b"SIP/2.0 301 M\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nContent-Length: 0\r\n\r\n"
    log = writer(message).log
    at = middle(name, log)
    frame = by_name(name).frame(log, at, final=True)
    assert isinstance(frame, Frame)
    expected = Direction.UNKNOWN if name in {"hep", "sngrep", "ngrep"} else Direction.RECEIVED
    assert frame.direction is (Direction.SENT if writer.__name__ == "chan_sip_sent" else expected)
