"""R11: which contacts a log shows as registered, looked up only where a 301 makes a remap of such a place.

A registrar's 200 to REGISTER lists the contacts it has (RFC 3261, 10.3 step 8). They are indexed up to the 301 and
kept, so that each byte of a log is looked at once at most, and none in a log without 301s.
"""

from __future__ import annotations

import re
from collections import OrderedDict

from redirectd.collect.branches import OVERLAP
from redirectd.collect.usable_contacts import place_of
from redirectd.dialects.frame import Dialect, Direction, Frame
from redirectd.dialects.framing import Stretch
from redirectd.dialects.window import Window
from redirectd.sip.compare import route_key
from redirectd.sip.contact import parse_contacts
from redirectd.sip.message import MessageError, Response, parse_message
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri
from redirectd.sources.log import Log

BACK = 64 << 20
"""Bytes before a log's first 301 in which registrations are looked for: many hours of most logs."""

REMEMBERED = 65_536
"""Contacts that are kept, the newest."""

_CHUNK = 1 << 20
_MOST_CONTACTS = 32
_METHOD, _LISTED = b" REGISTER", b" REGISTER,"
"""The method in a CSeq, and in an Allow, which is in nearly every message."""

_ANSWERED = re.compile(rb"CSeq[ \t]{0,8}:[ \t]{0,8}\d{1,10}[ \t]{1,8}REGISTER", re.IGNORECASE)
_STATUS = b"SIP/2.0 2"
_REACH = 4096
_MOST_LOOKED_AT, _SHORTEST = 2_000, 1024  # in a chunk, and the bytes left out behind what is not a message


class Registrations:
    """The contacts of one source's log. What it has seen of one file is kept for the next one."""

    def __init__(self) -> None:
        self._log: Log | None = None
        self._upto = 0
        self._of: OrderedDict[str, str] = OrderedDict()  # the route key of a contact, or of its place: whose it is

    def holder(self, log: Log, position: int, dialect: Dialect | None, old_key: str) -> str | None:
        """Whose registration the log shows, before `position`, at the URI with that route key; None for no one's."""
        if dialect is not None:
            self._index(log, position, dialect)
        return self._of.get(old_key)

    def _index(self, log: Log, position: int, dialect: Dialect) -> None:
        if log is not self._log:
            self._log, self._upto = log, 0
        at = max(self._upto, log.start, position - BACK)
        while at < position:
            end = min(position, at + _CHUNK)
            new = log.read(at, end - at)
            if new.count(_METHOD) > new.count(_LISTED):
                base = max(log.start, at - OVERLAP)
                window = Stretch(log.read(base, end + OVERLAP - base))  # one walk for all places in it
                self._look(window, at - base, end - base, dialect)
            at = end
        self._upto = max(self._upto, position)

    def _look(self, window: Window, begin: int, end: int, dialect: Dialect) -> None:
        done = at = begin
        left = _MOST_LOOKED_AT
        while left and (at := window.find(_METHOD, at, end)) >= 0:
            line = window.rfind(b"CSeq", max(0, at - 32), at)
            if at >= done and line >= 0 and _ANSWERED.match(window, line) and _answers(window, line):
                framed = dialect.frame(window, line, final=True)
                left -= 1
                done = framed.end if isinstance(framed, Frame) else line + _SHORTEST
                if isinstance(framed, Frame):
                    self._take(framed)
            at += len(_METHOD)

    def _take(self, frame: Frame) -> None:
        try:
            message = parse_message(frame.payload)
        except MessageError:
            return
        if not isinstance(message, Response) or message.status // 100 != 2 or message.cseq is None:
            return
        if message.cseq.method != "REGISTER" or frame.direction is Direction.RECEIVED:
            return  # whoever sends this host a 200 is not its registrar: what a proxy relays is sent on
        whose = printable((message.header("to") or "").partition(";tag=")[0], 200)
        for contact in parse_contacts(message.headers("contact"))[:_MOST_CONTACTS]:
            if isinstance(contact.uri, SipUri):
                for uri in (contact.uri, place_of(contact.uri)):
                    self._keep(str(route_key(uri)), whose, is_over=contact.expires == 0)

    def _keep(self, key: str, whose: str, *, is_over: bool) -> None:
        self._of.pop(key, None)
        if not is_over:
            self._of[key] = whose
            if len(self._of) > REMEMBERED:
                self._of.popitem(last=False)


def _answers(window: Window, line: int) -> bool:
    """Whether an accepting status line comes before a CSeq line, in reach of a message's headers."""
    return window.rfind(_STATUS, max(0, line - _REACH), line) >= 0
