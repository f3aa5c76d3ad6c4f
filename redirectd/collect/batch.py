"""What reading one stretch of a log came to: the values that are committed together with the position behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from redirectd.collect.answer import CUT, WEAK, WHOLE, Answer
from redirectd.collect.policy import Policy
from redirectd.collect.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Bytes that look like a 301 and could not be read; kept, counted and shown."""

    position: int
    dialect: str
    why: str
    content: bytes
    seen_at: datetime | None = None


class SessionProgress(NamedTuple):
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
    """One stretch of one source. `verdicts` are by event key, the best sighting of each (R8).

    `counted_progress` are 183s of which no record was asked for. `retracted` are the move keys of answers that turned
    out to be relayed copies after they had been read (R8). `proven`: the source showed its first proven record (R39).
    `policy` bounds what is new in it (R46), where there is one; `over_budget` has what was over that, by reason.
    """

    source: str
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    retracted: set[str] = field(default_factory=set)
    quarantined: list[Quarantined] = field(default_factory=list)
    progress: list[SessionProgress] = field(default_factory=list)
    counted_progress: int = 0
    losses: dict[str, int] = field(default_factory=dict)
    read: int = 0
    proven: bool = False
    policy: Policy | None = None
    over_budget: dict[str, int] = field(default_factory=dict)

    def lose(self, kind: str, count: int = 1) -> None:
        """Counts what the log no longer has."""
        if count:
            self.losses[kind] = self.losses.get(kind, 0) + count

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit but the position."""
        return not (self.verdicts or self.retracted or self.quarantined or self.losses or self.proven)

    @property
    def weight(self) -> int:
        """How much is held here, in verdicts: what bounds a batch. Evidence and quarantined bytes count by 8 KiB."""
        bytes_held = sum(len(one.content) for one in self.quarantined)
        return len(self.verdicts) + len(self.retracted) + len(self.quarantined) + bytes_held // 8192


def better(known: Answer, other: Answer) -> Answer | None:
    """What two sightings of one answer make together; None where the other adds nothing.

    A line that knows the request but lost the Contacts, and a dump that has the Contacts but not the request,
    are the whole answer together. A line alone knows the incoming URI (R5), a message alone Expires and Reason
    (R18, R23). An authentic sighting takes nothing from one that is not (R39).
    """
    if max(known.standing, other.standing) > WHOLE and _is_authentic(known) is not _is_authentic(other):
        return other if other.standing > known.standing else None
    line, message = (known, other) if known.response is None else (other, known)
    if line.response is not None or message.response is None or WEAK in {line.rank, message.rank}:
        return other if other.standing > known.standing else None
    least = min(known.authenticity, other.authenticity, key=lambda one: one.value)
    joined = replace(_joined(line, message), authenticity=least)
    return None if joined == known else joined


def _is_authentic(answer: Answer) -> bool:
    return answer.authenticity.is_authentic


def _joined(line: Answer, message: Answer) -> Answer:
    """A line and a message joined: the request of the one that knows it, the Contacts of the whole one."""
    if message.request_uri is not None or line.request_uri is None:
        joined = replace(message, incoming_uri=line.incoming_uri, peer=message.peer or line.peer)
        source = line
    else:
        joined = replace(
            line,
            expires=message.expires,
            reasons=message.reasons,
            response=message.response,
            waited_ms=message.waited_ms,
        )
        source = message
    if joined.rank == CUT and source.contacts and not source.faults:
        return replace(
            joined,
            contacts=source.contacts,
            contact_headers=source.contact_headers,
            text=source.text,
            faults=(),
            rank=WHOLE,
        )
    return joined


def both(one: SessionProgress, other: SessionProgress) -> SessionProgress:
    """What a line and a message show of one 183 together: the line knows the request, the message the SDP (R3)."""
    return SessionProgress(
        request_uri=one.request_uri or other.request_uri,
        call_id=one.call_id,
        peer=one.peer or other.peer,
        sdp=one.sdp or other.sdp,
        media=one.media or other.media,
        reliable=one.reliable or other.reliable,
        seen_at=one.seen_at or other.seen_at,
    )
