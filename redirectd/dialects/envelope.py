r"""What log writers wrap around a text that holds control characters, undone: `#ooo`, JSON strings, byte arrays.

rsyslog writes a control character it received as `#` and three octal digits; JSON templates and log engines
write `\n`, and rsyslog's also `\/`; journald exports a field with control characters as an array of numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from json import loads

from redirectd.dialects.framing import Stretch
from redirectd.dialects.linehead import SYSLOG_DATE, line_head
from redirectd.dialects.window import REACH, Line, Window, line_at, runs_out

_OCTAL = re.compile(rb"#(0[0-3][0-7]|177)")
_LETTERED = re.compile(rb"\\([rnt]|[0-3][0-7]{2})")
_LETTERED_LINE_END = b"\\r\\n"
_HALF_OCTAL = re.compile(rb"#(?:0[0-3]?)?\Z")
_JSON_ESCAPE = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL
)
_JSON_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_JSON_STRING = rb'\s{0,4}:\s{0,4}(?:\{\s{0,4}"text"\s{0,4}:\s{0,4})?(?:"((?:[^"\\]++|\\.)*+)("?)|\[([0-9, ]*+)(\]?))'
_TEXT = re.compile(rb'"(?:kamailio\.)?(?:message|msg|MESSAGE)"' + _JSON_STRING, re.DOTALL)
_STAMP = re.compile(
    rb'"(?:@timestamp|timestamp|time|_SOURCE_REALTIME_TIMESTAMP|__REALTIME_TIMESTAMP)"\s{0,4}:\s{0,4}"([^"\\]{0,64})"'
)
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_DIFFERENT = re.compile(rb'[/"\\#]')
_SEAM = b'}{ "'
_JSON_BEHIND_HEAD = re.compile(SYSLOG_DATE + rb"[^ ]{1,255} [^ \[\]:]{1,64}(?:\[\d{1,10}\])?: \{ ?\"level\":")
_CEE, _CEE_REACH = b"@cee:", 256


class Writer(Enum):
    """Which program wrote a JSON line, by its own keys; they can't be inside a JSON string."""

    ASTERISK = "asterisk"
    KAMAILIO = "kamailio"
    JOURNAL = "journal"
    OTHER = "other"


_KEYS = (
    (b'"logmsg":', Writer.ASTERISK),
    (b'"__CURSOR":', Writer.JOURNAL),
    (b'"__REALTIME_TIMESTAMP":', Writer.JOURNAL),
    (b'"native":', Writer.KAMAILIO),
    (b'"function":', Writer.KAMAILIO),
    (b'"kamailio.function":', Writer.KAMAILIO),
)


