"""Taking remaps from rows into the database, by the rules that a 301 of the network must pass too.

Rows are taken in runs: as many as can be inserted together and then approved together with the result of one after
another. Where a row has to do with an approval before it, the next run begins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from sqlalchemy import Connection, Select, select

from redirectd.collect.policy import Policy
from redirectd.collect.verdict import digest
from redirectd.errors import RedirectdError
from redirectd.review.approvals import Approvals, ContradictionError
from redirectd.review.decide import BATCH, approval, refuse_state
from redirectd.review.decision import Decision
from redirectd.review.judged_row import JudgedRow, judged
from redirectd.review.portable import Portable, RowFault
from redirectd.store import audit, event_log, remaps
from redirectd.store.audit import AuditEntry
from redirectd.store.database import Database
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap, remap_incoming, remap_method, remap_peer
from redirectd.store.statements import chunks, insert
from redirectd.store.states import Transition, events_of, move_each
from redirectd.store.turns import lock_keys, take_turn

Rows = Iterable[tuple[int, Portable | RowFault]]


@dataclass(slots=True)
class Imported:
    """What an import did, or would do.

    `known` rows are of remaps that are here already, `approved` counts those that the rows approved; `faults` are rows
    that can't be taken at all, `held` those that were taken and are pending: a hold or what is approved forbids more.
    """

    rows: int = 0
    new: int = 0
    known: int = 0
    approved: int = 0
    faults: list[RowFault] = field(default_factory=list)
    held: list[RowFault] = field(default_factory=list)

    def add(self, part: Imported) -> None:
        """Counts in what a part of the rows came to."""
        self.new += part.new
        self.known += part.known
        self.approved += part.approved
        self.faults += part.faults
        self.held += part.held


class _Back(Exception):  # noqa: N818 - no error: it takes the transaction back
    """Leaves a transaction without committing it."""


def run_import(
    database: Database,
    rows: Rows,
    decision: Decision,
    policy: Policy,
    *,
    with_approvals: bool,
    dry_run: bool = False,
    skip_faults: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Imported, bool]:
    """Imports rows, and says if they are kept: a dry run's never are, those of a file with faults only if skipped.

    All rows are judged before the first is written, then they are committed in parts, so that whoever reads logs or
    decides waits for a part at most; `progress` hears how many rows were judged, and then, how many written. A row
    that somebody's decision makes faulty meanwhile is left out and is among the faults. A dry run does all of it in
    one transaction and takes it back: what it says is what the import would come to.
    """
    result = Imported()
    good: list[JudgedRow] = []
    for some in chunks(rows, BATCH):
        good += _judge_all(some, decision, policy, result)
        progress(len(some))
    if not (dry_run or skip_faults):
        with database.read() as connection:
            late = _refused_by_state(connection, good, with_approvals=with_approvals)
        if result.faults or late:
            result.faults = sorted([*result.faults, *late], key=lambda one: one.row)
            return result, False
    take = partial(_take, decision, policy, with_approvals=with_approvals)
    if dry_run:
        with suppress(_Back), database.begin() as connection:
            for part in chunks(good, BATCH):
                result.add(take(part, connection))
                progress(len(part))
            raise _Back
    else:
        for part in chunks(good, BATCH):
            result.add(database.run(partial(take, part)))
            progress(len(part))
    result.faults.sort(key=lambda one: one.row)
    return result, not dry_run


def import_rows(
    connection: Connection, rows: Rows, decision: Decision, policy: Policy, *, with_approvals: bool
) -> Imported:
    """Takes every row that is right, within the caller's transaction; who wants all or nothing rolls back on faults.

    Each row passes the rules R11 to R28 as an answer of the network does. Rows that are approved come as pending;
    `with_approvals` has them approved by `decision.actor`, so that holds (R27), cycles (R34) and what is approved (R44)
    forbid what they forbid a person. A remap that is here already keeps what is known of it; a pending one takes the
    row's decision.
    """
    result = Imported()
    good = _judge_all(rows, decision, policy, result)
    result.add(_take(decision, policy, good, connection, with_approvals=with_approvals))
    result.faults.sort(key=lambda one: one.row)
    return result


def _judge_all(rows: Rows, decision: Decision, policy: Policy, result: Imported) -> list[JudgedRow]:
    """The rows that can be taken as far as they themselves say; the faults of the others go into `result`."""
    good = []
    for row, one in rows:
        result.rows += 1
        if isinstance(one, RowFault):
            result.faults.append(one)
            continue
        try:
            good.append(judged(row, one, decision, policy))
        except RedirectdError as error:
            result.faults.append(RowFault(row, error.why))
    return good


def _refused_by_state(connection: Connection, good: Iterable[JudgedRow], *, with_approvals: bool) -> list[RowFault]:
    """The rows that what is here, or an earlier row of the same remap, contradicts; found before any is written."""
    faults = []
    states: dict[str, tuple[str, State]] = {}
    for part in chunks(good):
        found = _known(connection, [one.identity for one in part if one.identity not in states])
        states |= {identity: (f"remap {number}", state) for identity, (number, state) in found.items()}
        for one in part:
            here = states.get(one.identity)
            if here is not None and (why := _contradiction(one, *here)):
                faults.append(RowFault(one.row, why))
                continue
            states[one.identity] = _after(one, here, with_approvals=with_approvals)
    return faults


def _after(one: JudgedRow, here: tuple[str, State] | None, *, with_approvals: bool) -> tuple[str, State]:
    """What names a row's remap, and its state when the row has been taken."""
    name, state = here or (f"that of row {one.row}", one.birth)
    if state is State.PENDING and (one.state is State.REJECTED or (with_approvals and one.state is State.APPROVED)):
        state = one.state
    return name, state


