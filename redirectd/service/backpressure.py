"""What a reader reports seldom: how long it waits for the database, and how far a large backlog has been read."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0
SAY_AGAIN_AFTER = 300.0


@dataclass(slots=True)
class Backoff:
    """Delays in seconds that double from `first` to `longest`."""

    first: float = FIRST_DELAY
    longest: float = LONGEST_DELAY
    _next: float = 0.0

    def delay(self) -> float:
        """How long to wait before the next attempt."""
        current = self._next or self.first
        self._next = min(current * 2, self.longest)
        return current

    def reset(self) -> None:
        """It worked: the next trouble starts with the short delay again."""
        self._next = 0.0


@dataclass(slots=True)
class Outage:
    """One trouble from its first failure to its end, and when it was last spoken of. Times are monotonic seconds."""

    since: float | None = None
    attempts: int = 0
    _said_at: float = 0.0

    def failed(self, now: float) -> bool:
        """Notes a failure; True if it is time to log it: the first one, and then every five minutes."""
        self.attempts += 1
        if self.since is None:
            self.since = now
        elif now - self._said_at < SAY_AGAIN_AFTER:
            return False
        self._said_at = now
        return True

    def over(self, now: float) -> float | None:
        """Ends it; gives how many seconds it took, None if there was none."""
        lasted = None if self.since is None else now - self.since
        self.since = None
        self.attempts = 0
        return lasted


LARGE = 32 << 20
"""Bytes behind from which on it is a backlog; while it takes no time to read, nothing is reported."""

ON_TERMINAL, IN_LOG = 2.0, 60.0
"""Seconds between two reports: a person waits for the next one, a log is to stay readable."""


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
