"""After an approval: targets that answer 404, 410 or 604, or have moved on (301), are shown as failing.

Only answers newer than the decision count, so that confirming a remap, or approving it again, begins anew.
A further 301 needs no counting of its own: the remap that it made says all of it.

`Follower` looks for them in a source that the service reads, beside its 301s. It costs nothing while no remap is
approved, and one more search of what is read from then on. Logs that are read afterwards (`redirectd ingest`) are not
followed: the service has read them, or they are older than the approval.
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

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, func, insert, or_, select, update

from redirectd.collect.answer import WEAK, Answer, from_messages, from_record
from redirectd.collect.pair import find_request
from redirectd.collect.policy import Policy
from redirectd.collect.reading import ReadPart
from redirectd.collect.scan import Block, Scanner
from redirectd.collect.verdict import digest
from redirectd.dialects.frame import Authenticity, Dialect, Direction, Frame, Record
from redirectd.dialects.registry import literals
from redirectd.dialects.stamps import parse_stamp
from redirectd.sip.compare import route_key
from redirectd.sip.message import MessageError, Response, parse_message
from redirectd.sip.uri import SipUri, UriError, parse_uri
from redirectd.sources.log import Log
from redirectd.store import audit
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import audit as audit_table
from redirectd.store.schema import followed_call, followup, remap
from redirectd.store.statements import chunks
from redirectd.store.turns import take_turn
from redirectd.times import rfc3339

FOLLOWED = {404: "not found", 410: "gone", 604: "does not exist anywhere"}
"""Final answers that say that a URI is not an address (21.4.5, 21.4.11, 21.6.3); busy or unavailable says nothing."""

MOST_CALLS = 1_000
"""Calls that are counted of one target and answer. A number that is gone may be dialled for ever, and nobody decides
otherwise for it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How often, in distinct calls, and when a target gave one answer since the decision."""

    status: int
    calls: int
    first_seen: datetime
    last_seen: datetime

    def __str__(self) -> str:
        calls = "one call" if self.calls == 1 else f"{self.calls} calls"
        if self.status in FOLLOWED and self.calls >= MOST_CALLS:
            calls += " or more"
        return f"{self.status} in {calls}, last {rfc3339(self.last_seen, timespec='seconds')}"


@dataclass(frozen=True, slots=True)
class Failing:
    """A failing remap: its figures by status, and the remap that its target's own 301 made."""

    figures: tuple[Figure, ...]
    moved_on: int | None = None

    @property
    def reason(self) -> str:
        """The figures in words."""
        told = f"its target has answered {'; '.join(map(str, self.figures))}"
        return told + (f" (see remap {self.moved_on})" if self.moved_on else "")

    @property
    def dead_calls(self) -> int:
        """Calls that a suspension counts: those of 404, 410 and 604."""
        return sum(one.calls for one in self.figures if one.status in FOLLOWED)


def failing(connection: Connection, numbers: Iterable[int] | None = None) -> dict[int, Failing]:
    """The approved remaps that fail, by id; of `numbers` where given."""
    parts: Iterable[list[int] | None] = [None] if numbers is None else chunks(numbers)
    found: dict[int, Failing] = {}
    for part in parts:
        figures, moved = _dead(connection, part), _moved_on(connection, part)
        for number in figures.keys() | moved.keys():
            onward, figure = moved.get(number, (None, None))
            found[number] = Failing((*figures.get(number, ()), *([figure] if figure else ())), onward)
    return dict(sorted(found.items()))


def _dead(connection: Connection, numbers: Sequence[int] | None) -> dict[int, list[Figure]]:
    """The figures of 404, 410 and 604 since the decision in force."""
    query = select(followup).join(remap, remap.c.id == followup.c.remap_id)
    query = query.where(
        func.coalesce(remap.c.state, "") == State.APPROVED,  # from the few answers to their remaps, see `_asked_on`
        or_(remap.c.decided_at.is_(None), followup.c.first_seen > remap.c.decided_at),
        *(() if numbers is None else (remap.c.id.in_(numbers),)),
    )
    figures: dict[int, list[Figure]] = defaultdict(list)
    for row in connection.execute(query.order_by(followup.c.remap_id, followup.c.status)):
        figures[row.remap_id].append(Figure(row.status, row.calls, row.first_seen, row.last_seen))
    return figures


