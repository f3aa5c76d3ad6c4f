"""One remap as a reviewer needs it: its evidence as a ladder, what routing does today and would after an approval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from redirectd.collect.policy import Policy
from redirectd.plan.effective_table import Lookup, lookup, matching_key
from redirectd.plan.route import Approved, RouteKind
from redirectd.review.attention import with_attention
from redirectd.review.chain import alongside, inward, onward
from redirectd.review.decide import load
from redirectd.review.four_eyes import with_approvals
from redirectd.review.holds import needs, with_holds
from redirectd.sip.compare import equal
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.store import approved, audit, remaps
from redirectd.store.audit import AuditEntry
from redirectd.store.remap import Remap, State, stored_uri
from redirectd.store.remaps import Evidence

_ROUTED: Mapping[str, RouteKind] = {"user": "user", "gateway": "gateway"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A remap with its holds, and all that a decision on it touches.

    `today` is what routing does with the old URI now, `after` what it would do if this remap (and no other) were
    approved; None for a registrar, or while the Contact is not chosen. `touches` are sentences about the remaps it
    meets: those it replaces, conflicts with, makes longer or closes a cycle with.
    """

    remap: Remap
    evidence: Sequence[Evidence]
    entries: Sequence[AuditEntry]
    today: Lookup | None
    after: Lookup | None
    touches: Sequence[str]

    @property
    def needs(self) -> tuple[str, ...]:
        """What an approval needs beside it: nothing, `reason`, or `force` and `reason`."""
        return needs(self.remap)


def open_case(
    connection: Connection, number: int, policy: Policy, *, now: datetime, contact: int | None = None
) -> Case:
    """The case of a remap; `contact` (1 is the first) looks at it as if that Contact were chosen. Raises UsageError."""
    remap = load(connection, number)
    if contact is not None and 1 <= contact <= len(remap.contacts):
        remap = replace(remap, new_uri=remap.contacts[contact - 1].uri)
    remap = with_approvals(connection, [with_holds(remap, policy)], policy)[0]
    remap = with_attention(connection, [remap], now=now)[0]
    kind = _ROUTED.get(remap.kind)
    today = after = None
    touches = _siblings(connection, remap) + _simulated(connection, remap.id)
    if kind is not None:
        old = stored_uri(remap.old_uri)
        way = onward(connection, kind, old, now=now)
        today = lookup(way, old)
        if remap.new_uri is not None:
            candidate = Approved(remap.id, kind, old, stored_uri(remap.new_uri))
            after = _after(connection, kind, candidate, now)
            touches += _neighbours(connection, kind, candidate, after, now)
    return Case(
        remap=remap,
        evidence=remaps.evidence_of(connection, number),
        entries=audit.entries_of(connection, number),
        today=today,
        after=after,
        touches=touches,
    )


def change_of(connection: Connection, remap: Remap, *, now: datetime) -> tuple[list[Approved], list[Approved]] | None:
    """The approved remaps around a pending one, without and with it in the place of what it replaces.

    Routing changes nowhere else. None where there is nothing to route: a registrar, or a Contact is not chosen.
    """
    kind = _ROUTED.get(remap.kind)
    if kind is None or remap.new_uri is None:
        return None
    old, new = stored_uri(remap.old_uri), stored_uri(remap.new_uri)
    near = [
        *onward(connection, kind, old, now=now),
        *onward(connection, kind, new, now=now),
        *inward(connection, kind, old, now=now),
        *alongside(connection, kind, old, now=now),
    ]
    before = [one for number, one in sorted({one.id: one for one in near}.items()) if number != remap.id]
    goal = matching_key(kind, old)
    kept = [one for one in before if matching_key(kind, one.old) != goal]
    incoming = tuple(map(stored_uri, remap.incoming))
    return before, [*kept, Approved(remap.id, kind, old, new, incoming, remap.incoming_forked)]


def _after(connection: Connection, kind: RouteKind, candidate: Approved, now: datetime) -> Lookup:
    goal = matching_key(kind, candidate.old)
    beyond = onward(connection, kind, candidate.new, now=now)
    # The approval takes the place of what is approved for this old URI (R30); a way back to it closes a cycle.
    kept = [one for one in beyond if matching_key(kind, one.old) != goal]
    return lookup([candidate, *kept], candidate.old)


