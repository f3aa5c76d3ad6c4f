"""Looks for the answers of approved targets (404, 410, 604) in what the service reads, and counts them.

It costs nothing while no remap is approved, and one more search of what is read from then on. Logs that are read
afterwards (`redirectd ingest`) are not followed: the service has read them, or they are older than the approval.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from time import monotonic

from sqlalchemy import Connection, delete, insert, select, update

from redirectd.collect.answer import WEAK, Answer, from_messages, from_record
from redirectd.collect.pair import find_request
from redirectd.collect.reading import ReadPart
from redirectd.collect.scan import Block, Scanner
from redirectd.collect.verdict import digest
from redirectd.dialects.frame import Dialect, Direction, Frame, Record
from redirectd.dialects.registry import literals
from redirectd.dialects.stamps import parse_stamp
from redirectd.review.target_health import FOLLOWED, MOST_CALLS
from redirectd.sip.compare import route_key
from redirectd.sip.message import MessageError, Response, parse_message
from redirectd.sip.uri import SipUri, UriError, parse_uri
from redirectd.sources.log import Log
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import audit as audit_table
from redirectd.store.schema import followed_call, followup, remap
from redirectd.store.statements import chunks
from redirectd.store.turns import lock_keys

REFRESH_SECONDS = 5.0
"""How often it looks for new decisions at most: the calls that an apply brings to a new target come at once."""

SHARE = 0.02
"""How much of a processor it may take while somebody decides on one remap after another, in a table of any size."""


@dataclass(frozen=True, slots=True)
class Followed:
    """One final answer to an INVITE whose Request-URI may be an approved target.

    `target` is the hash by which remaps of that URI are found, `key` names the call, the target and the status: two
    proxies in a row that ask for one URI, a retransmission and another logger's copy are one call.
    """

    key: str
    target: str
    status: int
    seen_at: datetime


class Watch:
    """The targets of approved user remaps: what a reader must know to take their 404s and pass over all others.

    One serves all sources of a process, in their threads. It keeps eight bytes for each target; that another URI
    shares them by chance does no harm, since counting looks the whole hash up.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._targets: array[int] = array("Q")  # in ascending order
        self._newest: tuple[int, str] | None = None
        self._due_at = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is approved, and nothing need be read."""
        return not self._targets

    def refresh(self, database: Database, *, at_once: bool = False) -> None:
        """Looks for new decisions where that is due, or `at_once`. Raises StoreError.

        That is one small query where nothing was decided since, and one over all approved remaps where something was.
        """
        with self._lock:
            begun = monotonic()
            if begun < self._due_at and not at_once:
                return
            with database.read() as connection:
                self._read(connection)
            took = monotonic() - begun
            self._due_at = begun + max(REFRESH_SECONDS, took / SHARE)

    def _read(self, connection: Connection) -> None:
        query = select(audit_table.c.id, audit_table.c.hash).order_by(audit_table.c.id.desc()).limit(1)
        row = connection.execute(query).one_or_none()
        newest = None if row is None else (int(row.id), str(row.hash))
        if newest == self._newest:
            return
        found = connection.scalars(select(remap.c.new_hash).where(*_WATCHED)).yield_per(1000)
        self._targets = array("Q", sorted(array("Q", (_short(name) for name in found))))
        self._newest = newest

    def followed(self, call_id: str, status: int, method: str, request_uri: str, seen_at: datetime) -> Followed | None:
        """What an answer says of an approved target; None for all others, and those are nearly all."""
        if status not in FOLLOWED or method != "INVITE" or not self._targets:
            return None
        try:
            uri = parse_uri(request_uri)
        except UriError:
            return None
        if not isinstance(uri, SipUri):
            return None
        target = digest("user", str(route_key(uri)))
        if not self._has(_short(target)):
            return None
        return Followed(digest("followed", call_id, target, str(status)), target, status, seen_at)

    def _has(self, short: int) -> bool:
        targets = self._targets
        place = bisect_left(targets, short)
        return place < len(targets) and targets[place] == short


_WATCHED = (remap.c.state == State.APPROVED, remap.c.kind == "user", remap.c.new_hash.is_not(None))


def _short(name: str) -> int:
    return int(name[:16], 16)


def record(connection: Connection, answers: Iterable[Followed]) -> None:
    """Counts answers in the caller's transaction, which also holds the position, each call once for all nodes."""
    by_key = {one.key: one for one in answers}
    lock_keys(connection, by_key)  # two nodes may report one call at the same time
    fresh = _not_counted(connection, by_key)
    targets = _targets(connection, {one.target for one in fresh.values()})
    by_figure: dict[tuple[int, int], list[Followed]] = defaultdict(list)
    since: dict[int, datetime | None] = {}
    for one in fresh.values():
        for number, decided_at in targets[one.target]:
            if decided_at is None or one.seen_at > decided_at:
                by_figure[number, one.status].append(one)
                since[number] = decided_at
    lock_keys(connection, (digest("followup", str(number), str(status)) for number, status in by_figure))
    counted: dict[str, Followed] = {}
    for (number, status), ones in sorted(by_figure.items()):
        if _count(connection, number, status, [one.seen_at for one in ones], since[number]):
            counted |= {one.key: one for one in ones}
    if counted:
        rows = [{"key": one.key, "seen_at": one.seen_at} for one in counted.values()]
        connection.execute(insert(followed_call), rows)


def _not_counted(connection: Connection, answers: dict[str, Followed]) -> dict[str, Followed]:
    known: set[str] = set()
    for part in chunks(answers):
        known.update(connection.scalars(select(followed_call.c.key).where(followed_call.c.key.in_(part))))
    return {key: one for key, one in answers.items() if key not in known}


def _targets(connection: Connection, names: Iterable[str]) -> dict[str, list[tuple[int, datetime | None]]]:
    """The approved remaps of each target, and when that was decided."""
    found: dict[str, list[tuple[int, datetime | None]]] = defaultdict(list)
    for part in chunks(names):
        query = select(remap.c.id, remap.c.new_hash, remap.c.decided_at)
        for row in connection.execute(query.where(remap.c.new_hash.in_(part), *_WATCHED)):
            found[row.new_hash].append((row.id, row.decided_at))
    return found


def _count(connection: Connection, number: int, status: int, times: Sequence[datetime], since: datetime | None) -> bool:
    """Adds calls to a figure, which begins anew with each decision; whether there was room for them."""
    place = (followup.c.remap_id == number) & (followup.c.status == status)
    known = connection.execute(select(followup.c.calls, followup.c.first_seen).where(place)).one_or_none()
    if known is None or (since is not None and known.first_seen <= since):
        # What was reported before the decision now in force belongs to an earlier one.
        connection.execute(delete(followup).where(place))
        row = {"remap_id": number, "status": status, "calls": min(MOST_CALLS, len(times))}
        connection.execute(insert(followup).values(**row, first_seen=min(times), last_seen=max(times)))
        return True
    values = {"calls": min(MOST_CALLS, known.calls + len(times)), "last_seen": max(times)}
    connection.execute(update(followup).where(place).values(values))
    return bool(known.calls < MOST_CALLS)


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
