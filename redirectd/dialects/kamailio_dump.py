"""Messages that a Kamailio script dumped: through syslog, escaped on one line or raw over several, or to stderr."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from redirectd.dialects.envelope import Wrapping, Writer, entry_at, spell_anyhow
from redirectd.dialects.frame import Authenticity, Framed, Incomplete
from redirectd.dialects.framing import Grammar, entry_around, walk_to
from redirectd.dialects.kamailio_raw import RAW, frame_dump
from redirectd.dialects.kamailio_text import may_hold_dump, read_dump
from redirectd.dialects.window import Window


class KamailioDump:
    r"""Any rsyslog template: traditional, ISO, RFC 5424 with `#ooo`, and JSON with `#ooo` or `\n` in its message."""

    name: ClassVar[str] = "kamailio-dump"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d", b"SIP\\/2.0 %d")
    grammar: ClassVar[Grammar[Any]] = RAW
    reads_lines: ClassVar[bool] = True

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        walk = walk_to(window, RAW, at, final=final)
        dump = walk.around(at)
        if dump is not None:
            return frame_dump(window, dump, syslog=True, dialect=self.name, final=final)
        entry = entry_at(window, at, final=final)
        if entry.wrapping is Wrapping.PLAIN:
            return None
        if entry.torn:
            return Incomplete(entry.start) if may_hold_dump(entry) else None
        frame = read_dump(entry, self.name) if entry.writer is Writer.OTHER else None
        is_doubtful = frame is not None and walk.doubt(at) >= 0
        return replace(frame, authenticity=Authenticity.UNPROVEN) if frame is not None and is_doubtful else frame

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: a part that every template writes alike."""
        return spell_anyhow(text)


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
