"""`kamailio-stderr`: raw message dumps on Kamailio's standard error, with or without colour and `log_prefix`."""

from __future__ import annotations

from typing import Any, ClassVar

from redirectd.dialects.frame import Framed
from redirectd.dialects.framing import Grammar, entry_around
from redirectd.dialects.kamailio_raw import RAW, frame_dump
from redirectd.dialects.window import Window


class KamailioStderr:
    """Behind ` 2(17408) NOTICE: <script>: `; without a time."""

    name: ClassVar[str] = "kamailio-stderr"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    grammar: ClassVar[Grammar[Any]] = RAW
    reads_lines: ClassVar[bool] = False

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        entry = entry_around(window, RAW, at, final=final)
        return frame_dump(window, entry, syslog=False, dialect=self.name, final=final)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text