class Wrapping(Enum):
    """How the text of an entry was written in its line."""

    PLAIN = "plain"
    OCTAL = "octal"
    JSON = "json"
    ARRAY = "array"

    @property
    def is_json(self) -> bool:
        """Whether the entry is a JSON line."""
        return self in {Wrapping.JSON, Wrapping.ARRAY}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One log entry of one line: bounds of the line in the window, and its text unwrapped.

    `text` of a plain or octal line is the whole line, head included; of a JSON line the message field.
    `raw` is the line as it is. `cut` says that the line or its text does not end in reach, `torn` that
    the window ends in the line and more may come. `bounds` are those of the string that holds the text, where it is
    not the whole line that does.
    """

    start: int
    end: int
    raw: bytes
    text: bytes
    stamp: str
    wrapping: Wrapping
    writer: Writer = Writer.OTHER
    syslog: bool = False
    cut: bool = False
    torn: bool = False
    bounds: tuple[int, int] | None = None


def entry_at(window: Window, at: int, *, final: bool) -> LogEntry:
    """The one-line entry that holds position `at`; a page remembers the last one."""
    known = window.places.get((LogEntry, final)) if isinstance(window, Stretch) else None
    if known is not None and known[0] <= at < known[1]:
        entry: LogEntry = known[2]
        return entry
    entry = _read_entry(window, at, final=final)
    if isinstance(window, Stretch):
        start, end = entry.bounds or (entry.start, entry.end)
        window.places[LogEntry, final] = (start, end, entry)
    return entry


def line_quiet_until(page: Stretch, at: int) -> int:
    """The end of the entry that holds `at`, if it was read: what no dialect knows of it, none does up to there."""
    ends = [known[1] for final in (False, True) if (known := page.places.get((LogEntry, final))) and known[0] <= at]
    return min((end for end in ends if end > at), default=at)


def _read_entry(window: Window, at: int, *, final: bool) -> LogEntry:
    line = _object(window, line_at(window, at), at)
    torn = not final and runs_out(window, line, at)
    raw = bytes(window[line.start : line.end])
    if raw[:1] == b"{" or raw.find(_CEE, 0, _CEE_REACH) >= 0 or _JSON_BEHIND_HEAD.match(raw):
        return _json_entry(line.start, raw, at - line.start, torn=torn, cut=not line.ended)
    text = raw.rstrip(b"\n")
    head = line_head(text)
    escaped = b"#01" in text and not (text.endswith(b"\r") and _stands_raw(window, line, text))
    octal = escaped or (head.syslog and _LETTERED_LINE_END in text)
    return LogEntry(
        start=line.start,
        end=line.end,
        raw=raw,
        text=undo_syslog(text) if octal else text,
        stamp=head.stamp,
        wrapping=Wrapping.OCTAL if octal else Wrapping.PLAIN,
        syslog=head.syslog,
        cut=line.end - line.start >= REACH and not line.ended,
        torn=torn,
    )


def _stands_raw(window: Window, line: Line, text: bytes) -> bool:
    """Whether a line that ends with a CR is of a raw message: where there is a CR, none are escaped.

    A reason phrase can hold `#015`; but in a copy of an escaped log with CR LF, each line has a log's head.
    """
    return b"#015" not in text or (line.ended and not line_head(bytes(window[line.end : line.end + 64])).syslog)


def _object(window: Window, line: Line, at: int) -> Line:
    """The JSON object around `at` where many are on one line (Kamailio's `json:N`); no string can hold the seam.

    A line that begins as no object does is another writer's, whose text can (R38).
    """
    begins = line.start == 0 or window.startswith(b"\n", line.start - 1)
    if begins and not window.startswith(b"{", line.start):
        return line
    start = window.rfind(_SEAM, line.start, at) + 1 or line.start
    end = window.find(_SEAM, at, line.end) + 1
    return Line(start, end or line.end, ended=line.ended or end > 0)


def _json_entry(start: int, raw: bytes, at: int, *, torn: bool, cut: bool) -> LogEntry:
    stamp = _STAMP.search(raw)
    match = _TEXT.search(raw)
    wrapping, whole = Wrapping.JSON, True
    bounds: tuple[int, int] | None = None
    if match and match[3] is not None:
        wrapping, whole = Wrapping.ARRAY, bool(match[4])
        text = undo_array(match[3] if whole else match[3].rpartition(b",")[0])  # the last number can be cut
    elif match:
        text, whole = undo_json(match[1]), bool(match[2])
    else:
        begin, end = _string_around(raw, at)
        text, bounds = undo_json(raw[begin:end]), (start + begin, start + end)
    if b"\n" not in text:
        text = undo_syslog(text)
    return LogEntry(
        start=start,
        end=start + len(raw),
        raw=raw,
        text=text,
        stamp=stamp[1].decode("ascii", "replace") if stamp else line_head(raw).stamp,
        wrapping=wrapping,
        writer=next((writer for key, writer in _KEYS if key in raw), Writer.OTHER),
        cut=cut or not whole,
        torn=torn,
        bounds=bounds,
    )


def _string_around(raw: bytes, at: int) -> tuple[int, int]:
    """Bounds of the JSON string that holds `at`, for shippers that name their message field otherwise."""
    begin = raw.rfind(b'":"', 0, at) + 3
    match = _STRING.match(raw, begin) if begin > 2 else None
    return match.span() if match else (at, at)


def undo_syslog(text: bytes) -> bytes:
    r"""Text of one line with rsyslog's escapes undone, `#ooo` or, with its C style switched on, `\r`, `\n`, `\t`."""
    if b"#01" in text:
        return undo_octal(text)
    if _LETTERED_LINE_END in text:
        return _LETTERED.sub(lambda match: _JSON_LETTERS.get(match[1]) or bytes((int(match[1], 8),)), text)
    return text


def undo_octal(text: bytes) -> bytes:
    """Text with rsyslog's `#ooo` turned back into control characters; half of one at the text's end is dropped."""
    text = text.replace(b"#015", b"\r").replace(b"#012", b"\n")  # nearly all of them, at a tenth of the cost
    if b"#" not in text:
        return text
    return _OCTAL.sub(lambda match: bytes((int(match[1], 8),)), _HALF_OCTAL.sub(b"", text))


def undo_json(text: bytes) -> bytes:
    r"""Content of a JSON string (without its quotes) as bytes; what is not a valid escape stays as it is.

    `\u` escapes become UTF-8, a lone surrogate included, so that nothing raises.
    """
    if b"\\\\" not in text:  # then each backslash begins an escape, and nearly all are of these
        text = text.replace(b"\\r", b"\r").replace(b"\\n", b"\n").replace(b"\\/", b"/").replace(b'\\"', b'"')
    if b"\\" not in text:
        return text
    return _JSON_ESCAPE.sub(_unescape, text)


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[4] is not None:
        return _JSON_LETTERS.get(match[4], match[4])
    if match[3] is not None:
        return chr(int(match[3], 16)).encode("utf-8", "surrogatepass")
    high, low = int(match[1], 16), int(match[2], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).encode()


def undo_array(numbers: bytes) -> bytes:
    """Bytes of journald's `[83,73,80]` (given without the brackets); reading stops at what is not a byte value."""
    try:
        return bytes(loads(b"[%b]" % numbers))
    except (ValueError, TypeError):
        return _bytes_before_fault(numbers)


def _bytes_before_fault(numbers: bytes) -> bytes:
    out = bytearray()
    for number in numbers.split(b","):
        digits = number.strip()
        if not digits.isdigit() or len(digits) > 3 or int(digits) > 255:
            break
        out.append(int(digits))
    return bytes(out)


def spell_anyhow(text: bytes) -> bytes:
    r"""The longest part of `text` that is the same in a plain line and in a JSON string (`/` can be `\/`)."""
    return max(_DIFFERENT.split(text), key=len)


def spell_json(text: bytes) -> bytes:
    r"""How `text` is written inside a JSON string of Asterisk or Kamailio: `"` and `\` escaped."""
    return text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def spell_array(text: bytes) -> bytes:
    """How `text` is written inside journald's array of byte values."""
    return b",".join(b"%d" % byte for byte in text)
