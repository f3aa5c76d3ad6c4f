"""Approvals by several people: who has approved a pending remap so far, and whether one more is enough.

An approval that is not enough routes nothing: it is an entry `agree` of the audit, which binds it, and the remap stays
pending. It counts while the remap is what was approved and nothing else was decided on it since. Automatic approval and
imports are no people, and count for nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from redirectd.collect.policy import FourEyes, Policy
from redirectd.collect.verdict import digest
from redirectd.errors import RefusedError
from redirectd.review.decision import Decision
from redirectd.review.holds import LOOKS, is_premium, with_holds
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.store.remap import Remap, State
from redirectd.store.schema import audit
from redirectd.store.statements import chunks

AGREE = "agree"
WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Agreement:
    """One person's approval that still needs others: of which state of the remap, superseding which approved ones.

    `entry` is the audit's.
    """

    person: str
    basis: str
    replaces: tuple[int, ...]
    entry: int


def required(found: Remap, policy: Policy) -> int:
    """How many people must approve a remap, which carries its holds and its chosen URI."""
    rule = policy.four_eyes
    if rule.approvals <= 1:
        return 1
    if not (rule.held or rule.premium or rule.calls_over is not None):
        return rule.approvals
    applies = (
        (rule.held and bool(found.flags.keys() - LOOKS))
        or (rule.calls_over is not None and found.calls > rule.calls_over)
        or (rule.premium and _is_premium(found, policy))
    )
    return rule.approvals if applies else 1


def _is_premium(found: Remap, policy: Policy) -> bool:
    uris = [found.new_uri] if found.new_uri else [one.uri for one in found.contacts]
    parsed = [parse_uri(uri) for uri in uris]
    return any(isinstance(uri, SipUri) and is_premium(uri, policy) for uri in parsed)


def basis(found: Remap) -> str:
    """What an approval was given for: a change of any of it makes the approval stale."""
    held = sorted(found.flags.keys() - LOOKS)
    contacts = [one.uri for one in found.contacts]
    return digest("agree", json.dumps([found.kind, found.old_uri, found.new_uri, contacts, held]))


def version(found: Remap) -> str:
    """A name of the remap, which carries its holds and approvals, as a decision sees it.

    More calls and a note leave it the same; another state, decision, approval, URI, Contact or hold does not.
    """
    decided = None if found.decided_at is None else found.decided_at.isoformat()
    parts = [found.state.value, decided, found.approvals, found.required, sorted(found.flags.keys() - LOOKS)]
    return digest("version", basis(found), json.dumps(parts))[:32]


def agreements(connection: Connection, numbers: Iterable[int]) -> dict[int, list[Agreement]]:
    """The approvals of pending remaps since anything else was decided on them, by id."""
    found: dict[int, list[Agreement]] = defaultdict(list)
    columns = (audit.c.id, audit.c.remap_id, audit.c.action, audit.c.detail)
    for part in chunks(numbers):
        for row in connection.execute(select(*columns).where(audit.c.remap_id.in_(part)).order_by(audit.c.id)):
            if row.action == "note":
                continue
            if row.action not in {AGREE, WITHDRAW}:
                found.pop(row.remap_id, None)
                continue
            detail = json.loads(row.detail)
            person = detail["person"]
            found[row.remap_id] = [one for one in found[row.remap_id] if one.person != person]
            if row.action == AGREE:
                replaces = tuple(detail["superseding"])
                found[row.remap_id].append(Agreement(person, detail["basis"], replaces, row.id))
    return dict(found)


def with_approvals(connection: Connection, remaps: Iterable[Remap], policy: Policy) -> list[Remap]:
    """The remaps, which carry their holds, with who has approved the pending ones so far, and how many people must."""
    given = list(remaps)
    if policy.four_eyes.approvals <= 1:
        return given
    signed = agreements(connection, [one.id for one in given if one.state is State.PENDING])
    return [
        one
        if one.state is not State.PENDING
        else replace(
            one,
            required=required(one, policy),
            approvals=_people(_as_agreed(one, signed.get(one.id, ()), policy)),
        )
        for one in given
    ]


def approvals_text(remap: Remap) -> str:
    """How many of the people who must approve a pending remap have, and who; empty where one person is enough."""
    if remap.required <= 1:
        return ""
    by = f" ({', '.join(printable(person, 60) for person in remap.approvals)})" if remap.approvals else ""
    return f"{len(remap.approvals)} of {remap.required} approvals{by}"


def _as_agreed(found: Remap, given: Iterable[Agreement], policy: Policy) -> list[Agreement]:
    """Those given for the remap as it is; where several Contacts wait for a choice, for any one of them."""
    choices = [found]
    if found.new_uri is None:
        choices = [with_holds(replace(found, new_uri=one.uri), policy) for one in found.contacts]
    valid = {basis(one) for one in choices}
    return [one for one in given if one.basis in valid]


def _people(given: Iterable[Agreement]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.person for one in given))


class Signatures:
    """Judges the approvals of one decision by who has approved before."""

    def __init__(self, connection: Connection, candidates: Iterable[Remap], decision: Decision, policy: Policy) -> None:
        self._policy = policy
        self._decision = decision
        self._given: dict[int, list[Agreement]] = {}
        if policy.four_eyes.approvals > 1:
            self._given = agreements(connection, [one.id for one in candidates])

    def sign(self, found: Remap, replaced: Iterable[Remap]) -> tuple[bool, Mapping[str, object]]:
        """Whether this approval is enough, and what the audit keeps of it. Raises RefusedError for one that can't be.

        `found` carries its holds and its chosen URI; `replaced` are the approved remaps that it supersedes (R44).
        """
        needed = required(found, self._policy)
        if needed <= 1:
            return True, {}
        person = self._person(found, needed, self._policy.four_eyes)
        state = basis(found)
        replaces = tuple(sorted(one.id for one in replaced))
        before = [one for one in self._given.get(found.id, ()) if (one.basis, one.replaces) == (state, replaces)]
        people = _people(before)
        if person in people:
            raise RefusedError(
                f"remap {found.id}",
                f"{printable(person, 100)} has approved it already, and {needed} different people must",
                f"ask somebody else to approve it: redirectd approve {found.id}",
            )
        entries = [one.entry for one in before]
        return len(people) + 1 >= needed, {
            "person": person,
            "basis": state,
            "superseding": list(replaces),
            "approvals": [*people, person],
            "entries": entries,
            "required": needed,
        }

    def _person(self, found: Remap, needed: int, rule: FourEyes) -> str:
        account = self._decision.account
        if account is None:
            raise RefusedError(
                f"remap {found.id}",
                f"{needed} people must approve it, and neither automatic approval nor an import is one",
                f"have each of them run: redirectd approve {found.id}",
            )
        person = rule.person_of(account)
        if person is None:
            raise RefusedError(
                f"remap {found.id}",
                f"{needed} people must approve it, and {printable(account, 100)} is nobody in [policy.people]",
                "approve as a named person, from an own login, or add the account to [policy.people]",
            )
        return person
