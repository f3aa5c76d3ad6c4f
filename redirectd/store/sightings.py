"""Sightings that a batch adds to remaps: each answer counted once, by its best sighting (R8), in a few statements.

A redirect loop gives thousands of answers in seconds. The first thousand of a remap within an hour have rows of their
own in `event`; of those beyond, only the key is kept in a pack, 16 bytes. So the same log read again counts nothing
twice. What is given up for them: such an answer is not taken back when it turns out to be a relayed copy, and a lesser
sighting of it from another source counts by itself. Past `MOST_PACKED` keys the oldest are forgotten.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, exists, func, literal_column, select, update

from redirectd.collect.answer import WEAK, WHOLE, Answer
from redirectd.collect.verdict import DOUBTFUL, Learnt, Refused, Verdict, digest
from redirectd.dialects.frame import Authenticity
from redirectd.sip.text import printable
from redirectd.store import audit, evidence, in_service, remaps
from redirectd.store.remap import State
from redirectd.store.schema import event, event_pack, refusal, remap, remap_incoming, remap_method, remap_peer
from redirectd.store.schema import evidence as evidence_table
from redirectd.store.statements import chunks, insert, run_many
from redirectd.store.states import move_all, reopening
from redirectd.store.turns import lock_keys, take_turn


@dataclass(frozen=True, slots=True)
class Known:
    """A remap that is there. `flags` and `facts` are as stored; `is_packed` says that a pack holds answers of it.

    `kept` is how many of its sightings are kept as evidence.
    `is_authentic`: a proven or surely framed sighting is behind it (R39).
    """

    number: int
    state: str
    calls: int
    flags: str
    facts: str
    expires_at: datetime | None
    is_authentic: bool
    is_packed: bool
    kept: int


_COLUMNS = (
    remap.c.id,
    remap.c.state,
    remap.c.calls,
    remap.c.flags,
    remap.c.facts,
    remap.c.expires_at,
    (remap.c.authenticity >= Authenticity.FRAMED.value).label("is_authentic"),
)
_IS_PACKED = exists().where(event_pack.c.remap_id == remap.c.id)
_KEPT = (
    select(func.count()).select_from(evidence_table).where(evidence_table.c.remap_id == remap.c.id).scalar_subquery()
)


def known_remaps(connection: Connection, identities: Iterable[str]) -> dict[str, Known]:
    """Those of these remaps that are there, by identity."""
    found: dict[str, Known] = {}
    for part in chunks(identities):
        query = select(remap.c.identity, *_COLUMNS, _IS_PACKED, _KEPT).where(remap.c.identity.in_(part))
        found.update((row[0], Known(*row[1:])) for row in connection.execute(query).all())
    return found


ACTOR = "redirectd"
"""Who the audit names for what no person decided."""

CONTENT = ("old_uri", "new_uri", "new_hash", "contacts", "flags", "facts", "expires_at")
"""The columns of a remap that one sighting decides."""

_NEVER = datetime.min.replace(tzinfo=UTC)

_PUT_BACK = (State.SUPERSEDED, State.EXPIRED)

_FIRST, _LAST = bindparam("first", type_=remap.c.first_seen.type), bindparam("last", type_=remap.c.last_seen.type)
_BEST = bindparam("best", type_=remap.c.authenticity.type)
_COUNTED = update(remap).where(remap.c.id == bindparam("of")).values(calls=remap.c.calls + bindparam("more"))
_SEEN = _COUNTED.values(
    first_seen=case((remap.c.first_seen > _FIRST, _FIRST), else_=remap.c.first_seen),
    last_seen=case((remap.c.last_seen < _LAST, _LAST), else_=remap.c.last_seen),
    authenticity=case((remap.c.authenticity < _BEST, _BEST), else_=remap.c.authenticity),
)
_AUTHENTIC = Authenticity.FRAMED.value
_BELIEVED = (
    update(remap)
    .where(remap.c.id == bindparam("of"), remap.c.state != literal_column(f"'{State.APPROVED}'"))
    .where(remap.c.authenticity < literal_column(str(_AUTHENTIC)))
    .values({name: bindparam(f"new_{name}", type_=remap.c[name].type) for name in CONTENT})
)
_RENEWED = (
    update(remap)
    .where(
        remap.c.id == bindparam("of"),
        remap.c.state == literal_column(f"'{State.PENDING}'"),
        remap.c.last_seen <= bindparam("at", type_=remap.c.last_seen.type),
    )
    .values(flags=bindparam("holds"), expires_at=bindparam("until", type_=remap.c.expires_at.type))
)
_RENEWED_WITH_FACTS = _RENEWED.values(facts=bindparam("shown"))


@dataclass(frozen=True, slots=True)
class SeenAgain:
    """What a batch reports of an existing remap: its answers, of which the `believed` ones say more than a count.

    Where an authentic sighting is behind the remap, or is among them, those are the authentic ones (R39).
    """

    known: Known
    ones: Sequence[Learnt]
    believed: Sequence[Learnt]

    @classmethod
    def of(cls, known: Known, ones: Sequence[Learnt]) -> SeenAgain:
        """The answers with what is to be believed of them."""
        authentic = [one for one in ones if one.answer.authenticity.is_authentic]
        return cls(known, ones, authentic if known.is_authentic or authentic else ones)

    @property
    def newest_whole(self) -> Learnt | None:
        """The newest believed answer that was reported completely."""
        whole = [one for one in self.believed if one.answer.rank == WHOLE]
        if len(whole) == 1:
            return whole[0]
        dated = [one for one in whole if one.answer.seen_at is not None]
        return max(dated, key=lambda one: one.answer.seen_at or _NEVER, default=whole[-1] if whole else None)


def see_again(connection: Connection, seen: Sequence[SeenAgain], now: datetime) -> None:
    """Adds to remaps that were known before: calls, state, holds, lifetime, and the times they were seen at."""
    spans = {one.known.number: times(one.believed, now) for one in seen if one.believed}
    waiting = [one.known.number for one in seen if one.known.state in _PUT_BACK and one.believed]
    _put_back(connection, {number: spans[number][1] for number in waiting}, now)
    _believe(connection, seen, now)
    _renew(connection, seen, now)
    rows = [
        {
            "of": one.known.number,
            "more": len(one.ones),
            "first": spans[one.known.number][0],
            "last": spans[one.known.number][1],
            "best": best_of(one.believed),
        }
        for one in seen
        if one.believed
    ]
    run_many(connection, _SEEN, rows)
    run_many(
        connection, _COUNTED, [{"of": one.known.number, "more": len(one.ones)} for one in seen if not one.believed]
    )


def times(ones: Iterable[Learnt | Refused], now: datetime) -> tuple[datetime, datetime]:
    """When the first and the last of these were seen; `now` is used for what has no time."""
    found = [one.answer.seen_at or now for one in ones]
    return (found[0], found[0]) if len(found) == 1 else (min(found), max(found))


def best_of(ones: Iterable[Learnt]) -> int:
    """The authenticity of the most authentic of these, as it is stored."""
    return max(one.answer.authenticity.value for one in ones)


def content_of(ones: Sequence[Learnt], now: datetime) -> dict[str, Any]:
    """What the best of these says that moved, whereto and with which holds, as the columns `CONTENT` of `remap`."""
    one = max(ones, key=lambda one: one.answer.standing) if len(ones) > 1 else ones[0]
    single = "ambiguous" not in one.flags and len(one.candidates) == 1
    return {
        "old_uri": one.old_uri,
        "new_uri": one.candidates[0].uri if single else None,
        "new_hash": digest(one.kind, one.candidates[0].key) if single else None,
        "contacts": json.dumps(
            [{"uri": c.uri, "q": c.q, "raw": c.raw, "dropped": printable(c.dropped)} for c in one.candidates]
        ),
        "flags": as_json(one.flags),
        "facts": as_json(one.facts),
        "expires_at": one.deadline(now),
    }


def _believe(connection: Connection, seen: Iterable[SeenAgain], now: datetime) -> None:
    """The first authentic sighting says all of a remap anew: equal route keys leave a forger room (R24, R39).

    What is approved stays as it was approved.
    """
    rows = [
        {"of": one.known.number} | {f"new_{name}": value for name, value in content_of(one.believed, now).items()}
        for one in seen
        if not one.known.is_authentic and one.believed and one.believed[0].answer.authenticity.is_authentic
    ]
    run_many(connection, _BELIEVED, rows)
    for part in chunks(row["of"] for row in rows):
        undecided = select(remap.c.id).where(remap.c.id.in_(part), remap.c.state != State.APPROVED)
        connection.execute(delete(remap_incoming).where(remap_incoming.c.remap_id.in_(undecided)))


def _renew(connection: Connection, seen: Iterable[SeenAgain], now: datetime) -> None:
    """Takes the newest whole answer's holds and lifetime over, as long as nobody has decided.

    What is approved keeps what it was approved with: no answer shortens or lengthens it.
    """
    with_facts: list[dict[str, Any]] = []
    without: list[dict[str, Any]] = []
    for one in seen:
        newest = one.newest_whole
        if newest is None:
            continue
        row = {
            "of": one.known.number,
            "at": newest.answer.seen_at or now,
            "holds": as_json(newest.flags),
            "until": newest.deadline(now),
        }
        is_new = (row["holds"], row["until"]) != (one.known.flags, one.known.expires_at)
        if newest.facts and (is_new or as_json(newest.facts) != one.known.facts):
            with_facts.append(row | {"shown": as_json(newest.facts)})
        elif is_new:
            without.append(row)
    run_many(connection, _RENEWED, without)
    run_many(connection, _RENEWED_WITH_FACTS, with_facts)


def as_json(texts: Mapping[str, str]) -> str:
    """Flags or facts as they are stored: without those of R39, which follow from all sightings of a remap."""
    kept = {name: text for name, text in texts.items() if name not in DOUBTFUL}
    return json.dumps(kept) if kept else "{}"


def _put_back(connection: Connection, last_seen: dict[int, datetime], now: datetime) -> None:
    """Remaps that were superseded or have expired wait for review again when they are reported anew (R18, R30)."""
    if not last_seen:
        return
    take_turn(connection, audit.TURN)
    found = remaps.of_ids(connection, sorted(last_seen))
    moves = [
        reopening(one, "it was seen again")
        for one in found
        if one.state in _PUT_BACK and one.decided_at is not None and one.decided_at < last_seen[one.id]
    ]
    if moves:
        move_all(connection, moves, at=now, actor=ACTOR)


@dataclass(slots=True)
class Doubted:
    """Remaps and refusals that lost a call, by what `node` read: nothing may be left of them."""

    node: str
    remaps: set[int] = field(default_factory=set)
    refusals: set[int] = field(default_factory=set)


def of_calls(connection: Connection, call_keys: Iterable[str]) -> dict[str, list[Any]]:
    """The answers counted so far of each call."""
    calls: dict[str, list[Any]] = defaultdict(list)
    for part in chunks(call_keys):
        for row in connection.execute(select(event).where(event.c.call_key.in_(part))):
            calls[row.call_key].append(row)
    return calls


def covers(row: Any, answer: Answer) -> bool:  # noqa: ANN401 - a row of `event`
    """Whether what was counted for a call says as much as this sighting of an answer of the same call."""
    if answer.rank == WEAK:
        return True
    if answer.request_uri is None:
        return bool(row.event_key == answer.event_key)
    return bool(row.key == answer.move_key and row.rank >= answer.standing)


def is_beaten(row: Any, answer: Answer) -> bool:  # noqa: ANN401 - a row of `event`
    """Whether the sighting is a better one of the same answer: it takes the row's place."""
    return row.key in {answer.move_key, answer.event_key, answer.call_key}


