"""Adding sightings to existing remaps: a few statements for a whole batch, however many remaps it reports."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, literal_column, select, update

from redirectd.collect.answer import WHOLE
from redirectd.collect.verdict import DOUBTFUL, Learnt, Refused, digest
from redirectd.dialects.frame import Authenticity
from redirectd.sip.text import printable
from redirectd.store import audit, remaps
from redirectd.store.bulk import run_many
from redirectd.store.known import Known
from redirectd.store.remap import State
from redirectd.store.schema import remap, remap_incoming
from redirectd.store.states import move_all, reopening
from redirectd.store.turns import take_turn
from redirectd.store.upsert import chunks

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
class Tellings:
    """What a batch reports of an existing remap: its answers, of which the `believed` ones say more than a count.

    Where an authentic sighting is behind the remap, or is among them, those are the authentic ones (R39).
    """

    known: Known
    ones: Sequence[Learnt]
    believed: Sequence[Learnt]

    @classmethod
    def of(cls, known: Known, ones: Sequence[Learnt]) -> Tellings:
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


def see_again(connection: Connection, told: Sequence[Tellings], now: datetime) -> None:
    """Adds to remaps that were known before: calls, state, holds, lifetime, and the times they were seen at."""
    spans = {one.known.number: times(one.believed, now) for one in told if one.believed}
    waiting = [one.known.number for one in told if one.known.state in _PUT_BACK and one.believed]
    _put_back(connection, {number: spans[number][1] for number in waiting}, now)
    _believe(connection, told, now)
    _renew(connection, told, now)
    rows = [
        {
            "of": one.known.number,
            "more": len(one.ones),
            "first": spans[one.known.number][0],
            "last": spans[one.known.number][1],
            "best": best_of(one.believed),
        }
        for one in told
        if one.believed
    ]
    run_many(connection, _SEEN, rows)
    run_many(
        connection, _COUNTED, [{"of": one.known.number, "more": len(one.ones)} for one in told if not one.believed]
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


def _believe(connection: Connection, told: Iterable[Tellings], now: datetime) -> None:
    """The first authentic sighting says all of a remap anew: equal route keys leave a forger room (R24, R39).

    What is approved stays as it was approved.
    """
    rows = [
        {"of": one.known.number} | {f"new_{name}": value for name, value in content_of(one.believed, now).items()}
        for one in told
        if not one.known.is_authentic and one.believed and one.believed[0].answer.authenticity.is_authentic
    ]
    run_many(connection, _BELIEVED, rows)
    for part in chunks(row["of"] for row in rows):
        undecided = select(remap.c.id).where(remap.c.id.in_(part), remap.c.state != State.APPROVED)
        connection.execute(delete(remap_incoming).where(remap_incoming.c.remap_id.in_(undecided)))


def _renew(connection: Connection, told: Iterable[Tellings], now: datetime) -> None:
    """Takes the newest whole answer's holds and lifetime over, as long as nobody has decided.

    What is approved keeps what it was approved with: no answer shortens or lengthens it.
    """
    with_facts: list[dict[str, Any]] = []
    without: list[dict[str, Any]] = []
    for one in told:
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
