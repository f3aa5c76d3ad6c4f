"""Taking remaps from rows into the database, by the rules that a 301 of the network must pass too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, insert, select

from redirectd.collect.answer import Answer
from redirectd.collect.policy import Policy
from redirectd.collect.rules import KINDS as METHOD_KINDS
from redirectd.collect.rules import judge
from redirectd.collect.verdict import Learnt, digest
from redirectd.dialects.frame import Authenticity
from redirectd.errors import RedirectdError
from redirectd.review.approvals import ContradictionError
from redirectd.review.decide import approve, load, reject
from redirectd.review.decision import Decision
from redirectd.review.exchange import RowFault
from redirectd.review.portable import Portable
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri, UriError, parse_uri
from redirectd.store import audit
from redirectd.store.adding import as_json
from redirectd.store.database import Database
from redirectd.store.remap import RemapTarget, State
from redirectd.store.remaps import leading_to
from redirectd.store.schema import remap, remap_incoming, remap_method, remap_peer
from redirectd.store.states import BIRTHS

_METHODS = {"user": "INVITE", "gateway": "OPTIONS", "registrar": "REGISTER"}


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


class _Back(Exception):  # noqa: N818 - no error: it takes the transaction back
    """Leaves a transaction without committing it."""


def run_import(
    database: Database,
    rows: Iterable[tuple[int, Portable | RowFault]],
    decision: Decision,
    policy: Policy,
    *,
    with_approvals: bool,
    dry_run: bool = False,
    skip_faults: bool = False,
) -> tuple[Imported, bool]:
    """Imports rows in one transaction, and says if it is kept: a dry run never is, one with faults only if skipped.

    A dry run does all of it and takes it back: what it says is what the import would come to.
    """
    result, stands = Imported(), False
    with suppress(_Back), database.begin() as connection:
        result = import_rows(connection, rows, decision, policy, with_approvals=with_approvals)
        stands = not dry_run and (skip_faults or not result.faults)
        if not stands:
            raise _Back
    return result, stands


def import_rows(
    connection: Connection,
    rows: Iterable[tuple[int, Portable | RowFault]],
    decision: Decision,
    policy: Policy,
    *,
    with_approvals: bool,
) -> Imported:
    """Takes every row that is right, within the caller's transaction; who wants all or nothing rolls back on faults.

    Each row passes the rules R11 to R28 as an answer of the network does. Rows that are approved come as pending;
    `with_approvals` has them approved by `decision.actor`, so that holds (R27), cycles (R34) and what is approved (R44)
    forbid what they forbid a person. A remap that is here already keeps what is known of it; a pending one takes the
    row's decision.
    """
    result = Imported()
    for row, one in rows:
        result.rows += 1
        if isinstance(one, RowFault):
            result.faults.append(one)
            continue
        try:
            # A row's own transaction within the caller's: what refuses a row must not leave half of it behind.
            with connection.begin_nested():
                number = _take(connection, one, decision, policy, result)
        except RedirectdError as error:
            result.faults.append(RowFault(row, error.why))
            continue
        if with_approvals and one.state is State.APPROVED:
            _approve(connection, row, number, one, decision, policy, result)
    return result


def _take(connection: Connection, one: Portable, decision: Decision, policy: Policy, result: Imported) -> int:
    """The id of the row's remap, made or found."""
    one = replace(one, kind=_kind(one))
    learnt = _learn(one, decision, policy)
    query = select(remap.c.id, remap.c.state).where(remap.c.identity == learnt.identity)
    found = connection.execute(query).one_or_none()
    if found is None:
        number = _insert(connection, one, learnt, decision)
        result.new += 1
        return number
    if one.state is State.REJECTED and found.state == State.PENDING:
        reject(connection, found.id, decision)
    elif one.state not in {State.PENDING, State.APPROVED, State(found.state)}:
        why = f"here it is remap {found.id} and {found.state}, in the row {one.state}"
        raise RedirectdError(f"remap {found.id}", why, "decide on it by hand, or take the row out")
    result.known += 1
    return int(found.id)


def _approve(
    connection: Connection,
    row: int,
    number: int,
    one: Portable,
    decision: Decision,
    policy: Policy,
    result: Imported,
) -> None:
    known = load(connection, number)
    if known.state is State.APPROVED:
        return
    places = [target.uri for target in known.contacts]
    choice = places.index(one.new_uri) + 1 if one.new_uri in places else None
    by = replace(decision, contact=choice, replace=frozenset())
    try:
        try:
            with connection.begin_nested():
                approve(connection, number, by, policy)
        except ContradictionError as error:
            named = decision.replace & set(error.against)
            if not named:
                raise
            with connection.begin_nested():
                approve(connection, number, replace(by, replace=named), policy)
    except RedirectdError as error:
        result.held.append(RowFault(row, error.why))
    else:
        result.approved += 1


def _kind(one: Portable) -> str:
    """What the row moves: as it says, or as its methods do, or a user where the old URI has one."""
    kinds = {METHOD_KINDS.get(name) for name in one.methods}
    told = one.kind or (kinds.pop() if len(kinds) == 1 else None)
    try:
        old = parse_uri(one.old_uri)
    except UriError as error:
        raise _fault(f"old_uri can't be read: {error.why}") from error
    has_user = isinstance(old, SipUri) and old.user is not None
    if told is None and isinstance(old, SipUri) and not has_user:
        raise _fault("old_uri has no user: say its kind: gateway where a whole host has moved, or user, or registrar")
    if told in {"gateway", "registrar"} and has_user:
        raise _fault(f"old_uri has a user, and a {told} moves as a whole: leave the user out, or say kind user")
    return told or "user"


