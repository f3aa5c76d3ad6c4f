"""A row of an import as the rules see it: what it would write, or why it can't be taken."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redirectd.collect.answer import Answer
from redirectd.collect.policy import Policy
from redirectd.collect.rules import KINDS as METHOD_KINDS
from redirectd.collect.rules import judge
from redirectd.collect.verdict import Learnt, digest
from redirectd.dialects.frame import Authenticity
from redirectd.errors import RedirectdError
from redirectd.review.decision import Decision
from redirectd.review.portable import Portable
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri, UriError, parse_uri
from redirectd.store.remap import RemapTarget, State
from redirectd.store.sightings import as_json
from redirectd.store.states import BIRTHS

_METHODS = {"user": "INVITE", "gateway": "OPTIONS", "registrar": "REGISTER"}

_Seen = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRow:
    """A row that passed the rules R11 to R28 as an answer of the network does.

    `row` counts from 1, `state` is the row's, `values` are those columns of `remap` that no other remap has a part in.
    """

    row: int
    state: State
    new_uri: str | None
    values: Mapping[str, Any]
    peer_calls: Mapping[str, int]
    methods: tuple[str, ...]
    incoming: tuple[str, ...]
    forked: bool

    @property
    def identity(self) -> str:
        """What names the remap (R30)."""
        return str(self.values["identity"])

    @property
    def old_hash(self) -> str:
        """What names its kind and old URI."""
        return str(self.values["old_hash"])

    @property
    def birth(self) -> State:
        """The state that a new remap of it begins in: one that is approved elsewhere is pending here."""
        return State(self.values["state"])

    def peers(self, number: int) -> Iterator[dict[str, Any]]:
        """Its rows of `remap_peer`."""
        first, last = self.values["first_seen"], self.values["last_seen"]
        authentic = Authenticity(self.values["authenticity"]).is_authentic
        for peer, calls in self.peer_calls.items():
            yield {
                "remap_id": number,
                "peer": peer,
                "calls": calls,
                "first_seen": first,
                "last_seen": last,
                "authentic_calls": calls if authentic else 0,
                "authentic_first": first if authentic else None,
                "authentic_last": last if authentic else None,
            }

    def asked_by(self, number: int) -> Iterator[dict[str, Any]]:
        """Its rows of `remap_method`."""
        calls = self.values["calls"]
        authentic = calls if Authenticity(self.values["authenticity"]).is_authentic else 0
        for method in self.methods:
            yield {"remap_id": number, "method": method, "calls": calls, "authentic_calls": authentic}

    def asked_for(self, number: int) -> Iterator[dict[str, Any]]:
        """Its rows of `remap_incoming`."""
        calls = self.values["calls"]
        for uri in self.incoming:
            yield {"remap_id": number, "hash": digest(uri), "uri": uri, "forked": self.forked, "calls": calls}


def judged(row: int, one: Portable, decision: Decision, policy: Policy) -> JudgedRow:
    """The row, judged. Raises RedirectdError with why it can't be taken."""
    kind = _kind(one)
    learnt = _learn(one, kind, decision, policy)
    first = one.first_seen or one.last_seen or decision.at
    return JudgedRow(
        row=row,
        state=one.state,
        new_uri=one.new_uri,
        values=_values(one, learnt, decision, (first, max(one.last_seen or first, first))),
        peer_calls={printable(peer, 80): calls for peer, calls in one.peer_calls.items()},
        # A person who writes a row by hand and names no method means calls.
        methods=tuple(dict.fromkeys(one.methods or (_METHODS[kind],))),
        incoming=tuple(dict.fromkeys(one.incoming)),
        forked=one.incoming_forked,
    )


def _values(one: Portable, learnt: Learnt, decision: Decision, seen: _Seen) -> dict[str, Any]:
    given = {target.uri: target for target in one.contacts}
    contacts = [given.get(c.uri, RemapTarget(c.uri, c.q, c.raw, c.dropped)) for c in learnt.candidates]
    sole = contacts[0].uri if len(contacts) == 1 and not learnt.flags.get("ambiguous") else None
    new_uri = one.new_uri or sole
    keys = {c.uri: c.key for c in learnt.candidates}
    return {
        "identity": learnt.identity,
        "old_hash": learnt.old_hash,
        "state": one.state if one.state in BIRTHS["import"] else State.PENDING,
        "kind": learnt.kind,
        "old_key": learnt.old_key,
        "old_uri": learnt.old_uri,
        "new_uri": new_uri,
        "new_hash": None if new_uri is None else digest(learnt.kind, keys[new_uri]),
        "contacts": json.dumps([{"uri": c.uri, "q": c.q, "raw": c.raw, "dropped": c.dropped} for c in contacts]),
        "flags": as_json({**learnt.flags, **one.held}),
        "authenticity": _authenticity(one).value,
        "facts": json.dumps({**learnt.facts, **one.facts}),
        "calls": one.calls,
        "first_seen": seen[0],
        "last_seen": seen[1],
        "note": one.note,
        "expires_at": one.expires_at,
        # Named as decided on, so that no automatic approval (R29) rests on evidence that a file claims.
        "decided_at": decision.at,
        "decided_by": decision.actor,
    }


def _kind(one: Portable) -> str:
    """What the row moves: as it says, or as its methods do, or a user where the old URI has one."""
    kinds = {METHOD_KINDS.get(name) for name in one.methods}
    kind = one.kind or (kinds.pop() if len(kinds) == 1 else None)
    try:
        old = parse_uri(one.old_uri)
    except UriError as error:
        raise _fault(f"old_uri can't be read: {error.why}") from error
    has_user = isinstance(old, SipUri) and old.user is not None
    if kind is None and isinstance(old, SipUri) and not has_user:
        raise _fault("old_uri has no user: say its kind: gateway where a whole host has moved, or user, or registrar")
    if kind in {"gateway", "registrar"} and has_user:
        raise _fault(f"old_uri has a user, and a {kind} moves as a whole: leave the user out, or say kind user")
    return kind or "user"


def _learn(one: Portable, kind: str, decision: Decision, policy: Policy) -> Learnt:
    """The row as if a peer had reported it, judged by the collector's rules."""
    method = _METHODS.get(kind)
    if method is None:
        raise _fault(f"kind {printable(kind, 40)} is none of {', '.join(_METHODS)}")
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
    if wrong := [name for name in one.methods if METHOD_KINDS.get(name) != kind]:
        raise _fault(f"method {printable(wrong[0], 40)} moves no {kind}")
    return verdict


def _authenticity(one: Portable) -> Authenticity:
    """As it was where the row comes from (R39); a row that a person wrote rests on that person's decision."""
    if "unproven" in one.held:
        return Authenticity.UNPROVEN
    return Authenticity.UNKEYED if "unkeyed" in one.held else Authenticity.FRAMED


def _fault(why: str) -> RedirectdError:
    return RedirectdError("row", why, "fix the row, or take it out")