def count_answers(
    connection: Connection,
    fresh: Mapping[str, Verdict],
    known: Mapping[str, Known],
    ids: Mapping[str, int],
    now: datetime,
) -> None:
    """Notes the answers as counted for their remaps and refusals; `known` and `ids` are by identity."""
    kept_packed = pack(connection, fresh.values(), known, ids, now)
    rows = [
        {
            "key": key,
            "event_key": one.answer.event_key,
            "call_key": one.answer.call_key,
            "remap_id": ids[one.identity] if isinstance(one, Learnt) else None,
            "refusal_id": None if isinstance(one, Learnt) else ids[one.identity],
            "rank": one.answer.standing,
            "peer": one.answer.peer_text,
            "method": evidence.method_text(one.answer),
            "seen_at": one.answer.seen_at or now,
        }
        for key, one in fresh.items()
        if key not in kept_packed
    ]
    insert(connection, event, rows)


def retract(connection: Connection, move_keys: Iterable[str], node: str) -> Doubted:
    """Takes back answers that were relayed copies of others."""
    doubted = Doubted(node)
    for part in chunks(move_keys):
        query = select(event).where(event.c.key.in_(part))
        lock_keys(connection, (row.call_key for row in connection.execute(query)))
        for row in connection.execute(query).all():
            uncount(connection, row, doubted)
    return doubted


