"""Follows the answers of approved targets in a source that the service reads: 404, 410 and 604, beside its 301s.

It costs nothing while no remap is approved, and one more search of what is read from then on. Logs that are read
afterwards (`redirectd ingest`) are not followed: the service has read them, or they are older than the approval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from redirectd.collect.answer import WEAK, Answer, from_messages, from_record
from redirectd.collect.pair import find_request
from redirectd.collect.reading import ReadPart
from redirectd.collect.scan import Block, Scanner
from redirectd.dialects.frame import Dialect, Direction, Frame, Record
from redirectd.dialects.registry import literals
from redirectd.dialects.stamps import parse_stamp
from redirectd.review.followup import FOLLOWED
from redirectd.review.watch import Followed, Watch, record
from redirectd.sip.message import MessageError, Response, parse_message
from redirectd.sources.log import Log
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

    def __init__(self, database: Database, watch: Watch, *, clock: Callable[[], datetime]) -> None:
        """`clock` gives the time that completes the log's dates without a year; `watch` serves all sources."""
        self._database = database
        self._watch = watch
        self._clock = clock
        # By the log's identity, which is its own while it is kept; with what the collector had dealt with then.
        self._scanners: dict[int, tuple[Log, Scanner, int]] = {}
        self._reached: dict[int, int] = {}  # what the collector had dealt with before the turn
        self._found: list[Followed] = []

    def refresh(self, parts: Sequence[ReadPart]) -> None:
        """Looks for new decisions where that is due, and how far each part is read. Raises StoreError."""
        self._watch.refresh(self._database)
        self._reached = {id(part.log): part.offset for part in parts}

    def read(self, parts: Sequence[ReadPart], *, final: bool) -> bool:
        """Takes the answers in what the collector has read of each part since; whether there are any."""
        if self._watch.is_empty:
            self._scanners.clear()
            return False
        scanners = {id(part.log): self._scanner_of(part) for part in parts}
        self._scanners = {id(part.log): (part.log, scanners[id(part.log)], part.offset) for part in parts}
        now = self._clock().replace(minute=0, second=0, microsecond=0)
        for part in parts:
            scanner = scanners[id(part.log)]
            scanner.log = _Until(part.log, part.offset + SLACK)
            while (block := scanner.next_block(final=final)) is not None:
                self._take(part, block, now)
        return bool(self._found)

    def _scanner_of(self, part: ReadPart) -> Scanner:
        """The one that has read it so far, or one that begins where the collector did in this turn."""
        begin = self._reached.get(id(part.log), 0)
        log, scanner, reached = self._scanners.get(id(part.log), (None, None, 0))
        if scanner is not None and log is part.log and reached == begin:
            return scanner
        searched = literals(part.reading.dialects, FOLLOWED)
        return Scanner(_Until(part.log, part.offset + SLACK), part.reading.dialects, searched, offset=begin)

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
        self._scanners.clear()

    def _take(self, part: ReadPart, block: Block, now: datetime) -> None:
        paired = unpaired = 0
        for logged, dialect in (one for one in block.found if len(one) == 2):
            if not isinstance(logged, Record | Frame):
                continue
            stamp = logged.stamp or part.stamp(block.base + logged.start)
            if not stamp:
                continue  # one without a time may be older than the approval
            seen_at = parse_stamp(stamp, part.reading.zone, now)
            if isinstance(logged, Record):
                if logged.status not in FOLLOWED:
                    continue  # an entry's own record, beside which another one was looked for (R39)
                self._note(from_record(logged, position=0, seen_at=seen_at, text=""))
            elif paired < MOST_PAIRED and unpaired < MOST_UNPAIRED:
                answer = _answer(part.log, block, logged, dialect, seen_at)
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


def _answer(log: Log, block: Block, logged: Frame, dialect: Dialect, seen_at: datetime | None) -> Answer | None:
    """A received answer to an INVITE with its request where that is found; None for all other messages."""
    if logged.direction is Direction.SENT:
        return None
    try:
        message = parse_message(logged.payload)
    except MessageError:
        return None
    if not isinstance(message, Response) or message.status not in FOLLOWED:
        return None
    if message.call_id is None or message.cseq is None or message.cseq.method != "INVITE":
        return None
    asked = find_request(log, block, logged, message, dialect)
    request = asked.request if asked else None
    return from_messages(logged, message, request, position=0, seen_at=seen_at, text="")
