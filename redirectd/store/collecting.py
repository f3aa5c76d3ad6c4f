"""Committing what was read: sightings into remaps and refusals, each transaction counted once (R8, R30, R31)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from redirectd.collect.batch import Batch
from redirectd.collect.verdict import Learnt, Refused, Verdict
from redirectd.sip.text import printable
from redirectd.store import evidence
from redirectd.store.remap import State
from redirectd.store.schema import event, loss, quarantine, refusal, remap, remap_incoming, remap_method, remap_peer
from redirectd.store.upsert import chunks, insert_missing, insert_or_add


@dataclass(slots=True)
class Recorded:
    """What one batch changed: 301s counted for the first time, remaps made and remaps seen again, and the rest."""

    sightings: int = 0
    remaps_new: int = 0
    remaps_updated: int = 0
    unpaired: int = 0
    refused: int = 0
    unparsed: int = 0


def record(connection: Connection, batch: Batch, *, node: str, now: datetime) -> Recorded:
    """Stores a batch within the caller's transaction, which also holds the position. Replays change nothing."""
    result = Recorded()
    fresh = _fresh(connection, batch.verdicts, result)
    learnt = {key: one for key, one in fresh.items() if isinstance(one, Learnt)}
    refused = {key: one for key, one in fresh.items() if isinstance(one, Refused)}
    remap_ids = _remaps(connection, learnt.values(), now, result)
    refusal_ids = _refusals(connection, refused.values(), now)
    rows = [
        {
            "key": key,
            "call_key": one.answer.call_key,
            "remap_id": remap_ids.get(one.identity) if isinstance(one, Learnt) else None,
            "refusal_id": refusal_ids.get(one.identity) if isinstance(one, Refused) else None,
            "rank": one.answer.rank,
            "seen_at": one.answer.seen_at or now,
        }
        for key, one in fresh.items()
    ]
    if rows:
        connection.execute(event.insert(), rows)
    for one in refused.values():
        result.unpaired += one.rule == "R7"
        result.refused += one.rule != "R7" and not one.unparsed
        result.unparsed += one.unparsed
    evidence.sample(connection, batch.source, learnt.values(), remap_ids, now)
    _quarantine(connection, batch, refused.values(), now, result)
    _losses(connection, batch, node, now)
    return result


def _fresh(connection: Connection, verdicts: Mapping[str, Verdict], result: Recorded) -> dict[str, Verdict]:
    """The verdicts not counted yet; a better telling of a counted answer takes the lesser one's place."""
    calls: dict[str, list[Any]] = defaultdict(list)
    for part in chunks({one.answer.call_key for one in verdicts.values()}):
        for row in connection.execute(select(event).where(event.c.call_key.in_(part))):
            calls[row.call_key].append(row)
    fresh: dict[str, Verdict] = {}
    for key, verdict in verdicts.items():
        known = calls[verdict.answer.call_key]
        if key == verdict.answer.call_key:  # weak: any telling of the same call is at least as good
            beaten: list[Any] = []
            if known:
                continue
        else:
            if any(row.key == key and row.rank >= verdict.answer.rank for row in known):
                continue
            beaten = [row for row in known if row.key in {key, verdict.answer.call_key}]
        for row in beaten:
            _uncount(connection, row)
        fresh[key] = verdict
        result.sightings += not beaten
    return fresh


def _uncount(connection: Connection, row: Any) -> None:  # noqa: ANN401 - a row of `event`
    """Takes back what a lesser telling had counted, and the refusal or remap that rested on it alone."""
    connection.execute(delete(event).where(event.c.key == row.key))
    for table, number in ((remap, row.remap_id), (refusal, row.refusal_id)):
        if number is not None:
            connection.execute(update(table).where(table.c.id == number).values(calls=table.c.calls - 1))
            gone = (table.c.id == number) & (table.c.calls <= 0)
            if table is remap:
                gone &= table.c.state == State.PENDING
            connection.execute(delete(table).where(gone))


def _remaps(connection: Connection, learnt: Iterable[Learnt], now: datetime, result: Recorded) -> dict[str, int]:
    """Adds sightings to their remaps, making those that are new; gives the ids by identity."""
    groups: dict[str, list[Learnt]] = defaultdict(list)
    for one in learnt:
        groups[one.identity].append(one)
    if not groups:
        return {}
    known = _ids(connection, remap, groups)
    missing = [identity for identity in groups if identity not in known]
    approved = _approved(connection, {groups[identity][0].old_hash for identity in missing})
    rows = [_new_row(groups[identity], approved, now) for identity in missing]
    insert_missing(connection, remap, rows, ["identity"])
    ids = {**known, **_ids(connection, remap, missing)}
    for identity, ones in groups.items():
        _add(connection, ids[identity], ones, now, is_new=identity not in known)
    result.remaps_new += len(missing)
    result.remaps_updated += len(known)
    _children(connection, ids, groups, now)
    return ids


def _ids(connection: Connection, table: Any, identities: Iterable[str]) -> dict[str, int]:  # noqa: ANN401 - remap or refusal
    found: dict[str, int] = {}
    for part in chunks(identities):
        rows = connection.execute(select(table.c.identity, table.c.id).where(table.c.identity.in_(part)))
        found.update((row.identity, row.id) for row in rows)
    return found


def _approved(connection: Connection, old_hashes: Iterable[str]) -> dict[str, int]:
    """The approved remap of each old key, which a new target would replace (R30)."""
    found: dict[str, int] = {}
    for part in chunks(old_hashes):
        query = select(remap.c.old_hash, remap.c.id).where(remap.c.old_hash.in_(part), remap.c.state == State.APPROVED)
        found.update((row.old_hash, row.id) for row in connection.execute(query))
    return found


