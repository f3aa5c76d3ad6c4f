"""What a sitting still has to show: what passes the filter, what is failing or stale first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from redirectd.cli.filters import Filters
from redirectd.collect.policy import Policy
from redirectd.review.attention import attention
from redirectd.review.page import ids, passing
from redirectd.store.database import Database
from redirectd.store.remap import State


@dataclass(slots=True)
class Queue:
    """The ids that wait, in the order in which they are shown. `clock` gives aware times."""

    database: Database
    policy: Policy
    clock: Callable[[], datetime]
    filters: Filters = field(default_factory=Filters)
    _waiting: list[int] = field(default_factory=list)

    def pending(self) -> list[int]:
        """What is pending and passes the filter now. Raises UsageError for a wrong duration."""
        with self.database.read() as connection:
            return ids(connection, self.filters.query([State.PENDING], self.clock()), self.policy)

    def begin(self) -> int:
        """Reads what waits now, from the first on; gives how much it is."""
        now = self.clock()
        approved = self.filters.query([State.APPROVED], now)
        with self.database.read() as connection:
            first = attention(connection, now=now)
            if not self.filters.is_empty:
                first = passing(connection, approved, self.policy, first)
        self._waiting = [*first, *self.pending()]
        return len(self._waiting)

    def next(self) -> int | None:
        """Takes the next id out; None at the end."""
        return self._waiting.pop(0) if self._waiting else None

    def put_back(self, numbers: Iterable[int]) -> None:
        """Shows these next, in their order."""
        back = list(dict.fromkeys(numbers))
        self.drop(back)
        self._waiting[:0] = back

    def drop(self, numbers: Iterable[int]) -> None:
        """Shows these no more."""
        gone = set(numbers)
        self._waiting = [one for one in self._waiting if one not in gone]

    def __len__(self) -> int:
        return len(self._waiting)
