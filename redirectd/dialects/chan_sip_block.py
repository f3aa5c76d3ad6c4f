"""What chan_sip prints with `sip set debug on` (up to Asterisk 20): blocks between delimiters, without a length."""

from __future__ import annotations

import re
from dataclasses import dataclass

from redirectd.dialects.entry_buffer import full_buffer
from redirectd.dialects.envelope import Entry
from redirectd.dialects.extent import Extent, find_message, measure
from redirectd.dialects.frame import Direction, Frame, Peer
from redirectd.dialects.window import REACH, Window

MARK = re.compile(rb"<--- SIP read from |(?:Reliably Transmitting|Transmitting|Retransmitting #\d{1,4}) \(")
_ADDRESS = rb"(\[[0-9A-Fa-f:.%a-z]{2,64}\]|[^\s:\[\]]{1,64}):(\d{1,5})"
_READ = re.compile(rb"<--- SIP read from ([A-Za-z]{2,4}):" + _ADDRESS + rb" --->\r?\n")
_SEND = re.compile(
    rb"(?:Reliably Transmitting|Transmitting|Retransmitting #\d{1,4}) \([^)\r\n]{0,32}\) to " + _ADDRESS + rb":\r?\n"
)
_READ_END, _SEND_END = re.compile(rb"\r?\n<------------->"), re.compile(rb"\n---\r?(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class ChanSipHeader:
    """The line before a message: its position and end, and what it says of the other side."""

    start: int
    end: int
    direction: Direction
    peer: Peer


@dataclass(frozen=True, slots=True)
class ChanSipEnd:
    """End of the message and of its block; `cut` where no delimiter stands where the message's length says.

    `full` where Asterisk's own buffer cut it: then the end is sure, too.
    """

    message: int
    block: int
    cut: bool
    full: bool = False


def read_chan_header(text: Window, at: int) -> ChanSipHeader | None:
    """The header that begins exactly at `at`."""
    match = _READ.match(text, at)
    if match:
        peer = Peer(match[1].decode().lower(), match[2].decode("ascii", "replace").strip("[]"), int(match[3]))
        return ChanSipHeader(at, match.end(), Direction.RECEIVED, peer)
    match = _SEND.match(text, at)
    if match:
        peer = Peer("", match[1].decode("ascii", "replace").strip("[]"), int(match[2]))
        return ChanSipHeader(at, match.end(), Direction.SENT, peer)
    return None


def find_end(text: Window, header: ChanSipHeader) -> ChanSipEnd | None:
    """The end of a block: the first delimiter at which the message has its Content-Length; None if there is none.

    chan_sip took CR out of what it received, so each line end of such a body counts for two bytes, and the
    last one, missing in print, too.
    """
    delimiter = _READ_END if header.direction is Direction.RECEIVED else _SEND_END
    limit = min(len(text), header.end + REACH)
    full = full_buffer(text, header.start)
    if full > header.end:
        limit = min(limit, full)
    extent = measure(text, header.end, limit)
    if extent.end is None:
        match = delimiter.search(text, header.end - 1, limit)
    elif header.direction is Direction.SENT:
        match = delimiter.search(text, min(extent.end, limit) - 1, limit)
    else:
        match = _printed_end(text, extent, delimiter, limit)
    if match:
        return ChanSipEnd(match.start(), match.end(), cut=extent.body < 0)
    if full > header.end:
        return ChanSipEnd(full, full, cut=True, full=True)
    match = delimiter.search(text, header.end - 1, limit)
    return ChanSipEnd(match.start(), match.end(), cut=True) if match else None


def leads_in_message(window: Window, begin: int) -> bool:
    """Whether a start line stands right behind a header: on a dated console, a date does."""
    line = bytes(window[begin : window.find(b"\n", begin, begin + REACH)])
    return line.startswith(b"SIP/2.0 ") or (line.rstrip().endswith(b" SIP/2.0") and not line.startswith(b"["))


def _printed_end(text: Window, extent: Extent, delimiter: re.Pattern[bytes], limit: int) -> re.Match[bytes] | None:
    """The first delimiter behind as many bytes as the body had before its CRs were taken out."""
    told, position, size = (extent.end or extent.body) - extent.body, extent.body, 2
    for match in delimiter.finditer(text, extent.body - 2, limit):
        end = max(match.start(), extent.body)
        size += end - position + text.count(b"\n", position, end)
        position = end
        if size >= told:
            return match
    return None


def read_chan_sip(entry: Entry, dialect: str) -> Frame | None:
    """The message of a block that stands whole in one log entry (JSON, escaped syslog); see `read_block`."""
    mark = MARK.search(entry.text)
    header = read_chan_header(entry.text, mark.start()) if mark else None
    if header is None or find_message(entry.text, 0, header.start) >= 0:
        return None
    end = find_end(entry.text, header) or ChanSipEnd(len(entry.text), len(entry.text), cut=True)
    return Frame(
        start=entry.start,
        end=entry.end,
        payload=entry.text[header.end : end.message],
        dialect=dialect,
        direction=header.direction,
        peer=header.peer,
        stamp=entry.stamp,
        cut=end.cut or entry.cut,
    )
