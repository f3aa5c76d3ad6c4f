"""`kamailio-journal`: `journalctl -o json`, where a message with CR is an array of byte values."""

from __future__ import annotations

from typing import ClassVar

from redirectd.dialects.chan_sip_block import read_chan_sip
from redirectd.dialects.envelope import Writer, entry_at, spell_array
from redirectd.dialects.frame import Framed, Incomplete
from redirectd.dialects.kamailio_text import read_dump
from redirectd.dialects.pjsip_block import read_block
from redirectd.dialects.window import Window


class KamailioJournal:
    """Dumps of Kamailio, and Asterisk's blocks where it logs to syslog and the journal takes that."""

    name: ClassVar[str] = "kamailio-journal"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d", b"83,73,80,47,50,46,48,32,%a")

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        entry = entry_at(window, at, final=final)
        if entry.torn and entry.wrapping.is_json:
            return Incomplete(entry.start)
        if entry.writer is not Writer.JOURNAL:
            return None
        return read_block(entry, self.name) or read_chan_sip(entry, self.name) or read_dump(entry, self.name)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: every dumped message has CR, so it is an array."""
        return spell_array(text)
