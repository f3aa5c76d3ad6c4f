"""The date and writer at the beginning of a log line."""

from __future__ import annotations

import re
from dataclasses import dataclass

SYSLOG_DATE = (
    rb"(?:<\d{1,3}>)?(?:1 )?"
    rb"([A-Z][a-z]{2} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d{1,9})?|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^ ]{0,16}) "
)
_SYSLOG = re.compile(SYSLOG_DATE)
_BRACKET = re.compile(rb"\[([^\]\r\n]{0,64})\] ")


@dataclass(frozen=True, slots=True)
class LineHead:
    """`stamp` is the date as written ('' for none); `syslog` distinguishes a syslog head from a program's own."""

    stamp: str
    syslog: bool


def line_head(line: bytes) -> LineHead:
    """What the first bytes of a line say of when and by which program it was written."""
    match = _SYSLOG.match(line)
    if match:
        return LineHead(match[1].decode("ascii", "replace"), syslog=True)
    match = _BRACKET.match(line)
    return LineHead(match[1].decode("ascii", "replace") if match else "", syslog=False)
