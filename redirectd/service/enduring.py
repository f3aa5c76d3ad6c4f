"""The service's log stream: what it can't take must not stop or hang those who log."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TextIO, cast


class EnduringStream:
    """Writes text to a descriptor; a full disk or a reader that has gone costs records, which are counted, no more.

    Once one gets through again, the number of those that did not is logged as `log_records_dropped`.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._dropped = 0
        self._torn = False

    def isatty(self) -> bool:
        """Whether the descriptor is a terminal."""
        return os.isatty(self._fd)

    def write(self, text: str) -> int:
        """Takes one record, whole; always says that all of it was written."""
        left = (b"\n" if self._torn else b"") + text.encode(errors="backslashreplace")
        self._torn = False
        try:
            while left:
                left = left[os.write(self._fd, left) :]
                self._torn = bool(left)
        except OSError:
            self._dropped += 1
            return len(text)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            # Not by way of the logger: it may hold the lock of this very stream while it writes.
            now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            lost = {"records": dropped, "event": "log_records_dropped", "level": "warning", "timestamp": now}
            self.write(json.dumps(lost) + "\n")
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


def enduring(stream: TextIO) -> TextIO:
    """A stream to where `stream` goes, of which nothing but `isatty`, `write` and `flush` may be used."""
    return cast("TextIO", EnduringStream(stream.fileno()))
