"""Follows the answers of approved targets in a source that the service reads: 404, 410 and 604, beside its 301s.

It costs nothing while no remap is approved, and one more search of what is read from then on. Logs that are read
afterwards (`redirectd ingest`) are not followed: the service has read them, or they are older than the approval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from redirectd.collect.answer import WEAK, Answer, from_messages, from_record
from redirectd.collect.pair import find_request
from redirectd.collect.reading import Reading
from redirectd.collect.scan import Block, Scanner
from redirectd.dialects.frame import Dialect, Direction, Frame, Record
from redirectd.dialects.registry import literals
from redirectd.dialects.stamps import parse_stamp
from redirectd.review.followup import FOLLOWED
from redirectd.review.watch import Followed, Watch, record
from redirectd.sip.message import MessageError, Response, parse_message
from redirectd.sources.log import Log
from redirectd.sources.source import LogSegment
from redirectd.store.database import Database

MOST_PAIRED = 64
"""Answers a block whose request is looked for: figures, not evidence, so a storm of 404s may count too low."""

MOST_UNPAIRED = 8
"""Answers a block without their request: where this many lack it, the log has no requests, and each search is long."""

SLACK = 256
"""Bytes behind the collector's offset that are looked at: it leaves the last few for a mark that their end may cut,
and no record is so short that it could lie in them alone and be found again after a restart."""


@dataclass(slots=True)
class _Until:
    """A log that ends at `limit`: what the collector has not dealt with yet is not there yet."""

    log: Log
    limit: int

    @property
    def name(self) -> str:
        return self.log.name

    @property
    def start(self) -> int:
        return self.log.start

    def read(self, offset: int, size: int) -> bytes:
        return self.log.read(offset, max(0, min(size, self.limit - offset)))

    def read_into(self, offset: int, buffer: memoryview) -> int:
        return self.log.read_into(offset, buffer[: max(0, self.limit - offset)])

    def end(self) -> int:
        return self.limit

    def previous(self) -> Log | None:
        return self.log.previous()


class Follower:
    """The companion of one collector. Used by its thread.

    Turn by turn: `refresh`, `read` what the collector has read, `store` within its transaction, then `confirm` or
    `undo`. A record that the end of the stretch cuts is read with the next one; a kill in between loses that one.
    """

    def __init__(self, reading: Reading, database: Database, watch: Watch, *, clock: Callable[[], datetime]) -> None:
        """`clock` gives the time that completes the log's dates without a year; `watch` serves all sources."""
        self._reading = reading
        self._database = database
        self._watch = watch
        self._clock = clock
        self._literals = literals(reading.dialects, FOLLOWED)
        self._scanner: Scanner | None = None
        self._log: Log | None = None
        self._reached = 0  # what the collector had dealt with at the last call
        self._found: list[Followed] = []

    def refresh(self, reading: Reading) -> None:
        """Looks for new decisions where that is due. Raises StoreError."""
        if reading is not self._reading:
            self._reading, self._literals = reading, literals(reading.dialects, FOLLOWED)
            self._scanner = None
        self._watch.refresh(self._database)

    def read(self, segment: LogSegment, offset: int) -> bool:
        """Takes the answers in what the collector has read of a segment, to `offset`; whether there are any."""
        if self._watch.is_empty:
            self._scanner = None
            return False
        log = _Until(segment.log, offset + SLACK)
        if self._scanner is None or self._log is not segment.log or self._reached != segment.start:
            self._scanner = Scanner(log, self._reading.dialects, self._literals, offset=segment.start)
        self._log, self._reached = segment.log, offset
        self._scanner.log = log
        final = segment.final and not segment.log.read(offset, 1)
        now = self._clock().replace(minute=0, second=0, microsecond=0)
        while (block := self._scanner.next_block(final=final)) is not None:
            self._take(segment.log, block, now)
        return bool(self._found)

    def store(self, connection: Connection) -> None:
        """Counts what was found, in the transaction that holds the position."""
        if self._found:
            record(connection, self._found)

    def confirm(self) -> None:
        """Says that all of it is committed."""
        self._found.clear()

    def undo(self) -> None:
        """Forgets what was read since, which comes again."""
        self._found.clear()
        self._scanner = None

    def _take(self, log: Log, block: Block, now: datetime) -> None:
        paired = unpaired = 0
        for told, dialect in (one for one in block.found if len(one) == 2):
            if not isinstance(told, Record | Frame) or not told.stamp:
                continue  # one without a time may be older than the approval
            seen_at = parse_stamp(told.stamp, self._reading.zone, now)
            if isinstance(told, Record):
                if told.status not in FOLLOWED:
                    continue  # an entry's own record, beside which another one was looked for (R39)
                self._note(from_record(told, position=0, seen_at=seen_at, text=""))
            elif paired < MOST_PAIRED and unpaired < MOST_UNPAIRED:
                answer = _answer(log, block, told, dialect, seen_at)
                if answer is not None:
                    paired += 1
                    unpaired += answer.request_uri is None
                    self._note(answer)

    def _note(self, answer: Answer) -> None:
        """Keeps an authentic answer of an approved target (R39)."""
        if not answer.authenticity.is_authentic:
            return
        seen_at = answer.seen_at
        if answer.rank == WEAK or answer.request_uri is None or seen_at is None or answer.in_dialog:
            return
        followed = self._watch.followed(answer.call_id, answer.status, answer.method, answer.request_uri, seen_at)
        if followed is not None:
            self._found.append(followed)


def _answer(log: Log, block: Block, told: Frame, dialect: Dialect, seen_at: datetime | None) -> Answer | None:
    """A received answer to an INVITE with its request where that is found; None for all other messages."""
    if told.direction is Direction.SENT:
        return None
    try:
        message = parse_message(told.payload)
    except MessageError:
        return None
    if not isinstance(message, Response) or message.status not in FOLLOWED:
        return None
    if message.call_id is None or message.cseq is None or message.cseq.method != "INVITE":
        return None
    asked = find_request(log, block, told, message, dialect)
    request = asked.request if asked else None
    return from_messages(told, message, request, position=0, seen_at=seen_at, text="")