def _moved_on(connection: Connection, numbers: Sequence[int] | None) -> dict[int, tuple[int, Figure]]:
    """Approved remaps whose target has answered 301 since, and nobody has approved that move."""
    onward, settled = remap.alias("onward"), remap.alias("settled")
    columns = (remap.c.id, onward.c.id.label("by"), onward.c.calls, onward.c.first_seen, onward.c.last_seen)
    query = select(*columns).join(onward, onward.c.old_hash == remap.c.new_hash)
    query = query.where(
        remap.c.state == State.APPROVED,
        remap.c.kind.in_(["user", "gateway"]),
        onward.c.state.in_([State.PENDING, State.REJECTED]),
        onward.c.authenticity >= Authenticity.FRAMED.value,  # R39
        or_(remap.c.decided_at.is_(None), onward.c.last_seen > remap.c.decided_at),
        ~exists().where(settled.c.old_hash == onward.c.old_hash, settled.c.state == State.APPROVED),
        onward.c.old_hash.in_(_asked_on()) if numbers is None else remap.c.id.in_(numbers),
    )
    rows = connection.execute(query.order_by(onward.c.id))
    return {row.id: (row.by, Figure(301, row.calls, row.first_seen, row.last_seen)) for row in rows}


def _asked_on() -> Select[tuple[str]]:
    """The hashes of undecided old URIs that are an approved one's target: by two indexes alone, without the rows.

    Hidden in a function, the state leads no database to the index by state, which has no hash in it.
    """
    undecided, leading = remap.alias("undecided"), remap.alias("leading")
    return select(undecided.c.old_hash).where(
        func.coalesce(undecided.c.state, "").in_([State.PENDING, State.REJECTED]),
        exists().where(leading.c.new_hash == undecided.c.old_hash, leading.c.state == State.APPROVED),
    )


def may_fail() -> ColumnElement[bool]:
    """What the database can say of it quickly: every failing remap passes, and few others do."""
    onward = remap.alias("onward")
    asked = select(onward.c.old_hash).where(onward.c.state.in_([State.PENDING, State.REJECTED]))
    return or_(remap.c.id.in_(select(followup.c.remap_id)), remap.c.new_hash.in_(asked))


def to_suspend(connection: Connection, policy: Policy, numbers: Iterable[int] | None = None) -> dict[int, Failing]:
    """The remaps, of `numbers` where given, that failed in as many calls as `suspend_failing_after` says, if it is set.

    A 301 alone never suspends: the old target may still answer.
    """
    after = policy.suspend_failing_after
    if after is None:
        return {}
    return {number: one for number, one in failing(connection, numbers).items() if one.dead_calls >= after}


def suspend_failing(database: Database, policy: Policy, *, now: datetime) -> list[int]:
    """Revokes, audited, what `to_suspend` gives; call it before an apply. Gives their ids."""
    with database.read() as connection:
        found = to_suspend(connection, policy)
    if not found:
        return []
    from redirectd.review.auto import ACTOR
    from redirectd.review.decide import revoke
    from redirectd.review.decision import Decision

    done = []
    for number in found:
        with database.begin() as connection:
            take_turn(connection, audit.TURN)
            # Once more: another node, or a person who keeps it, may have been quicker.
            one = to_suspend(connection, policy, [number]).get(number)
            if one is not None:
                reason = f"policy.suspend_failing_after = {policy.suspend_failing_after}: {one.reason}"
                revoke(connection, number, Decision(actor=ACTOR, at=now, reason=reason))
                done.append(number)
    return done


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
    take_turn(connection, "collect")  # two nodes may report one call at the same time
    fresh = _not_counted(connection, {one.key: one for one in answers})
    targets = _targets(connection, {one.target for one in fresh.values()})
    told: dict[tuple[int, int], list[Followed]] = defaultdict(list)
    since: dict[int, datetime | None] = {}
    for one in fresh.values():
        for number, decided_at in targets[one.target]:
            if decided_at is None or one.seen_at > decided_at:
                told[number, one.status].append(one)
                since[number] = decided_at
    counted: dict[str, Followed] = {}
    for (number, status), ones in sorted(told.items()):
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
