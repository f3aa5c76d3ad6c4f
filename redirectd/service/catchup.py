"""How far a large backlog has been read, reported now and then, and once when it is over."""

from __future__ import annotations

from dataclasses import dataclass

LARGE = 32 << 20
"""Bytes behind from which on it is a backlog; as long as it takes no time to read, nothing is told."""

ON_TERMINAL, IN_LOG = 2.0, 60.0
"""Seconds between two tellings: a person waits for the next one, a log is to stay readable."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes read of a backlog and still to read, the part that is done, and the seconds it may still take."""

    read: int
    left: int
    percent: int
    seconds_left: int


@dataclass(slots=True)
class CatchUp:
    """One source's backlog, from the first look at it to its end. Times are monotonic seconds."""

    every: float
    _since: float | None = None
    _said_at: float = 0.0
    _was_said: bool = False
    _read: int = 0

    def note(self, lag: int | None, read: int, now: float) -> Progress | None:
        """Takes a look: `lag` bytes are left, `read` were read since the last one. What to report now, if anything."""
        if lag is None or (lag < LARGE and self._since is None):
            return None
        if self._since is None:
            self._since = self._said_at = now
            self._read = 0
            return None
        self._read += read
        if lag >= LARGE and now - self._said_at < self.every:
            return None
        seconds = max(now - self._since, 0.001)
        is_over, was_said = lag < LARGE, self._was_said
        self._said_at, self._was_said = now, not is_over
        if is_over:
            self._since = None
        if is_over and not was_said:
            return None
        return Progress(
            self._read, lag, self._read * 100 // max(1, self._read + lag), round(lag * seconds / max(1, self._read))
        )