def _contradiction(one: JudgedRow, name: str, state: State) -> str | None:
    """Why the row's state can't be taken for a remap that is here."""
    if one.state in {State.PENDING, State.APPROVED, state} or (state, one.state) == (State.PENDING, State.REJECTED):
        return None
    return f"here it is {name} and {state}, in the row {one.state}"


def _known(connection: Connection, identities: Iterable[str]) -> dict[str, tuple[int, State]]:
    """The ids and states of these remaps, those that are here."""
    found = {}
    for part in chunks(identities):
        query = select(remap.c.identity, remap.c.id, remap.c.state).where(remap.c.identity.in_(part))
        found.update({row[0]: (int(row[1]), State(row[2])) for row in connection.execute(query).all()})
    return found


def _take(
    decision: Decision, policy: Policy, rows: Sequence[JudgedRow], connection: Connection, *, with_approvals: bool
) -> Imported:
    """What the rows came to, those aside that could not be judged; may be done again in another transaction."""
    result = Imported()
    _Importer(decision, policy, result, with_approvals=with_approvals).take(connection, rows)
    return result


class _Importer:
    """Takes judged rows within transactions of others."""

    def __init__(self, decision: Decision, policy: Policy, result: Imported, *, with_approvals: bool) -> None:
        self._decision = decision
        self._policy = policy
        self._result = result
        self._with_approvals = with_approvals

    def take(self, connection: Connection, rows: Sequence[JudgedRow]) -> None:
        """Takes rows in their order, with the same result as one after another."""
        lock_keys(connection, (one.identity for one in rows))  # nobody makes the same remap meanwhile
        take_turn(connection, audit.TURN)
        for part in chunks(rows, BATCH):
            for run in self._runs(connection, part):
                self._take_run(connection, run)

    def _runs(self, connection: Connection, rows: Sequence[JudgedRow]) -> Iterator[list[JudgedRow]]:
        """The rows in parts of which no row has to do with an approval before it in its part.

        What two rows can have in common: the remap, the old URI (R30, R32), an incoming URI (R5). What leads on from
        one to another (R34) is known to who judges approvals, in any order.
        """
        touched = _touched(connection, rows, self._decision) if self._with_approvals else {}
        alone = touched.pop("", frozenset())
        run: list[JudgedRow] = []
        met: set[str] = set()
        was_alone = False
        for one in rows:
            marks = {one.old_hash, *map(digest, one.incoming), *touched.get(one.identity, ())}
            is_alone = not alone.isdisjoint({one.identity, *marks})
            if run and (is_alone or was_alone or one.identity in met or not met.isdisjoint(marks)):
                yield run
                run, met = [], set()
            was_alone = is_alone
            run.append(one)
            met.add(one.identity)
            if self._with_approvals and one.state is State.APPROVED:
                met |= marks
        if run:
            yield run

    def _take_run(self, connection: Connection, run: Sequence[JudgedRow]) -> None:
        known = _known(connection, [one.identity for one in run])
        fresh: list[JudgedRow] = []
        taken: list[JudgedRow] = []
        for one in run:
            here = known.get(one.identity)
            if here is None:
                fresh.append(one)
            elif why := _contradiction(one, f"remap {here[0]}", here[1]):
                self._result.faults.append(RowFault(one.row, why))
                continue
            taken.append(one)
        ids = {identity: number for identity, (number, _) in known.items()} | _insert(connection, fresh)
        self._result.new += len(fresh)
        self._result.known += len(taken) - len(fresh)
        born = {one.row: [_born(one, ids[one.identity], self._decision)] for one in fresh}
        moves = self._decided(connection, taken, known, ids)
        by = self._decision
        moved = move_each(connection, moves, at=by.at, actor=by.actor, force=by.force)
        audit.append_all(
            connection, [entry for one in taken for entry in (*born.get(one.row, ()), *moved.get(one.row, ()))]
        )
        waiting = [_waits(one, ids[one.identity], by) for one in fresh if one.birth is State.PENDING]
        moved_events = [event for group in moves.values() for event in events_of(group, at=by.at, actor=by.actor)]
        event_log.emit(connection, [*waiting, *moved_events])

    def _decided(
        self,
        connection: Connection,
        taken: Sequence[JudgedRow],
        known: Mapping[str, tuple[int, State]],
        ids: Mapping[str, int],
    ) -> dict[int, list[Transition]]:
        """The moves that the rows' states ask for, by row."""
        wanted = {one.row: ids[one.identity] for one in taken if self._wants(one, known.get(one.identity))}
        found = {one.id: one for one in remaps.of_ids(connection, wanted.values())}
        approving = [one for one in taken if one.row in wanted and one.state is State.APPROVED]
        moves = {
            one.row: [Transition(found[wanted[one.row]], "reject", self._decision.reason)]
            for one in taken
            if one.row in wanted and one.state is State.REJECTED
        }
        return moves | self._approved(connection, [(one, found[wanted[one.row]]) for one in approving])

    def _wants(self, one: JudgedRow, here: tuple[int, State] | None) -> bool:
        """Whether the row decides on its remap, which it has made or found `here`."""
        if one.state is State.APPROVED:
            return self._with_approvals and (here is None or here[1] is not State.APPROVED)
        return one.state is State.REJECTED and here is not None and here[1] is State.PENDING

    def _approved(
        self, connection: Connection, pairs: Sequence[tuple[JudgedRow, Remap]]
    ) -> dict[int, list[Transition]]:
        if not pairs:
            return {}
        choices = {}
        for one, found in pairs:
            places = [target.uri for target in found.contacts]
            if one.new_uri in places:
                choices[found.id] = places.index(one.new_uri) + 1
        by = replace(self._decision, replace=frozenset())
        judge = Approvals(connection, [found for _, found in pairs], by, self._policy, choices)
        moves: dict[int, list[Transition]] = {}
        for one, found in pairs:
            try:
                refuse_state(found, "approve")
                moves[one.row] = self._approval(judge, found)
            except RedirectdError as error:
                self._result.held.append(RowFault(one.row, error.why))
            else:
                self._result.approved += 1
        return moves

    def _approval(self, judge: Approvals, found: Remap) -> list[Transition]:
        """An approval that replaces what it must, and of that only what was named (R44)."""
        try:
            return approval(judge, found)[1]
        except ContradictionError as error:
            named = self._decision.replace & set(error.against)
            if not named:
                raise
            return approval(judge, found, named)[1]


