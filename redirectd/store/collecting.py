"""Committing what was read: sightings into remaps and refusals, each transaction counted once (R8, R30, R31)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, func, select

from redirectd.collect.batch import Batch
from redirectd.collect.policy import Policy
from redirectd.collect.verdict import Learnt, Refused, Verdict, digest
from redirectd.sip.text import printable
from redirectd.store import event_log, evidence, in_service, settings, sightings
from redirectd.store.budget import OVER_BUDGET, Budgets
from redirectd.store.remap import State
from redirectd.store.schema import loss, quarantine, refusal, remap, remap_incoming, remap_method, remap_peer
from redirectd.store.sightings import Doubted, Known, SeenAgain, best_of, content_of, known_remaps, see_again, times
from redirectd.store.statements import chunks, insert_missing, insert_or_add
from redirectd.store.turns import lock_keys

MAX_QUARANTINED = 10_000
"""Unreadable records that are kept; more are counted as lost."""

HOURLY_QUARANTINED, HOURLY_QUARANTINED_BYTES = 500, 4 << 20
"""What one source may add to it in an hour, so that one sender can't fill it for the others; more is counted (R46)."""

MAX_QUARANTINED_BYTES = 64 << 20
"""Bytes of all of them together: a record alone has up to 64 KiB."""


_HOUR = timedelta(hours=1)


@dataclass(slots=True)
class Recorded:
    """What one batch changed: 301s counted for the first time, those known already, remaps made and seen again, ..."""

    sightings: int = 0
    known: int = 0
    remaps_new: int = 0
    remaps_updated: int = 0
    unpaired: int = 0
    refused: int = 0
    unparsed: int = 0
    over_budget: int = 0


def record(connection: Connection, batch: Batch, *, node: str, now: datetime) -> Recorded:
    """Stores a batch within the caller's transaction, which also holds the position. Replays change nothing.

    Only who stores the same calls or remaps at the same time is waited for.
    """
    result = Recorded()
    waiting: Sequence[event_log.NewEvent] = ()
    if batch.verdicts or batch.retracted or batch.quarantined:
        waiting = _record_answers(connection, batch, node, now, result)
    _losses(connection, batch, node, now)
    if batch.proven:
        settings.note_proven(connection, node, batch.source)
    _report(connection, batch, waiting, node, now)
    return result


def _record_answers(
    connection: Connection, batch: Batch, node: str, now: datetime, result: Recorded
) -> list[event_log.NewEvent]:
    """Counts what is new of a batch into `result`; gives the events of the remaps that it has made."""
    verdicts = batch.verdicts.values()
    routed = in_service.routed(connection, node, {one.old_hash for one in verdicts if isinstance(one, Learnt)})
    lock_keys(connection, (key for one in verdicts for key in (one.answer.call_key, one.identity)))
    doubted = sightings.retract(connection, batch.retracted, node)
    known = known_remaps(connection, {one.identity for one in verdicts if isinstance(one, Learnt)})
    fresh = _fresh(connection, batch.verdicts, known, doubted, result)
    if batch.policy is not None:
        _keep_to_budgets(connection, batch, batch.policy, fresh, known, node, now, result)
    learnt = [one for one in fresh.values() if isinstance(one, Learnt)]
    refused = [one for one in fresh.values() if isinstance(one, Refused)]
    if batch.quarantined or any(one.unparsed for one in refused):
        lock_keys(connection, [digest("quarantine")])  # it is bounded as a whole
    remap_ids = _remaps(connection, learnt, known, now, result)
    authentic = [one for one in learnt if one.answer.authenticity.is_authentic]
    in_service.note_answers(connection, routed, authentic, now)
    in_service.note_waits(connection, ((remap_ids[one.identity], one) for one in authentic))
    refusal_ids = _refusals(connection, refused, now)
    sightings.count_answers(connection, fresh, known, {**remap_ids, **refusal_ids}, now)
    for one in refused:
        result.unpaired += one.rule == "R7"
        result.refused += one.rule not in {"R7", "R46"} and not one.unparsed
        result.unparsed += one.unparsed
    evidence.sample(connection, batch.source, learnt, known, remap_ids, now)
    if batch.quarantined or result.unparsed:
        _quarantine(connection, batch, refused, now, result)
    sightings.drop_empty(connection, doubted)
    return _waiting(learnt, known, remap_ids, batch.source, node, now)


