"""A SIP message that a Kamailio script wrote into one log entry (`xlog("... $mb")`)."""

from __future__ import annotations

from redirectd.dialects.envelope import LogEntry, Writer
from redirectd.dialects.extent import carve, find_message
from redirectd.dialects.frame import Frame
from redirectd.dialects.kamailio_text import direction_and_peer

ASTERISK_MARK = b"<--- "


def may_hold_dump(entry: LogEntry) -> bool:
    """Whether an entry whose end is not seen yet can turn out to be a dump."""
    if entry.wrapping.is_json:
        return True
    start = find_message(entry.text)
    return start >= 0 and ASTERISK_MARK not in entry.text[:start]


def read_dump(entry: LogEntry, dialect: str) -> Frame | None:
    """The message of the entry, with the peer where the author's text before it names one."""
    text = entry.text
    start = find_message(text)
    if start < 0 or b"\n" not in text[start:] or ASTERISK_MARK in text[:start]:
        return None
    direction, peer = direction_and_peer(text[:start])
    payload, cut = carve(text, start, stripped=entry.writer is Writer.JOURNAL and not entry.cut)
    return Frame(
        start=entry.start,
        end=entry.end,
        payload=payload,
        dialect=dialect,
        direction=direction,
        peer=peer,
        stamp=entry.stamp,
        cut=cut,
    )
