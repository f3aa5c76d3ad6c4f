"""`kamailio-text`: what a script's author wrote about a 301 in words of his own. It counts, and proves nothing."""

from __future__ import annotations

import re
from typing import ClassVar

from redirectd.dialects.envelope import LogEntry, Wrapping, Writer, entry_at
from redirectd.dialects.extent import find_message
from redirectd.dialects.frame import Framed, Incomplete, Peer, Record, Unreadable
from redirectd.dialects.kamailio_record import MARK
from redirectd.dialects.kamailio_text import SCRIPT_HEAD, direction_and_peer
from redirectd.dialects.window import Window
from redirectd.sip.text import to_text

OWN_WORDS = "the author's own text: it carries no full answer"

_SCRIPT = b"<script>: "
_LEAD_REACH = 512
_PRIORITY = re.compile(rb"<\d{1,3}>")
_STDERR = re.compile(rb"(?:\x1b\[[0-9;]{0,16}m|\s){0,8}\d{1,4}\(\d{1,10}\) ")
_XLOG = b'"subsys":"xlog"'
_ANSWER = re.compile(rb"(?<!\S)(?:rs=|reply |failed )([1-6]\d\d) ")
_FOREIGN = re.compile(rb'[<"]|(?<!\S)(?:ct|contact)=')
_CALL_ID = re.compile(rb"(?<!\S)(?:ci|callid|call_id|call-id)=(\S{1,256})", re.IGNORECASE)
_METHOD = re.compile(rb"(?<!\S)(?:m=([A-Z]{3,20})(?!\S)|([A-Z]{3,20}) (?:sips?|tel):)")
_SOURCE = re.compile(rb"(?<!\S)si=([0-9A-Fa-f.:\[\]]{2,47}) sp=(\d{1,5})(?!\S)")
_SEEN = re.compile(rb"<script>: [^<\"\r\n]{0,512}?(?:rs=|reply |failed )[1-6]\d\d ")


def worth_searching(head: bytes) -> bool:
    """Whether a log that begins so has lines of this kind; searching for them costs a third of the reading."""
    return len(head) < 1 << 16 or _SEEN.search(head) is not None


class KamailioOwnText:
    """`rs=301 ... ci=...`, `reply 301 ... ci=...` and `failed 301 ... ci=...` behind Kamailio's own log head.

    `enough` is false and no URI is taken: such a line counts a call that no other line reports, and that is all.
    What a peer sent is in it unescaped, so the status must come before the first quoted or bracketed text, and
    two different Call-IDs make it unreadable.
    """

    name: ClassVar[str] = "kamailio-text"
    literals: ClassVar[tuple[bytes, ...]] = (b"rs=301 ", b"reply 301 ", b"failed 301 ")

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        entry = entry_at(window, at, final=final)
        if entry.torn and entry.wrapping.is_json:
            return Incomplete(entry.start)
        words = _words(entry)
        if words is None or MARK in words or find_message(words) >= 0:
            return None
        own = words[: match.start()] if (match := _FOREIGN.search(words)) else words
        answer = _ANSWER.search(own)
        if answer is None or answer[1] != b"301":
            return None
        if entry.torn:
            return Incomplete(entry.start)
        return _read(entry, words, own, self.name)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is searched for such a line."""
        return text


def _words(entry: LogEntry) -> bytes | None:
    """The author's words: what follows a log head at the line's start; None for any other line."""
    text = entry.text
    if entry.wrapping is Wrapping.JSON and entry.writer is Writer.KAMAILIO:
        return text if _XLOG in entry.raw else None
    mark = text.find(_SCRIPT, 0, _LEAD_REACH)
    if mark < 0:
        return None
    lead = _PRIORITY.sub(b"", text[:mark], count=1)
    if any(byte in lead for byte in b'<>"') or SCRIPT_HEAD.search(lead) is None:
        return None
    if not (entry.syslog or entry.wrapping.is_json or _STDERR.match(lead)):
        return None
    return text[mark + len(_SCRIPT) :]


def _read(entry: LogEntry, words: bytes, own: bytes, dialect: str) -> Record | Unreadable | None:
    calls = set(_CALL_ID.findall(words))
    if not calls:
        return None
    if _ends_early(entry) and _CALL_ID.search(words.rsplit(None, 1)[-1]):
        return Unreadable(entry.start, entry.end, "a 301 in the author's own text, cut within its Call-ID", dialect)
    if len(calls) > 1:
        return Unreadable(entry.start, entry.end, "a 301 in the author's own text with two Call-IDs", dialect)
    method = _METHOD.search(own)
    return Record(
        start=entry.start,
        end=entry.end,
        dialect=dialect,
        status=301,
        method=(method[1] or method[2]).decode() if method else "",
        call_id=to_text(calls.pop().rstrip(b"\r\n")),
        cseq=None,
        faults=(OWN_WORDS,),
        peer=_peer(own, words),
        stamp=entry.stamp,
        enough=False,
    )


def _ends_early(entry: LogEntry) -> bool:
    """Whether the line was cut, as far as it shows: its string or the line itself does not end."""
    return entry.cut or not (entry.wrapping.is_json or entry.raw.endswith(b"\n"))


def _peer(own: bytes, words: bytes) -> Peer | None:
    peer = direction_and_peer(own)[1]
    if peer is not None:
        return peer
    sources = set(_SOURCE.findall(words))
    if len(sources) != 1:
        return None
    address, port = sources.pop()
    return Peer("", address.decode().strip("[]"), int(port)) if int(port) <= 65_535 else None
