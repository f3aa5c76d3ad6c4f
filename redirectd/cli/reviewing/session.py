"""What the keys of a review work on: the database, the screen, what waits, and what was done so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto

from redirectd.cli.options import Filters
from redirectd.cli.reviewing.screen import Screen
from redirectd.collect.policy import Policy
from redirectd.review.attention import attention
from redirectd.review.case import Case, open_case
from redirectd.review.decision import Decision, DecisionStep
from redirectd.review.page import ids, passing
from redirectd.sip.text import printable
from redirectd.store.database import Database
from redirectd.store.remap import Remap, State

WHY = "why (Enter: no reason):"

NOTED = "noted"
"""The word of notes, which are not decisions and not counted."""


class Turn(Enum):
    """How a review goes on after a key: with the next remap, the card anew, another key, or not at all."""

    NEXT = auto()
    CARD = auto()
    KEY = auto()
    END = auto()


@dataclass(slots=True)
class Deed:
    """What one key did, for the way back. `word` is what it is counted as, `remaps` are those it was done to."""

    word: str
    remaps: Sequence[int]
    steps: Sequence[DecisionStep] = ()


@dataclass(slots=True)
class ReviewSession:
    """`clock` gives aware times; `counts` says how many decisions of each kind are in effect."""

    database: Database
    policy: Policy
    actor: str
    clock: Callable[[], datetime]
    screen: Screen
    queue: Queue
    besides: Callable[[Remap], Sequence[str]] = lambda _: ()
    """What the targets' entries for a remap would move besides its old URI, in words (R41)."""

    account: str | None = None
    """The person's, as the system vouches for it."""

    counts: Counter[str] = field(default_factory=Counter)
    deeds: list[Deed] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        database: Database,
        policy: Policy,
        actor: str,
        clock: Callable[[], datetime],
        screen: Screen,
        filters: Filters,
        besides: Callable[[Remap], Sequence[str]] = lambda _: (),
    ) -> ReviewSession:
        """A session with nothing done yet."""
        return cls(database, policy, actor, clock, screen, Queue(database, policy, clock, filters), besides)

    def case(self, number: int, contact: int | None) -> Case:
        """A remap as it is now. Raises UsageError where it is gone."""
        with self.database.read() as connection:
            case = open_case(connection, number, self.policy, now=self.clock(), contact=contact)
        return replace(case, touches=[*case.touches, *self.besides(case.remap)])

    def decision(self, reason: str, *, contact: int | None = None, force: bool = False) -> Decision:
        """A decision of this person, now."""
        return Decision(
            actor=self.actor,
            account=self.account,
            at=self.clock(),
            reason=printable(reason, 500),
            contact=contact,
            force=force,
        )

    def done(self, word: str, text: str, *steps: DecisionStep) -> Turn:
        """Counts what was done to one remap, says so, and goes on."""
        self.counts[word] += 1
        self.deeds.append(Deed(word, [step.before.id for step in steps], steps))
        return self.say(text, Turn.NEXT)

    def say(self, text: str, turn: Turn = Turn.KEY) -> Turn:
        """Says something, and how it goes on."""
        self.screen.line(text)
        return turn


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