def _waits(one: JudgedRow, number: int, decision: Decision) -> event_log.NewEvent:
    uris = {"old_uri": one.values["old_uri"], "new_uri": one.new_uri}
    return event_log.NewEvent(
        kind=event_log.EventKind.PENDING,
        at=decision.at,
        remap_id=number,
        actor=decision.actor,
        detail={"action": "import", **uris, "reason": decision.reason},
    )


def _touched(connection: Connection, rows: Sequence[JudgedRow], decision: Decision) -> dict[str, frozenset[str]]:
    """By the identity of a remap that is here, the hashes of its incoming URIs.

    By the empty text, what belongs to the remaps that may be replaced: their identities, old and incoming URIs.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for part in chunks(one.identity for one in rows if one.state is State.APPROVED):
        for row in connection.execute(_incoming_of().where(remap.c.identity.in_(part))):
            found[row.identity].add(row.hash)
    for numbers in chunks(sorted(decision.replace)):
        query = select(remap.c.identity, remap.c.old_hash).where(remap.c.id.in_(numbers))
        found[""] |= {text for row in connection.execute(query) for text in row}
        found[""] |= {row.hash for row in connection.execute(_incoming_of().where(remap.c.id.in_(numbers)))}
    return {identity: frozenset(hashes) for identity, hashes in found.items()}


def _incoming_of() -> Select[tuple[str, str]]:
    return select(remap.c.identity, remap_incoming.c.hash).join(remap_incoming, remap_incoming.c.remap_id == remap.c.id)


def _insert(connection: Connection, fresh: Sequence[JudgedRow]) -> dict[str, int]:
    """New remaps with all that belongs to them; gives their ids by identity."""
    if not fresh:
        return {}
    replaced: dict[str, int] = {}
    for part in chunks(one.old_hash for one in fresh):
        query = select(remap.c.old_hash, remap.c.id).where(remap.c.old_hash.in_(part), remap.c.state == State.APPROVED)
        for old_hash, number in connection.execute(query.order_by(remap.c.id)):
            replaced.setdefault(old_hash, number)
    insert(connection, remap, [{**one.values, "replaces": replaced.get(one.old_hash)} for one in fresh])
    ids = {identity: number for identity, (number, _) in _known(connection, [one.identity for one in fresh]).items()}
    insert(connection, remap_peer, [row for one in fresh for row in one.peers(ids[one.identity])])
    insert(connection, remap_method, [row for one in fresh for row in one.asked_by(ids[one.identity])])
    insert(connection, remap_incoming, [row for one in fresh for row in one.asked_for(ids[one.identity])])
    return ids


def _born(one: JudgedRow, number: int, decision: Decision) -> AuditEntry:
    return AuditEntry(
        at=decision.at,
        actor=decision.actor,
        action="import",
        remap_id=number,
        new_state=one.birth,
        reason=decision.reason,
        detail={"old_uri": one.values["old_uri"], "new_uri": one.new_uri},
    )
