"""Every SIP message of a log, in its order, and the answers that one-line records report: to count, draw and replay.

Nothing is learnt here: what a 301 or a 183 means is the log reader's matter.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from redirectd.collect.answer import fork_of
from redirectd.collect.reading import Reading, ReadPart
from redirectd.collect.scan import LoggedEntry, Scanner
from redirectd.dialects.frame import Dialect, Direction, Frame, Glimpse, Peer, Record
from redirectd.dialects.stamps import parse_stamp
from redirectd.sip.message import MessageError, Request, Response, parse_message
from redirectd.sources.log import Log

REMEMBERED = 65_536
"""Answers of which a copy is known again: retransmissions are near."""


TAIL = 16 << 10
"""Bytes before the end of what was read in which its newest message is looked for."""

MOST_PARTS = 8
"""Consoles of a wrapped log that are looked at."""

_SKEW = timedelta(minutes=1)
"""What a log's clock may be ahead of ours; later dates are no evidence of anything."""


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """One message of a log; `record` instead of `message` where a line reports an answer without carrying it.

    `peer` is the other side, or the sender where the direction is unknown; `local` is this host, or the receiver then.
    `position` is the offset in the log, `seen_at` aware UTC or None where the log has no time.
    """

    position: int
    dialect: str
    direction: Direction
    peer: Peer | None
    local: Peer | None
    seen_at: datetime | None
    message: Request | Response | None = None
    record: Record | None = None


class TransactionName(NamedTuple):
    """What names a transaction in one log (17.1.3): Call-ID, CSeq and the branch, or its substitute."""

    call_id: str
    cseq: int
    method: str
    fork: str


class Traffic:
    """All messages that the dialects of `reading` frame, in the log's order. Bounded memory, whatever the log holds."""

    def __init__(
        self,
        log: Log,
        reading: Reading,
        clock: Callable[[], datetime],
        stamps: Callable[[int], str] = lambda _position: "",
    ) -> None:
        """`stamps` gives the time as written of a place where the log itself has none."""
        self._stamps = stamps
        self._scanner = Scanner(log, reading.dialects, of_every_message(reading.dialects))
        self._reading = reading
        self._clock = clock

    @property
    def offset(self) -> int:
        """First byte not dealt with yet."""
        return self._scanner.offset

    def stretch(self, *, final: bool = True) -> list[LoggedMessage] | None:
        """The messages of the next stretch of the log; None at its end. `final`: nothing will follow it."""
        block = self._scanner.next_block(final=final)
        if block is None:
            return None
        now = self._clock().replace(minute=0, second=0, microsecond=0)  # so that the parser knows a stamp again
        logged = (found for found, _ in block.found)
        return [one for found in logged if (one := self._logged(found, block.base, now)) is not None]

    def __iter__(self) -> Iterator[LoggedMessage]:
        while (found := self.stretch()) is not None:
            yield from found

    def _logged(self, found: LoggedEntry | Glimpse, base: int, now: datetime) -> LoggedMessage | None:
        if not isinstance(found, Frame | Record):
            return None
        position = base + found.start
        stamp = found.stamp or self._stamps(position)
        return logged_message(found, position, parse_stamp(stamp, self._reading.zone, now) if stamp else None)


def logged_message(
    found: LoggedEntry | Glimpse, position: int, seen_at: datetime | None = None
) -> LoggedMessage | None:
    """The message or record that an entry is; None for what can't be read."""
    if isinstance(found, Record):
        return LoggedMessage(position, found.dialect, Direction.RECEIVED, found.peer, None, seen_at, record=found)
    if not isinstance(found, Frame):
        return None
    try:
        message = parse_message(found.payload)
    except MessageError:
        return None
    return LoggedMessage(position, found.dialect, found.direction, found.peer, found.local, seen_at, message)


def newest_message(parts: Iterable[ReadPart], now: datetime) -> datetime | None:
    """When the newest SIP message or record at the end of what was read of each part was logged; never after `now`.

    None where there is none with a time.
    """
    found: list[datetime] = []
    hour = now.replace(minute=0, second=0, microsecond=0)
    for part in islice(parts, MOST_PARTS):
        dialects, begin = part.reading.dialects, max(part.log.start, part.offset - TAIL)
        scanner = Scanner(part.log, dialects, of_every_message(dialects), offset=begin)
        while scanner.offset < part.offset and (block := scanner.next_block(final=True)) is not None:
            for logged in (one for one, _ in block.found if isinstance(one, Frame | Record)):
                stamp = logged.stamp or part.stamp(block.base + logged.start)
                seen_at = parse_stamp(stamp, part.reading.zone, hour) if stamp else None
                if seen_at is not None and seen_at <= now + _SKEW:
                    found.append(seen_at)
    return min(max(found), now) if found else None


def transaction_of(logged: LoggedMessage) -> TransactionName | None:
    """The transaction that a message or record belongs to; None where it does not say."""
    record, message = logged.record, logged.message
    if record is not None:
        return TransactionName(record.call_id, record.cseq or 0, record.method, record.fork)
    if message is None or message.call_id is None or message.cseq is None:
        return None
    via = message.top_via
    return TransactionName(message.call_id, *message.cseq, fork_of(via.branch if via else None))


class AnswerCounts:
    """How many answers of each status a log holds, by dialect; retransmissions and other copies count once."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self._answers: Counter[tuple[str, int, bool]] = Counter()
        self._seen: OrderedDict[Hashable, None] = OrderedDict()

    def add(self, logged: LoggedMessage) -> None:
        """Counts an answer or a request."""
        status = status_of(logged)
        if status is None:
            self.requests[logged.dialect] += 1
            return
        sent = logged.direction is Direction.SENT
        key = (logged.dialect, status, sent)
        if self._is_new((key, _answered(logged))):
            self._answers[key] += 1

    def _is_new(self, key: Hashable) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return True

    @property
    def dialects(self) -> set[str]:
        """Those of which the log holds whole messages or records."""
        return {*self.requests, *(dialect for dialect, _, _ in self._answers)}

    def by_status(self, *, sent: bool = False) -> dict[str, dict[int, int]]:
        """By dialect, the number of answers of each status that were received (direction unknown included), or sent."""
        found: dict[str, dict[int, int]] = {}
        for (dialect, status, was_sent), count in sorted(self._answers.items()):
            if was_sent is sent:
                found.setdefault(dialect, {})[status] = count
        return found


def status_of(logged: LoggedMessage) -> int | None:
    """The status of an answer; None for a request."""
    if logged.record is not None:
        return logged.record.status
    return logged.message.status if isinstance(logged.message, Response) else None


def _answered(logged: LoggedMessage) -> Hashable:
    """Names an answer: by its To tag, which a relayed copy keeps while it loses a Via, else by its branch."""
    named, message = transaction_of(logged), logged.message
    tag = message.to_tag if message is not None else None
    return named._replace(fork=tag) if named is not None and tag else named


def of_every_message(dialects: Sequence[Dialect]) -> tuple[bytes, ...]:
    """The byte strings that are in every message and record: those of an answer, up to its status."""
    found = {re.split(rb"%[da]", literal)[0].rstrip(b" ,") for dialect in dialects for literal in dialect.literals}
    return tuple(sorted(one for one in found if not any(other != one and other in one for other in found)))
