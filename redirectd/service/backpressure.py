"""What a reader does while the database can't take its sightings: wait, longer each time, and say so, but seldom."""

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
