"""What becomes of each place that looks like a 301 or a 183, reported to whoever watches the reading."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from redirectd.collect.verdict import Learnt
from redirectd.dialects.frame import Frame

if TYPE_CHECKING:
    from redirectd.collect.answer import Answer
    from redirectd.collect.pair import Asked
    from redirectd.collect.scan import Block, LoggedEntry
    from redirectd.collect.verdict import Verdict

MAX_QUARANTINE = 65_536
"""Bytes of an unreadable record that are kept."""

_STATUS = re.compile(rb"SIP/2\.0 (301|183)")


class PlaceOutcome(Enum):
    """What one place came to."""

    LEARNT = "learnt"
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    PROGRESS = "session progress"
    COPY = "copy"
    SENT = "sent"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One place: its offset in the log, the rule that decided and why.

    `answer` is None where none could be read. `asked_at` is the offset of the request, `paired` whether one was found
    as a message of its own: it can be in an earlier rotated file.
    """

    position: int
    status: int
    dialect: str
    outcome: PlaceOutcome
    rule: str = ""
    reason: str = ""
    answer: Answer | None = None
    verdict: Verdict | None = None
    paired: bool = False
    asked_at: int | None = None


class Observer(Protocol):
    """Watches a `Reader`; it can change nothing."""

    def block(self, block: Block, begin: int) -> None:
        """A stretch of the log from offset `begin` on, before what was found in it."""
        ...

    def found(self, finding: Observation) -> None:
        """What became of one place, in the order in which they are dealt with."""
        ...

    def taken_back(self, event_key: str) -> None:
        """What was reported of this answer does not hold: it was the relayed copy of the next one (R8)."""
        ...


@dataclass(slots=True)
class Spot:
    """The record that is being dealt with, and its request where it was found."""

    block: Block
    logged: LoggedEntry
    asked: Asked | None = None

    @property
    def position(self) -> int:
        """Its offset in the log."""
        return self.block.base + self.logged.start

    def content(self) -> bytes:
        """The request's and the record's own bytes in the log, bounded: enough to read both again."""
        own = bytes(self.block.window[self.logged.start : min(self.logged.end, self.logged.start + MAX_QUARANTINE)])
        asked = self.asked.record if self.asked is not None else b""
        return asked + own if len(asked) + len(own) <= MAX_QUARANTINE else own

    def status(self) -> int | None:
        """301 or 183 by its text, 301 for a record; None where it is not an answer at all."""
        if not isinstance(self.logged, Frame):
            return 301
        match = _STATUS.search(self.logged.payload)
        return int(match[1]) if match else None


class PlaceReporter:
    """Reports to an observer what the reader does with each place; without one it does nothing."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer

    def block(self, block: Block, begin: int) -> None:
        """See `Observer.block`."""
        if self._observer is not None:
            self._observer.block(block, begin)

    def taken_back(self, event_key: str) -> None:
        """See `Observer.taken_back`."""
        if self._observer is not None:
            self._observer.taken_back(event_key)

    def verdict(self, spot: Spot, verdict: Verdict) -> None:
        """What the rules made of an answer."""
        if isinstance(verdict, Learnt):
            self.place(spot, PlaceOutcome.LEARNT, "R1", "", verdict.answer, verdict)
        else:
            outcome = PlaceOutcome.UNREADABLE if verdict.unparsed else PlaceOutcome.REFUSED
            self.place(spot, outcome, verdict.rule, verdict.reason, verdict.answer, verdict)

    def place(
        self,
        spot: Spot,
        outcome: PlaceOutcome,
        rule: str,
        reason: str,
        answer: Answer | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        """What became of a place."""
        if self._observer is None:
            return
        status = spot.status() if answer is None else answer.status
        if status is None:
            return  # the searched text was in a message by chance
        self._observer.found(
            Observation(
                position=spot.position,
                status=status,
                dialect=spot.logged.dialect,
                outcome=outcome,
                rule=rule,
                reason=reason,
                answer=answer,
                verdict=verdict,
                paired=spot.asked is not None,
                asked_at=spot.asked.position if spot.asked is not None else None,
            )
        )