def refused_among(connection: Connection, move_keys: Iterable[str]) -> set[str]:
    """Those of the answers that were counted under a refusal."""
    found: set[str] = set()
    for part in chunks(move_keys):
        query = select(event.c.key).where(event.c.key.in_(part), event.c.refusal_id.is_not(None))
        found.update(connection.scalars(query))
    return found


def uncount(connection: Connection, row: Any, doubted: Doubted) -> None:  # noqa: ANN401 - a row of `event`
    """Takes one counted answer back from all counters it went into."""
    for number, table in ((row.remap_id, remap), (row.refusal_id, refusal)):
        if number is not None:
            lock_keys(connection, connection.scalars(select(table.c.identity).where(table.c.id == number)).all())
    connection.execute(delete(event).where(event.c.key == row.key))
    if row.refusal_id is not None:
        _take_off(connection, refusal, refusal.c.id == row.refusal_id)
        doubted.refusals.add(row.refusal_id)
    if row.remap_id is not None:
        is_authentic = row.rank > WHOLE
        if is_authentic:
            in_service.take_back(connection, doubted.node, row.remap_id, row.seen_at)
        _take_off(connection, remap, remap.c.id == row.remap_id)
        for table, column in ((remap_peer, "peer"), (remap_method, "method")):
            which = (table.c.remap_id == row.remap_id) & (table.c[column] == getattr(row, column))
            _take_off(connection, table, which, *(["authentic_calls"] if is_authentic else []))
        doubted.remaps.add(row.remap_id)