def _report(
    connection: Connection, batch: Batch, waiting: Sequence[event_log.NewEvent], node: str, now: datetime
) -> None:
    """Writes the events of a batch: the remaps that it has made, what was lost, and the budgets that were used up."""
    event_log.emit(connection, waiting)
    lost = {kind: count for kind, count in batch.losses.items() if kind != OVER_BUDGET}
    event_log.losses(connection, node=node, source=batch.source, counts=lost, now=now)
    if batch.over_budget:
        why = "; ".join(printable(reason, 200) for reason in list(batch.over_budget)[:3])
        event_log.alarm(connection, node=node, source=batch.source, what=OVER_BUDGET, why=why, now=now)


def _waiting(
    learnt: Iterable[Learnt],
    known: Container[str],
    ids: Mapping[str, int],
    source: str,
    node: str,
    now: datetime,
) -> list[event_log.NewEvent]:
    """The remaps that a batch has made, each once."""
    made = {one.identity: one for one in learnt if one.identity not in known}
    return [
        event_log.NewEvent(
            kind=event_log.EventKind.PENDING,
            at=now,
            remap_id=ids[identity],
            node=node,
            source=source,
            detail={
                "action": "learn",
                "old_uri": one.old_uri,
                "new_uri": one.candidates[0].uri if len(one.candidates) == 1 else None,
            },
        )
        for identity, one in made.items()
    ]


def _keep_to_budgets(
    connection: Connection,
    batch: Batch,
    policy: Policy,
    fresh: dict[str, Verdict],
    known: Mapping[str, Known],
    node: str,
    now: datetime,
    result: Recorded,
) -> None:
    """Makes sightings that would bring more new remaps than an hour may into refusals, which are only counted (R46)."""
    new: dict[str, list[Learnt]] = defaultdict(list)
    for one in fresh.values():
        if isinstance(one, Learnt) and one.identity not in known:
            new[one.identity].append(one)
    over = Budgets(connection, policy, node, batch.source, now).over(new) if new else {}
    for key, one in fresh.items():
        if isinstance(one, Learnt) and (reason := over.get(one.identity)):
            counted_as = f"{batch.source}\0{reason}"
            fresh[key] = Refused(answer=one.answer, rule="R46", reason=reason, counted_as=counted_as)
            result.over_budget += 1
            batch.over_budget[reason] = batch.over_budget.get(reason, 0) + 1
    batch.lose(OVER_BUDGET, result.over_budget)


def _fresh(
    connection: Connection,
    verdicts: Mapping[str, Verdict],
    known_before: Mapping[str, Known],
    doubted: Doubted,
    result: Recorded,
) -> dict[str, Verdict]:
    """The verdicts not counted yet, by move key; a better sighting of a counted answer replaces the lesser one."""
    calls = sightings.of_calls(connection, {one.answer.call_key for one in verdicts.values()})
    packs = sightings.packed_among(connection, verdicts.values(), known_before)
    fresh: dict[str, Verdict] = {}
    for verdict in verdicts.values():
        answer = verdict.answer
        known = calls[answer.call_key]
        if answer.move_key in packs or any(sightings.covers(row, answer) for row in known):
            result.known += 1
            continue
        beaten = [row for row in known if sightings.is_beaten(row, answer)]
        for row in beaten:
            sightings.uncount(connection, row, doubted)
            known.remove(row)
        fresh[answer.move_key] = verdict
        result.sightings += not beaten
        result.known += bool(beaten)
    return fresh


