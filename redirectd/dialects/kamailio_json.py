"""`kamailio-json`: message dumps in the lines of Kamailio's own JSON log engine (`-E json...`)."""

from __future__ import annotations

from typing import ClassVar

from redirectd.dialects.envelope import Writer, entry_at, spell_json
from redirectd.dialects.frame import Framed, Incomplete
from redirectd.dialects.kamailio_text import read_dump
from redirectd.dialects.window import Window


class KamailioJson:
    """Also behind `@cee: ` (`json:U`); the line around the message need not be valid JSON (`json:a` is not)."""

    name: ClassVar[str] = "kamailio-json"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        entry = entry_at(window, at, final=final)
        if entry.torn and entry.wrapping.is_json:
            return Incomplete(entry.start)
        return read_dump(entry, self.name) if entry.writer is Writer.KAMAILIO else None

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: as in a JSON string."""
        return spell_json(text)