def _learn(one: Portable, decision: Decision, policy: Policy) -> Learnt:
    """The row as if a peer had reported it, judged by the collector's rules."""
    method = _METHODS.get(one.kind)
    if method is None:
        raise _fault(f"kind {printable(one.kind, 40)} is none of {', '.join(_METHODS)}")
    answer = Answer(
        status=301,
        method=method,
        call_id="",
        cseq=None,
        fork="",
        request_uri=one.old_uri,
        contacts=tuple(f"<{target.uri}>;q={target.q:g}" for target in one.contacts),
        contact_headers=len(one.contacts),
        seen_at=decision.at,
    )
    verdict = judge(answer, policy)
    if not isinstance(verdict, Learnt):
        raise _fault(f"{verdict.rule}: {verdict.reason}" if verdict else "it moves nothing")
    uris = [candidate.uri for candidate in verdict.candidates]
    if one.new_uri is not None and one.new_uri not in uris:
        raise _fault(f"new_uri is none of its Contacts as they can be routed: {', '.join(uris[:5])}")
    if one.state is State.APPROVED and one.new_uri is None:
        raise _fault("it is approved, and new_uri is missing")
    if wrong := [name for name in one.methods if METHOD_KINDS.get(name) != one.kind]:
        raise _fault(f"method {printable(wrong[0], 40)} moves no {one.kind}")
    return verdict


def _fault(why: str) -> RedirectdError:
    return RedirectdError("row", why, "fix the row, or take it out")


def _insert(connection: Connection, one: Portable, learnt: Learnt, decision: Decision) -> int:
    """A new remap, and its audit entry. One that is approved elsewhere begins as pending."""
    state = one.state if one.state in BIRTHS["import"] else State.PENDING
    first = one.first_seen or one.last_seen or decision.at
    last = max(one.last_seen or first, first)
    told = {target.uri: target for target in one.contacts}
    contacts = [told.get(c.uri, RemapTarget(c.uri, c.q, c.raw, c.dropped)) for c in learnt.candidates]
    sole = contacts[0].uri if len(contacts) == 1 and not learnt.flags.get("ambiguous") else None
    key = connection.execute(
        insert(remap).values(
            identity=learnt.identity,
            old_hash=learnt.old_hash,
            state=state,
            kind=learnt.kind,
            old_key=learnt.old_key,
            old_uri=learnt.old_uri,
            **leading_to(learnt.kind, one.new_uri or sole),
            contacts=json.dumps([{"uri": c.uri, "q": c.q, "raw": c.raw, "dropped": c.dropped} for c in contacts]),
            flags=as_json({**learnt.flags, **one.held}),
            authenticity=_authenticity(one).value,
            facts=json.dumps({**learnt.facts, **one.facts}),
            calls=one.calls,
            first_seen=first,
            last_seen=last,
            replaces=connection.scalar(
                select(remap.c.id).where(remap.c.old_hash == learnt.old_hash, remap.c.state == State.APPROVED)
            ),
            note=one.note,
            expires_at=one.expires_at,
            # Named as decided on, so that no automatic approval (R29) rests on evidence that a file claims.
            decided_at=decision.at,
            decided_by=decision.actor,
        )
    ).inserted_primary_key
    assert key is not None
    number = int(key[0])
    _insert_children(connection, number, one, first=first, last=last)
    entry = audit.AuditEntry(
        at=decision.at,
        actor=decision.actor,
        action="import",
        remap_id=number,
        new_state=state,
        reason=decision.reason,
        detail={"old_uri": learnt.old_uri, "new_uri": one.new_uri},
    )
    audit.append(connection, entry)
    return number


def _authenticity(one: Portable) -> Authenticity:
    """As it was where the row comes from (R39); a row that a person wrote rests on that person's decision."""
    if "unproven" in one.held:
        return Authenticity.UNPROVEN
    return Authenticity.UNKEYED if "unkeyed" in one.held else Authenticity.FRAMED


def _believed(calls: int, first: object, last: object, *, authentic: bool) -> dict[str, object]:
    if not authentic:
        return {"authentic_calls": 0, "authentic_first": None, "authentic_last": None}
    return {"authentic_calls": calls, "authentic_first": first, "authentic_last": last}


def _insert_children(connection: Connection, number: int, one: Portable, *, first: object, last: object) -> None:
    authentic = _authenticity(one).is_authentic
    calls_of = {printable(peer, 80): calls for peer, calls in one.peer_calls.items()}
    peers = [
        {"remap_id": number, "peer": peer, "calls": calls, "first_seen": first, "last_seen": last}
        | _believed(calls, first, last, authentic=authentic)
        for peer, calls in calls_of.items()
    ]
    # A person who writes a row by hand and names no method means calls.
    methods = [
        {"remap_id": number, "method": method, "calls": one.calls, "authentic_calls": one.calls if authentic else 0}
        for method in dict.fromkeys(one.methods or (_METHODS[one.kind],))
    ]
    incoming = [
        {"remap_id": number, "hash": digest(uri), "uri": uri, "forked": one.incoming_forked, "calls": one.calls}
        for uri in dict.fromkeys(one.incoming)
    ]
    for table, rows in ((remap_peer, peers), (remap_method, methods), (remap_incoming, incoming)):
        if rows:
            connection.execute(insert(table), rows)