def _times(ones: Iterable[Learnt | Refused], now: datetime) -> tuple[datetime, datetime]:
    times = [one.answer.seen_at or now for one in ones]
    return min(times), max(times)


def _new_row(ones: list[Learnt], approved: Mapping[str, int], now: datetime) -> dict[str, Any]:
    """A new pending remap without calls yet: another node may be making the same one."""
    one = ones[0]
    first, last = _times(ones, now)
    single = "ambiguous" not in one.flags and len(one.candidates) == 1
    return {
        "identity": one.identity,
        "old_hash": one.old_hash,
        "state": State.PENDING,
        "kind": one.kind,
        "old_key": one.old_key,
        "old_uri": one.old_uri,
        "new_uri": one.candidates[0].uri if single else None,
        "contacts": json.dumps(
            [{"uri": c.uri, "q": c.q, "raw": c.raw, "dropped": printable(c.dropped)} for c in one.candidates]
        ),
        "flags": json.dumps(dict(one.flags)),
        "facts": json.dumps(dict(one.facts)),
        "calls": 0,
        "first_seen": first,
        "last_seen": last,
        "replaces": approved.get(one.old_hash),
        "note": "",
        "expires_at": one.deadline,
    }


def _add(connection: Connection, number: int, ones: list[Learnt], now: datetime, *, is_new: bool) -> None:
    first, last = _times(ones, now)
    columns = remap.c
    connection.execute(update(remap).where(columns.id == number).values(calls=columns.calls + len(ones)))
    if is_new:
        return
    connection.execute(update(remap).where(columns.id == number, columns.first_seen > first).values(first_seen=first))
    newest = max(ones, key=lambda one: one.answer.seen_at or now)
    connection.execute(
        update(remap)
        .where(columns.id == number, columns.last_seen <= last)
        .values(last_seen=last, flags=json.dumps(dict(newest.flags)), expires_at=newest.deadline)
    )


def _children(
    connection: Connection, ids: Mapping[str, int], groups: Mapping[str, list[Learnt]], now: datetime
) -> None:
    """Peers, methods and incoming URIs with their counts."""
    peers: dict[tuple[int, str], dict[str, Any]] = {}
    methods: dict[tuple[int, str], dict[str, Any]] = {}
    incoming: dict[tuple[int, str], dict[str, Any]] = {}
    for identity, ones in groups.items():
        number = ids[identity]
        for one in ones:
            at = one.answer.seen_at or now
            peer = evidence.peer_text(one.answer)
            row = peers.setdefault(
                (number, peer), {"remap_id": number, "peer": peer, "calls": 0, "first_seen": at, "last_seen": at}
            )
            row["calls"] += 1
            row["last_seen"] = max(row["last_seen"], at)
            method = one.answer.method[:32]
            _count(methods, (number, method), {"remap_id": number, "method": method})
            if one.incoming:
                key = evidence.digest(one.incoming)
                base = {"remap_id": number, "hash": key, "uri": one.incoming, "forked": one.forked}
                _count(incoming, (number, key), base)
    insert_or_add(connection, remap_peer, list(peers.values()), ["remap_id", "peer"], ["calls"], ["last_seen"])
    insert_or_add(connection, remap_method, list(methods.values()), ["remap_id", "method"], ["calls"], [])
    insert_or_add(connection, remap_incoming, list(incoming.values()), ["remap_id", "hash"], ["calls"], ["forked"])


def _count(rows: dict[tuple[int, str], dict[str, Any]], key: tuple[int, str], base: dict[str, Any]) -> None:
    rows.setdefault(key, {**base, "calls": 0})["calls"] += 1


def _refusals(connection: Connection, refused: Iterable[Refused], now: datetime) -> dict[str, int]:
    groups: dict[str, list[Refused]] = defaultdict(list)
    for one in refused:
        groups[one.identity].append(one)
    rows = []
    for identity, ones in groups.items():
        first, last = _times(ones, now)
        one = ones[0]
        contacts = ", ".join(one.answer.contacts)
        rows.append(
            {
                "identity": identity,
                "rule": one.rule,
                "reason": one.reason,
                "method": one.answer.method[:32],
                "old_uri": one.old_uri,
                "new_text": printable(contacts),
                "calls": len(ones),
                "first_seen": first,
                "last_seen": last,
            }
        )
    insert_or_add(connection, refusal, rows, ["identity"], ["calls"], ["last_seen"])
    return _ids(connection, refusal, groups)


def _quarantine(
    connection: Connection, batch: Batch, refused: Iterable[Refused], now: datetime, result: Recorded
) -> None:
    """What looked like a 301 and could not be read, with its bytes, once each."""
    rows = [
        evidence.quarantined(batch.source, one.position, one.dialect, one.why, one.content, one.seen_at or now)
        for one in batch.quarantined
    ]
    known = {
        row.identity
        for part in chunks(row["identity"] for row in rows)
        for row in connection.execute(select(quarantine.c.identity).where(quarantine.c.identity.in_(part)))
    }
    result.unparsed += sum(row["identity"] not in known for row in rows)
    rows += [
        evidence.quarantined(
            batch.source,
            one.answer.position,
            one.answer.dialect,
            one.reason,
            one.answer.text.encode(),
            one.answer.seen_at or now,
        )
        for one in refused
        if one.unparsed
    ]
    insert_missing(connection, quarantine, rows, ["identity"])


def _losses(connection: Connection, batch: Batch, node: str, now: datetime) -> None:
    rows = [
        {"node": node, "source": batch.source, "kind": kind, "count": count, "last_at": now}
        for kind, count in batch.losses.items()
        if count
    ]
    insert_or_add(connection, loss, rows, ["node", "source", "kind"], ["count"], ["last_at"])
