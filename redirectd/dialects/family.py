"""Which family of programs wrote a file, by the head of its first line: no SIP message's text is there (R38).

A syslog, a journal and JSON lines hold many programs and are of no single family; nor is a file that begins in the
middle of an entry.
"""

from __future__ import annotations

import re

from redirectd.dialects.arrow import read_arrow

_DATED = rb"\[[^\]\r\n]{0,64}\] (?:[A-Z]{1,16}\[|Asterisk [0-9])"
_BLOCK = rb"<--- (?:Received SIP|Transmitting SIP|SIP read from) "
_ASTERISK = re.compile(_DATED + rb"|" + _BLOCK)
_KAMAILIO = re.compile(rb"(?:\x1b\[[0-9;]{0,16}m|[ \t]){0,8}\d{1,4}\(\d{1,10}\) [A-Z]{3,8}: ")
_SIPDUMP = re.compile(rb"={20}\ntag: (?:rcv|snd)\n")
_HEP = re.compile(rb"[0-9a-fA-F]{8}\nHEP3|[\x00-\xff]{4}HEP3", re.DOTALL)

_FILES: tuple[tuple[re.Pattern[bytes], frozenset[str]], ...] = (
    (_ASTERISK, frozenset({"asterisk-pjsip", "asterisk-chan-sip", "asterisk-console", "asterisk-json"})),
    (_KAMAILIO, frozenset({"kamailio-stderr", "kamailio-record", "kamailio-acc", "kamailio-text"})),
    (_SIPDUMP, frozenset({"sipdump"})),
    (_HEP, frozenset({"hep"})),
)
_ARROWS = frozenset({"sngrep", "ngrep"})


def family_of(head: bytes) -> frozenset[str] | None:
    """Names of the dialects that a file with this beginning can hold; None where its first line does not show it."""
    for pattern, names in _FILES:
        if pattern.match(head):
            return names
    return _ARROWS if read_arrow(head, 0) else None
