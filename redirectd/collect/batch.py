"""What reading one stretch of a log came to: the values that are committed together with the position behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from redirectd.collect.answer import CUT, UNPAIRED, WEAK, WHOLE, Answer
from redirectd.collect.verdict import Refused, Verdict


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Bytes that look like a 301 and could not be read; kept, counted and shown."""

    position: int
    dialect: str
    why: str
    content: bytes
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionProgress:
    """What a person needs who looks into missing early media (R3)."""

    request_uri: str
    call_id: str
    peer: str
    sdp: bool
    media: tuple[Mapping[str, object], ...]
    reliable: bool
    seen_at: datetime | None


@dataclass(slots=True)
class Batch:
    """One stretch of one source. `verdicts` are by event key, the best telling of each (R8)."""

    source: str
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    quarantined: list[Quarantined] = field(default_factory=list)
    progress: list[SessionProgress] = field(default_factory=list)
    losses: dict[str, int] = field(default_factory=dict)
    read: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit but the position."""
        return not (self.verdicts or self.quarantined or self.losses)


def better(known: Answer, other: Answer) -> Answer | None:
    """What two tellings of one answer make together; None where the other adds nothing.

    A line that knows the request but lost the Contacts, and a dump that has the Contacts but not the request,
    are the whole answer together.
    """
    low, high = sorted((known, other), key=lambda answer: answer.rank)
    if high.rank == CUT and low.rank == UNPAIRED and low.contacts and not low.faults:
        return _merge(high, low)
    return other if other.rank > known.rank else None


def _merge(paired: Answer, dump: Answer) -> Answer:
    return replace(
        paired,
        contacts=dump.contacts,
        contact_headers=dump.contact_headers,
        expires=dump.expires,
        reasons=dump.reasons,
        faults=(),
        rank=WHOLE,
        text=dump.text,
    )


def is_weak(verdict: Verdict) -> bool:
    """Whether a verdict rests on a line that proves no pair of URIs."""
    return verdict.answer.rank == WEAK


def is_unparsed(verdict: Verdict) -> bool:
    """Whether it looked like a permanent move and could not be read."""
    return isinstance(verdict, Refused) and verdict.unparsed