def _take_off(connection: Connection, table: Any, which: Any, *also: str) -> None:  # noqa: ANN401 - a table with `calls`, a condition on it
    connection.execute(update(table).where(which).values({name: table.c[name] - 1 for name in ("calls", *also)}))


def drop_empty(connection: Connection, doubted: Doubted) -> None:
    """Removes what nothing speaks for any more; a remap that somebody has decided on stays.

    One that has lost its last authentic sighting is unkeyed again (R39).
    """
    for part in chunks(doubted.refusals):
        connection.execute(delete(refusal).where(refusal.c.id.in_(part), refusal.c.calls <= 0))
    for part in chunks(doubted.remaps):
        for child in (remap_peer, remap_method):
            connection.execute(delete(child).where(child.c.remap_id.in_(part), child.c.calls <= 0))
        empty = (remap.c.id.in_(part)) & (remap.c.calls <= 0)
        untouched = (remap.c.state == State.PENDING) & remap.c.decided_at.is_(None)
        gone = connection.scalars(select(remap.c.id).where(empty, untouched)).all()
        connection.execute(delete(evidence_table).where(evidence_table.c.remap_id.in_(gone)))
        connection.execute(delete(remap).where(remap.c.id.in_(gone), untouched))
        authentic = select(remap_peer.c.remap_id).where(remap_peer.c.authentic_calls > 0)
        lost = (remap.c.id.in_(part)) & (remap.c.authenticity > Authenticity.UNKEYED.value)
        connection.execute(
            update(remap)
            .where(lost, remap.c.id.not_in(authentic.where(remap_peer.c.remap_id.in_(part))))
            .values(authenticity=Authenticity.UNKEYED.value)
        )


