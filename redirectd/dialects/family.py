"""Which family of programs wrote a log, by the heads of its entries: what a SIP message holds is none of them (R38).

One program's log is read by its dialects alone. A syslog and JSON lines hold many programs: there each entry's program
tag decides (`is_foreign`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice

from redirectd.dialects.extent import find_message, measure
from redirectd.dialects.linehead import SYSLOG_DATE
from redirectd.dialects.window import REACH, Window

SAMPLE = 256 << 10
"""Bytes of a log that show its family."""

_ONE_PROGRAM = {
    "asterisk": frozenset({"asterisk-pjsip", "asterisk-chan-sip", "asterisk-console", "asterisk-json"}),
    "kamailio": frozenset({"kamailio-stderr", "kamailio-record", "kamailio-acc", "kamailio-text"}),
    "sipdump": frozenset({"sipdump"}),
    "hep": frozenset({"hep"}),
    "capture": frozenset({"sngrep", "ngrep"}),
}
_ENTRIES = frozenset(
    {
        "asterisk-syslog",
        "kamailio-dump",
        "kamailio-json",
        "kamailio-record",
        "kamailio-acc",
        "kamailio-text",
        "sip-text",
    }
)
FAMILIES: Mapping[str, frozenset[str]] = {
    **_ONE_PROGRAM,
    "syslog": _ENTRIES | {"asterisk-chan-sip", "asterisk-pjsip"},
    "json": _ENTRIES | {"asterisk-json", "kamailio-journal"},
}
"""The dialects of each family, by their names."""

_HEADS = re.compile(
    rb"^(?:"
    rb"(?P<asterisk>\[[^\]\r\n]{1,64}\] (?:\x1b\[[0-9;]{0,16}m)?"
    rb"(?:[A-Z]{1,16}(?:\x1b\[[0-9;]{0,16}m)?\[|Asterisk [0-9]|<--- )"
    rb"|(?:\r|\x1b\[[0-9;]{0,16}[A-Za-z]){0,8}[^\s>]{1,64}\*CLI> "
    rb"|(?:\r|\x1b\[[0-9;]{0,16}[A-Za-z]){1,8}\[[^\]\r\n]{0,64}\] (?:<--- |\x1b\[))"
    rb"|(?P<kamailio>(?:\x1b\[[0-9;]{0,16}m|[ \t]){0,8}\d{1,4}\(\d{1,10}\) [A-Z]{3,8}: )"
    rb"|(?P<block><--- (?:Received SIP|Transmitting SIP|SIP read from) )"
    rb"|(?P<syslog>" + SYSLOG_DATE + rb"[^ \r\n]{1,255} [^ \r\n])"
    rb"|(?P<json>\{ ?\"[@a-zA-Z_]{1,40}\" ?: ?[\"{\[0-9])"
    rb"|(?P<sipdump>={20}\ntag: (?:rcv|snd)\n)"
    rb"|(?P<capture>(?:[UT] )?(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})? )?(?:\+?\d{1,9}\.\d{1,9}s? )?"
    rb"[0-9A-Fa-f.:\[\]]{4,54}:\d{1,5} -> [0-9A-Fa-f.:\[\]]{4,54}:\d{1,5}(?: \[[A-Z]{0,8}\])?(?: #\d{1,12})?[ \t]*\r?$)"
    rb")",
    re.MULTILINE,
)
_BLOCKS_OF = "asterisk"
_HEP = re.compile(rb"[0-9a-fA-F]{8}\nHEP3|[\x00-\xff]{4}HEP3", re.DOTALL)
_MOST_HEADS = 4096

_NAMES = rb"(asterisk|kamailio|opensips|openser|ser)"
_TAGGED = re.compile(
    SYSLOG_DATE + rb"[^ \r\n]{1,255} (?:[^ \[\]:\r\n]{0,64}/)?" + _NAMES + rb"(?:[-._@][^ \[\]:\r\n]{0,64})?[\[: ]",
    re.IGNORECASE,
)
_JSON_TAG = re.compile(
    rb'"(?:SYSLOG_IDENTIFIER|programname|program|syslogtag|tag|app-?name|ident)" ?: ?"(?:[^"\\/]{0,64}/)?'
    + _NAMES
    + rb'(?:[-._@][^"\\\[:]{0,64})?["\[:]',
    re.IGNORECASE,
)
_PROGRAMS = ("asterisk", "kamailio")


def family_of(sample: bytes) -> str:
    """The family whose entry a log begins with; "" where no entry comes before the first SIP message.

    Where other text comes before it, there must be no entry of another family outside the messages of `sample`.
    """
    if _HEP.match(sample):
        return "hep"
    first = _HEADS.search(sample)
    if first is None or b"SIP/2.0" in sample[: first.start()]:
        return ""
    return _name_of(first) if first.start() == 0 else sole_family(sample)


def sole_family(sample: bytes) -> str:
    """The only family with entries outside the messages of a part of a log; "" where it is not one."""
    heads = _heads(sample)
    names = {name for _, name in heads}
    if len(names) > 1:
        names = {name for _, name in _outside_messages(sample, heads)}
    return names.pop() if len(names) == 1 else ""


def is_foreign(dialect: str, window: Window, start: int) -> bool:
    """Whether the entry at `start` has a program's tag, and the dialect is of the other one of Kamailio and Asterisk.

    A syslog's tag comes before the program's text, and no text within a JSON string can look like a key.
    """
    if not dialect.startswith(_PROGRAMS):
        return False
    line = window.rfind(b"\n", max(0, start - REACH), start) + 1
    tag = _TAGGED.match(window, line)
    if tag is None and window.startswith(b"{", start):
        end = window.find(b"\n", start, start + REACH)
        tag = _JSON_TAG.search(window, start, end if end >= 0 else start + REACH)
    if tag is None:
        return False
    program = (tag[tag.lastindex or 0] or b"").lower()
    return dialect.startswith("kamailio") is (program == b"asterisk")


def _name_of(head: re.Match[bytes]) -> str:
    return _BLOCKS_OF if head["block"] is not None else str(head.lastgroup)


def _heads(sample: bytes) -> list[tuple[int, str]]:
    """Where the first entries begin and whose they are. In a raw syslog a block of Asterisk's is not one by itself."""
    heads = list(islice(_HEADS.finditer(sample), _MOST_HEADS))
    if any(head["syslog"] is not None for head in heads):
        heads = [head for head in heads if head["block"] is None]
    return [(head.start(), _name_of(head)) for head in heads]


def _outside_messages(sample: bytes, heads: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The heads that no message holds, by its Content-Length, which is believed up to a datagram's size."""
    left: list[tuple[int, str]] = []
    searched = end = 0
    for at, name in heads:
        while end <= at and (message := find_message(sample, max(searched, end), at)) >= 0:
            extent = measure(sample, message)
            searched = message + 1
            if extent.body >= 0:
                end = min(max(extent.body, extent.end or 0), message + REACH)
        searched = max(searched, at)
        if at >= end:
            left.append((at, name))
    return left