def _remaps(
    connection: Connection, learnt: Iterable[Learnt], known: Mapping[str, Known], now: datetime, result: Recorded
) -> dict[str, int]:
    """Adds sightings to their remaps, making those that are new; gives the ids by identity."""
    groups: dict[str, list[Learnt]] = defaultdict(list)
    for one in learnt:
        groups[one.identity].append(one)
    if not groups:
        return {}
    again = [SeenAgain.of(known[identity], ones) for identity, ones in groups.items() if identity in known]
    see_again(connection, again, now)
    missing = [identity for identity in groups if identity not in known]
    rows = [_new_row(groups[identity], now) for identity in missing]
    insert_or_add(connection, remap, rows, ["identity"], ["calls"], [])  # another node may be making the same one
    ids = _ids(connection, remap, missing) | {one: known[one].number for one in groups if one in known}
    result.remaps_new += len(missing)
    result.remaps_updated += len(again)
    _children(connection, ids, groups, {one for one in groups if one in known and known[one].is_authentic}, now)
    return ids


def _ids(connection: Connection, table: Table, identities: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in chunks(identities):
        rows = connection.execute(select(table.c.identity, table.c.id).where(table.c.identity.in_(part))).all()
        found.update((row[0], row[1]) for row in rows)
    return found


def _new_row(ones: list[Learnt], now: datetime) -> dict[str, Any]:
    """A new pending remap."""
    authentic = [one for one in ones if one.answer.authenticity.is_authentic]
    first, last = times(authentic or ones, now)
    one = ones[0]
    return {
        "identity": one.identity,
        "old_hash": one.old_hash,
        "state": State.PENDING,
        "kind": one.kind,
        "old_key": one.old_key,
        "authenticity": best_of(ones),
        "calls": len(ones),
        "first_seen": first,
        "last_seen": last,
        "note": "",
        **content_of(ones, now),
    }


def _children(
    connection: Connection,
    ids: Mapping[str, int],
    groups: Mapping[str, list[Learnt]],
    sure: Container[str],
    now: datetime,
) -> None:
    """Peers, methods and incoming URIs with their counts.

    Where an authentic sighting is behind a remap, as behind those in `sure`, only such ones say what was asked for
    (R5, R39): targets can match on it.
    """
    peers: dict[tuple[int, str], dict[str, Any]] = {}
    methods: defaultdict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
    incoming: defaultdict[tuple[int, str, bool], int] = defaultdict(int)
    for identity, ones in groups.items():
        number = ids[identity]
        is_sure = identity in sure or any(one.answer.authenticity.is_authentic for one in ones)
        for one in ones:
            answer = one.answer
            authentic = int(answer.authenticity.is_authentic)
            _see_peer(peers, number, answer.peer_text, answer.seen_at or now, authentic)
            method = methods[number, evidence.method_text(answer)]
            method[0] += 1
            method[1] += authentic
            if one.incoming and (authentic or not is_sure):
                incoming[number, one.incoming, one.forked] += 1
    calls = ["calls", "authentic_calls"]
    latest = ["last_seen", "authentic_last"]
    insert_or_add(
        connection, remap_peer, list(peers.values()), ["remap_id", "peer"], calls, latest, first=["authentic_first"]
    )
    rows: list[dict[str, Any]] = [
        {"remap_id": number, "method": method, "calls": counts[0], "authentic_calls": counts[1]}
        for (number, method), counts in methods.items()
    ]
    insert_or_add(connection, remap_method, rows, ["remap_id", "method"], calls, [])
    rows = [
        {"remap_id": number, "hash": digest(uri), "uri": uri, "forked": forked, "calls": count}
        for (number, uri, forked), count in incoming.items()
    ]
    insert_or_add(connection, remap_incoming, rows, ["remap_id", "hash"], ["calls"], ["forked"])


def _see_peer(
    peers: dict[tuple[int, str], dict[str, Any]], number: int, peer: str, at: datetime, authentic: int
) -> None:
    """Adds a sighting to its peer's row; the times of the authentic ones are kept apart (R29, R39)."""
    row = peers.get((number, peer))
    if row is None:
        row = peers[number, peer] = {"remap_id": number, "peer": peer, "calls": 0, "first_seen": at, "last_seen": at}
        row |= {"authentic_calls": 0, "authentic_first": None, "authentic_last": None}
    row["calls"] += 1
    row["first_seen"] = min(row["first_seen"], at)
    row["last_seen"] = max(row["last_seen"], at)
    if authentic:
        row["authentic_calls"] += 1
        row["authentic_first"] = min(row["authentic_first"] or at, at)
        row["authentic_last"] = max(row["authentic_last"] or at, at)


def _refusals(connection: Connection, refused: Iterable[Refused], now: datetime) -> dict[str, int]:
    groups: dict[str, list[Refused]] = defaultdict(list)
    for one in refused:
        groups[one.identity].append(one)
    rows = []
    for identity, ones in groups.items():
        first, last = times(ones, now)
        one = ones[0]
        contacts = ", ".join(one.answer.contacts)
        rows.append(
            {
                "identity": identity,
                "rule": one.rule,
                "reason": one.reason,
                "method": evidence.method_text(one.answer),
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
    known = _ids(connection, quarantine, [row["identity"] for row in rows])
    result.unparsed += sum(row["identity"] not in known for row in rows)
    rows += [
        evidence.quarantined(
            batch.source,
            one.answer.position,
            one.answer.dialect,
            one.reason,
            one.content or one.answer.text.encode(),
            # A line without a proof may name any hour, and so escape the bound of each.
            (one.answer.seen_at if one.answer.authenticity.is_authentic else None) or now,
        )
        for one in refused
        if one.unparsed
    ]
    known = _ids(connection, quarantine, [row["identity"] for row in rows])
    rows = [row for row in rows if row["identity"] not in known]
    if not rows:
        return
    allowed = _within_the_hour(connection, batch.source[:255], rows)
    batch.lose("quarantine-over-budget", len(rows) - len(allowed))
    rows = allowed
    room = _room(connection, rows)
    batch.lose("quarantine-full", len(rows[room:]))
    insert_missing(connection, quarantine, rows[:room], ["identity"])


def _within_the_hour(connection: Connection, source: str, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that the source may still add in the hour that each was seen in."""
    size = func.coalesce(func.sum(func.length(quarantine.c.content)), 0)
    held: dict[datetime, tuple[int, int]] = {}
    allowed = []
    for row in rows:
        hour = row["seen_at"].astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        if hour not in held:
            seen = quarantine.c.seen_at
            query = select(func.count(), size).where(quarantine.c.source == source, seen >= hour, seen < hour + _HOUR)
            kept, content = connection.execute(query).one()
            held[hour] = int(kept), int(content)
        count, content = held[hour][0] + 1, held[hour][1] + len(row["content"])
        if count <= HOURLY_QUARANTINED and content <= HOURLY_QUARANTINED_BYTES:
            held[hour] = count, content
            allowed.append(row)
    return allowed


def _room(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    """How many of the rows still fit into the quarantine."""
    size = func.coalesce(func.sum(func.length(quarantine.c.content)), 0)
    kept, held = connection.execute(select(func.count(), size).select_from(quarantine)).one()
    room = max(0, MAX_QUARANTINED - int(kept))
    for number, row in enumerate(rows[:room]):
        held += len(row["content"])
        if held > MAX_QUARANTINED_BYTES:
            return number
    return room


def _losses(connection: Connection, batch: Batch, node: str, now: datetime) -> None:
    rows = [
        {"node": node, "source": batch.source[:190], "kind": kind, "count": count, "last_at": now}
        for kind, count in batch.losses.items()
        if count
    ]
    insert_or_add(connection, loss, rows, ["node", "source", "kind"], ["count"], ["last_at"])