OWN_ROWS = 1_000
"""Answers of one remap within an hour that keep a row each."""

MOST_PACKED = 8_192
"""Keys in one pack; a remap has sixteen."""

_KEY_BYTES = 16
_HOUR = timedelta(hours=1)


def packed_among(connection: Connection, verdicts: Iterable[Verdict], known: Mapping[str, Known]) -> set[str]:
    """Those of the verdicts' move keys that are in a pack; `known` are the remaps that are there, by identity."""
    wanted: dict[int, set[str]] = defaultdict(set)
    for one in verdicts:
        if isinstance(one, Learnt) and one.identity in known and known[one.identity].is_packed:
            wanted[known[one.identity].number].add(one.answer.move_key)
    found: set[str] = set()
    for numbers in chunks(wanted):
        query = select(event_pack.c.remap_id, event_pack.c.content).where(event_pack.c.remap_id.in_(numbers))
        for number, content in connection.execute(query):
            found |= wanted[number] & set(_split(content))
    return found


def pack(
    connection: Connection,
    fresh: Collection[Verdict],
    known: Mapping[str, Known],
    ids: Mapping[str, int],
    now: datetime,
) -> set[str]:
    """Packs the keys of what exceeds `OWN_ROWS`; gives them. Lesser sightings keep their rows: a better may come."""
    packed: set[str] = set()
    for identity in _busy(fresh, known):
        number = ids[identity]
        ones = [
            one for one in fresh if isinstance(one, Learnt) and one.identity == identity and one.answer.rank == WHOLE
        ]
        if not ones:
            continue
        last = max(one.answer.seen_at or now for one in ones)
        room = max(0, OWN_ROWS - _rows_within(connection, number, last))
        keys = [one.answer.move_key for one in ones[room:]]
        _append(connection, number, keys, last)
        packed.update(keys)
    return packed


def _busy(fresh: Collection[Verdict], known: Mapping[str, Known]) -> list[str]:
    """The identities of those remaps that can have more rows than they may: nearly none."""
    seen = Counter(one.identity for one in fresh if isinstance(one, Learnt))
    return [one for one, calls in seen.items() if calls + (known[one].calls if one in known else 0) > OWN_ROWS]


def _rows_within(connection: Connection, number: int, last: datetime) -> int:
    query = select(func.count()).select_from(event).where(event.c.remap_id == number)
    return connection.scalars(query.where(event.c.seen_at > last - _HOUR, event.c.seen_at <= last + _HOUR)).one()


def _append(connection: Connection, number: int, keys: Iterable[str], last: datetime) -> None:
    parts: dict[int, list[str]] = defaultdict(list)
    for key in keys:
        parts[int(key[0], 16)].append(key)
    table = event_pack.c
    rows: dict[int, Any] = {
        row.part: row.content for row in connection.execute(select(event_pack).where(table.remap_id == number))
    }
    for part, added in parts.items():
        content = (rows.get(part, b"") + bytes.fromhex("".join(added)))[-MOST_PACKED * _KEY_BYTES :]
        values = {"content": content, "seen_at": last}
        if part in rows:
            connection.execute(update(event_pack).where(table.remap_id == number, table.part == part).values(**values))
        else:
            connection.execute(event_pack.insert().values(remap_id=number, part=part, **values))


def _split(content: bytes) -> Iterable[str]:
    text = content.hex()
    return (text[at : at + 2 * _KEY_BYTES] for at in range(0, len(text), 2 * _KEY_BYTES))
