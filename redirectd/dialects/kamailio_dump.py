"""`kamailio-dump`: messages that a Kamailio script wrote through syslog, on one escaped line or raw over several."""

from __future__ import annotations

from typing import ClassVar

from redirectd.dialects.envelope import Wrapping, Writer, entry_at
from redirectd.dialects.frame import Framed, Incomplete
from redirectd.dialects.kamailio_block import read_dump
from redirectd.dialects.kamailio_raw import frame_dump
from redirectd.dialects.window import Window


class KamailioDump:
    r"""Any rsyslog template: traditional, ISO, RFC 5424 with `#ooo`, and JSON with `#ooo` or `\n` in its message."""

    name: ClassVar[str] = "kamailio-dump"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d", b"SIP\\/2.0 %d")

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        raw = frame_dump(window, at, syslog=True, dialect=self.name, final=final)
        if raw is not None:
            return raw
        entry = entry_at(window, at, final=final)
        if isinstance(entry, Incomplete):
            return entry
        if entry.writer is not Writer.OTHER or entry.wrapping not in {Wrapping.OCTAL, Wrapping.JSON}:
            return None
        return read_dump(entry, self.name)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: branches and Call-IDs need no escape on a plain line."""
        return text