def _simulated(connection: Connection, number: int) -> list[str]:
    """What the last simulation of each node made of the remap."""
    lines = []
    for document in approved.last_simulations(connection):
        rows = [row for row in document["moves"] if row["id"] == number]
        requests, answered = (sum(row[name] for row in rows) for name in ("requests", "answered_at_old_place"))
        if requests:
            sign = f"{answered} of them answered with success at the old place" if answered else "none answered there"
            lines.append(f"simulated {document['at'][:10]}: it would move {requests} requests, {sign}")
    return lines


def _siblings(connection: Connection, remap: Remap) -> list[str]:
    """The other remaps of the old URI."""
    lines = []
    for other in remaps.by_old_key(connection, remap.old_key):
        if other.id == remap.id or other.kind != remap.kind:
            continue
        to = other.new_uri or f"one of {len(other.contacts)} Contacts"
        if other.state is State.APPROVED:
            lines.append(
                f"it contradicts remap {other.id}, approved to {to}: approve it in that one's place, or reject it"
            )
        else:
            lines.append(f"remap {other.id} ({other.state}) moves the same URI to {to}")
    return lines


def _neighbours(
    connection: Connection, kind: RouteKind, candidate: Approved, after: Lookup, now: datetime
) -> list[str]:
    lines = []
    if after.result is None:
        lines.append(f"approving it is refused or has no effect: {after.reason}")
    elif len(after.hops) > 1:
        hops = ", ".join(str(hop.id) for hop in after.hops[1:])
        lines.append(f"the chain goes on by remap {hops} to {after.result} (R33)")
    behind = [one for one in inward(connection, kind, candidate.old, now=now) if one.id != candidate.id]
    if behind:
        ids = ", ".join(str(one.id) for one in behind)
        lines.append(f"remaps that lead here would go on to its new URI: {ids}")
    lines += [
        f"remap {one.id} (pending) says that its new URI has moved on, to {one.new_uri or 'a choice of Contacts'}"
        for one in remaps.by_old_key(connection, str(matching_key(kind, candidate.new)))
        if one.kind == kind and one.state is State.PENDING and one.id != candidate.id
    ]
    lines += [
        f"remap {near.id}, approved to {near.new}, has the same old user and host with another port or transport: "
        "a target that can't distinguish them keeps the one that was approved first"
        for near in alongside(connection, kind, candidate.old, now=now)
        if not equal(near.new, candidate.new)
    ]
    return lines


MAX_CONTACTS = 5
"""Contacts of an answer that a ladder shows."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """One message from a lane to another (0 is the leftmost); `notes` are lines below it, `at` is its time as text."""

    start: int
    end: int
    label: str
    notes: tuple[str, ...] = ()
    at: str = ""


def move_drawn(remap: Remap, newest: Evidence) -> tuple[Sequence[str], Sequence[Arrow]]:
    """The lanes and arrows of a sighting: the request, its answer, and the request that routing would send instead."""
    contacts = [f"Contact: {one.raw or one.uri}" for one in remap.contacts[:MAX_CONTACTS]]
    if len(remap.contacts) > MAX_CONTACTS:
        contacts.append(f"... {len(remap.contacts) - MAX_CONTACTS:,} more Contacts")
    answer = Arrow(1, 0, _answer_of(newest.text), tuple(contacts))
    request = Arrow(0, 1, f"{newest.method} {remap.old_uri}", (f"Call-ID: {newest.call_id}",))
    return ("this host", newest.peer, _new_place(remap)), (request, answer, _instead(remap, newest))


def _answer_of(text: str) -> str:
    """The status line of a stored answer; a record has none."""
    first = text.lstrip().partition("\n")[0].strip()
    return first.removeprefix("SIP/2.0 ") if first.startswith("SIP/2.0 ") else "301 (one-line record)"


def _new_place(remap: Remap) -> str:
    """Where the new request goes: host and port."""
    uri = parse_uri(remap.new_uri) if remap.new_uri else None
    if not isinstance(uri, SipUri):
        return "new place"
    return uri.host if uri.port is None else f"{uri.host}:{uri.port}"


def _instead(remap: Remap, newest: Evidence) -> Arrow:
    """What routing sends, or why it sends nothing yet."""
    if remap.new_uri is None:
        return Arrow(0, 2, f"{newest.method} to one of {len(remap.contacts)} Contacts: choose one (R15)")
    if remap.kind == "registrar":
        return Arrow(0, 2, f"no routing for a registrar (R12): {remap.new_uri}")
    when = "" if remap.state is State.APPROVED else f"({remap.state}: not routed)"
    return Arrow(0, 2, f"{newest.method} {remap.new_uri}", (when,) if when else ())
