"""`kamailio-acc`: accounting lines. They show that an answer came, and can't prove which URI moved where."""

from __future__ import annotations

import re
from typing import ClassVar

from redirectd.dialects.envelope import entry_at
from redirectd.dialects.frame import Framed, Incomplete, Peer, Record
from redirectd.dialects.window import Window
from redirectd.sip.text import to_text

_LINE = re.compile(rb"ACC: [a-z ]{3,32}: (?=timestamp=\d)")
_KEY = re.compile(rb"(?:^|;)([a-z][a-z0-9_-]{1,31})=")
_URI_PARAMETERS = frozenset(
    {"user", "transport", "maddr", "ttl", "lr", "tag", "expires", "gr", "phone-context", "cause"}
)


class KamailioAcc:
    """`enough` is always false; `request_uri`, `incoming_uri` and `contacts` are hints where log_extra has them."""

    name: ClassVar[str] = "kamailio-acc"
    literals: ClassVar[tuple[bytes, ...]] = (b";code=%d;",)

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        entry = entry_at(window, at, final=final)
        if entry.torn and entry.wrapping.is_json:
            return Incomplete(entry.start)
        line = _LINE.search(entry.text)
        if line is None:
            return None
        if entry.torn:
            return Incomplete(entry.start)
        fields = _fields(entry.text[line.end() :])
        status = fields.get("code", "")
        if not (len(status) == 3 and status.isascii() and status.isdigit()):
            return None
        cseq = fields.get("cseq", "")
        contact, source = fields.get("contact"), fields.get("rpl_src")
        return Record(
            start=entry.start,
            end=entry.end,
            dialect=self.name,
            status=int(status),
            method=fields.get("method", ""),
            call_id=fields.get("call_id", ""),
            cseq=int(cseq) if cseq.isascii() and cseq.isdigit() and len(cseq) <= 10 else None,
            request_uri=fields.get("ruri") or None,
            incoming_uri=fields.get("ouri") or None,
            contacts=(contact,) if contact else (),
            peer=Peer("", source.strip("[]")) if source else None,
            stamp=fields.get("timestamp", "") or entry.stamp,
            enough=False,
        )

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is searched for such a line."""
        return text


def _fields(text: bytes) -> dict[str, str]:
    """Values by key, the first of each: what a hostile reason adds comes after the code that counts."""
    fields: dict[str, str] = {}
    keys = [match for match in _KEY.finditer(text) if match[1].decode() not in _URI_PARAMETERS]
    for match, following in zip(keys, [*keys[1:], None], strict=True):
        value = text[match.end() : following.start() if following else len(text)]
        fields.setdefault(match[1].decode(), to_text(value.rstrip(b"\r\n")))
    return fields
