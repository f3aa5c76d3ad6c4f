"""Whether an approval may be: a choice of Contact, holds that need force, expiry, and what it contradicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select

from redirectd.collect.policy import Policy
from redirectd.collect.verdict import digest
from redirectd.errors import RefusedError, UsageError
from redirectd.plan.effective_table import MAX_DEPTH, matching_key, would_close_cycle
from redirectd.plan.route import Approved, RouteKind
from redirectd.review.chain import Chains
from redirectd.review.decision import Decision
from redirectd.review.four_eyes import Signatures
from redirectd.review.holds import NEED_FORCE, NEED_REASON, needs, with_holds
from redirectd.sip.compare import equal
from redirectd.sip.text import printable
from redirectd.store import remaps
from redirectd.store.approved import ASKED_ALONE, MOST_ALONE, also_asked, short_hash
from redirectd.store.remap import Remap, State, stored_uri
from redirectd.store.schema import remap as table
from redirectd.store.schema import remap_incoming
from redirectd.store.settings import node_targets
from redirectd.store.statements import chunks
from redirectd.times import rfc3339

_ROUTED: dict[str, RouteKind] = {"user": "user", "gateway": "gateway"}

_SHOWN = 5
"""Approved remaps that a refusal shows; what is behind them is in its ids."""


class ContradictionError(RefusedError):
    """An approval that would take approved remaps out of routing (R44); `against` are their ids."""

    def __init__(self, where: str, why: str, what_to_do: str, against: Iterable[int]) -> None:
        super().__init__(where, why, what_to_do)
        self.against = tuple(against)


class MoreNeeded(Exception):  # noqa: N818 - no error: the approval counts, and others are needed
    """An approval that is noted, and not enough by itself: `detail` is what the audit keeps."""

    def __init__(self, found: Remap, detail: Mapping[str, object]) -> None:
        super().__init__()
        self.found = found
        self.detail = detail


class Approvals:
    """Judges the approvals of one decision; what they have to know of other remaps is read in a few statements."""

    def __init__(
        self,
        connection: Connection,
        candidates: Sequence[Remap],
        decision: Decision,
        policy: Policy,
        choices: Mapping[int, int] | None = None,
    ) -> None:
        """`choices` are the Contacts by the id of the remap (1 is the first), where the decision's is not for all."""
        self.decision = decision
        self._choices = choices or {}
        self._connection = connection
        self._policy = policy
        self._in_force = _in_force(connection, candidates)
        self._asked = _Asked(connection, candidates)
        self._signatures = Signatures(connection, candidates, decision, policy)
        self._chains = Chains(connection, now=decision.at)
        for kind in _ROUTED.values():
            goals = [one for one in candidates if one.kind == kind]
            starts = [stored_uri(uri) for one in goals if (uri := _wish(one, self._choice(one))) is not None]
            starts += [stored_uri(one.new_uri) for one in self._asked.approved if one.kind == kind and one.new_uri]
            self._chains.reach(kind, starts)
            self._chains.reach_back(kind, [stored_uri(one.old_uri) for one in goals])

    @property
    def review_date(self) -> datetime | None:
        """When what is approved now wants to be looked at again (R36)."""
        return self.decision.at + self._policy.revalidate_after if self._policy.revalidate_after else None

    def approved(
        self, before: Remap, replacing: frozenset[int] | None = None
    ) -> tuple[Remap, list[Remap], Mapping[str, object]]:
        """The remap with its chosen URI and its holds, the approved ones that it supersedes, and what the audit keeps.

        `replacing` are those that it may supersede, where the decision's are not for it.

        Raises MoreNeeded where other people must approve it too, ContradictionError where it contradicts an approved
        remap that the decision does not name (R44),
        RefusedError where a hold forbids it, UsageError for a Contact or a remap to replace that it does not have.
        """
        chosen = _chosen(before, self._choice(before))
        found = with_holds(before if chosen == before.new_uri else replace(before, new_uri=chosen), self._policy)
        _refuse_held(found, self.decision)
        replaced = self._gives_way(found, self.decision.replace if replacing is None else replacing)
        is_enough, signed = self._signatures.sign(found, replaced)
        if not is_enough:
            raise MoreNeeded(found, signed)
        if found.kind in _ROUTED:
            for one in replaced:
                self._chains.drop(routed(one))
            self._chains.put(routed(found))
        alone = self.decision.alone
        kept = {ASKED_ALONE: sorted(alone)} if alone else self._asked.detail(found, replaced)
        detail = {**kept, **signed}
        by = replace(found, decided_at=self.decision.at, decided_by=self.decision.actor)
        self._in_force[found.kind, found.old_key] = [by]
        self._asked.approve(by, replaced)
        return found, replaced, detail

    def _choice(self, found: Remap) -> int | None:
        return self._choices.get(found.id, self.decision.contact)

    def _gives_way(self, found: Remap, named: frozenset[int]) -> list[Remap]:
        """The approved remaps that it contradicts, if all of them are named."""
        same = [one for one in self._in_force.get((found.kind, found.old_key), ()) if one.id != found.id]
        against = {one.id: (one, "has the same old URI") for one in same}
        for one, uri in self._asked.sharing(found):
            if one.id not in against and not self._leads_on(one, found):
                against[one.id] = one, f"is the move of the same incoming URI {printable(uri, 200)}"
        circle = self._circle(found, named)
        if wanted := {number: pair for number, pair in against.items() if number not in named}:
            raise _contradicts(found, wanted)
        ended = circle | self._too_long(found, named, circle | against.keys())
        if unknown := named - against.keys() - ended:
            raise _not_against(found, min(unknown))
        return [*(one for one, _ in against.values()), *remaps.of_ids(self._connection, ended - against.keys())]

    def _circle(self, found: Remap, replacing: frozenset[int]) -> set[int]:
        """The remaps that are named and that would else be a cycle with this one. Raises ContradictionError.

        The chain that starts at the new URI is all that can lead back: the whole table is never read for an approval.
        """
        broken: set[int] = set()
        if found.kind not in _ROUTED:
            return broken
        candidate = routed(found)
        around = self._chains.onward(candidate.kind, candidate.new)
        while cycle := would_close_cycle([one for one in around if one.id not in broken], candidate):
            named = replacing & set(cycle[1:])
            if not named:
                raise _circular(found, [one for number in cycle[1:] for one in around if one.id == number])
            broken |= named
        return broken

    def _too_long(self, found: Remap, replacing: frozenset[int], gone: AbstractSet[int]) -> set[int]:
        """The remaps that are named and would else be a chain too long with this one (R33).

        Raises ContradictionError where none is named: routing would leave one of them out.
        """
        shortened: set[int] = set()
        if found.kind not in _ROUTED:
            return shortened
        candidate = routed(found)
        while len(chain := self._chains.through(candidate, gone | shortened)) > MAX_DEPTH:
            others = [number for number in chain if number != found.id]
            named = replacing.intersection(others)
            if not named:
                raise _endless(found, others)
            shortened |= named
        return shortened

    def _leads_on(self, one: Remap, found: Remap) -> bool:
        """Whether a call that came by one of the two goes on by the other, or ends where that does: they agree."""
        if _agree(one, found):
            return True
        first, second = routed(one), routed(found)
        for before, after in ((first, second), (second, first)):
            ends = {matching_key(before.kind, hop.new) for hop in self._chains.onward(before.kind, before.new)}
            if matching_key(after.kind, after.old) in {matching_key(before.kind, before.new), *ends}:
                return True
        return False


class _Asked:
    """What the incoming URIs of the candidates led to besides (R5).

    They contradict each other where some node has a target that looks up the incoming URI; each of these nodes has
    published so.
    """

    def __init__(self, connection: Connection, candidates: Sequence[Remap]) -> None:
        asking = [one for one in candidates if one.incoming and one.kind in _ROUTED]
        self.approved: list[Remap] = []
        self._by_uri: dict[tuple[str, str], list[Remap]] = {}
        self._others: dict[int, tuple[str, ...]] = {}
        for part in chunks(one.id for one in asking):
            found = also_asked(connection, table.c.id.in_(part))
            self._others |= {number: tuple(map(str, uris)) for number, uris in found.items()}
        if asking and any(target.match == "incoming" for _, target in node_targets(connection)):
            self.approved = _approved_of(connection, {uri for one in asking for uri in one.incoming})
        for one in self.approved:
            self._put(one)

    def sharing(self, found: Remap) -> Iterator[tuple[Remap, str]]:
        """The approved remaps with an incoming URI of this one, with that."""
        for uri in found.incoming:
            for one in self._by_uri.get((found.kind, uri), ()):
                if one.id != found.id:
                    yield one, uri

    def approve(self, found: Remap, replaced: Iterable[Remap]) -> None:
        """Takes an approval in, in place of what it supersedes."""
        gone = {one.id for one in replaced}
        for uri in found.incoming:
            kept = self._by_uri.get((found.kind, uri), [])
            self._by_uri[found.kind, uri] = [one for one in kept if one.id not in gone]
        self._put(found)

    def detail(self, found: Remap, replaced: Iterable[Remap]) -> Mapping[str, object]:
        """What the audit keeps: the incoming URIs, where they belong to this old URI alone."""
        others = set(self._others.get(found.id, ())) - {one.old_uri for one in replaced}
        if others or found.incoming_forked or not 0 < len(found.incoming) <= MOST_ALONE:
            return {}
        return {ASKED_ALONE: [short_hash(uri) for uri in found.incoming]}

    def _put(self, one: Remap) -> None:
        for uri in one.incoming:
            self._by_uri.setdefault((one.kind, uri), []).append(one)


def _approved_of(connection: Connection, incoming: Iterable[str]) -> list[Remap]:
    """The approved remaps of these incoming URIs."""
    numbers: set[int] = set()
    for part in chunks(digest(uri) for uri in incoming):
        query = select(table.c.id).join(remap_incoming, remap_incoming.c.remap_id == table.c.id)
        numbers |= set(
            connection.scalars(query.where(remap_incoming.c.hash.in_(part), table.c.state == State.APPROVED))
        )
    return remaps.of_ids(connection, numbers)


def routed(found: Remap) -> Approved:
    """The remap, a user's or a gateway's with its new URI, as the plan would take it."""
    incoming = tuple(map(stored_uri, found.incoming))
    return Approved(found.id, _ROUTED[found.kind], stored_uri(found.old_uri), stored_uri(found.new_uri or ""), incoming)


def _agree(one: Remap, other: Remap) -> bool:
    return (
        one.new_uri is not None
        and other.new_uri is not None
        and equal(stored_uri(one.new_uri), stored_uri(other.new_uri))
    )


def _in_force(connection: Connection, candidates: Iterable[Remap]) -> dict[tuple[str, str], list[Remap]]:
    """The approved remaps of the same old URIs, by kind and key."""
    numbers: list[int] = []
    for part in chunks({digest(one.kind, one.old_key) for one in candidates}):
        query = select(table.c.id).where(table.c.old_hash.in_(part), table.c.state == State.APPROVED)
        numbers += connection.scalars(query)
    found: dict[tuple[str, str], list[Remap]] = {}
    for one in remaps.of_ids(connection, numbers):
        found.setdefault((one.kind, one.old_key), []).append(one)
    return found


def _wish(found: Remap, contact: int | None) -> str | None:
    """The new URI that an approval would mean, right or wrong."""
    if contact is None:
        return found.new_uri
    return found.contacts[contact - 1].uri if 1 <= contact <= len(found.contacts) else None


def _chosen(found: Remap, contact: int | None) -> str:
    """The new URI that is approved. Several Contacts need a choice (R15)."""
    wish = _wish(found, contact)
    if wish is not None:
        return wish
    if contact is not None:
        raise UsageError(
            f"remap {found.id}",
            f"it has no Contact {contact}",
            f"choose --contact 1 to {len(found.contacts)}; 'redirectd show {found.id}' lists them",
        )
    listed = "; ".join(f"{index}: {one.uri}" for index, one in enumerate(found.contacts[:5], 1))
    raise RefusedError(
        f"remap {found.id}",
        f"it is ambiguous, with the Contacts {listed}",
        f"choose one: redirectd approve {found.id} --contact N",
    )


def _refuse_held(found: Remap, decision: Decision) -> None:
    """The holds that a person passes only on purpose (`holds.needs`), and what can't be approved at all (R18)."""
    if found.expires_at is not None and found.expires_at <= decision.at:
        raise RefusedError(
            f"remap {found.id}",
            f"its lifetime ended on {rfc3339(found.expires_at, timespec='seconds')} (R18)",
            f"reject it, or wait for a newer 301: redirectd reject {found.id}",
        )
    needed = needs(found)
    has_reason = bool(decision.reason.strip())
    if (has_reason or not needed) and (decision.force or "force" not in needed):
        return
    held = NEED_FORCE if "force" in needed else NEED_REASON
    raise RefusedError(
        f"remap {found.id}",
        "; ".join(f"{name}: {reason}" for name, reason in sorted(found.flags.items()) if name in held),
        f"if you are sure: redirectd approve {found.id} {'--force ' if 'force' in needed else ''}"
        "--reason 'why it is right'",
    )


def _contradicts(found: Remap, others: Mapping[int, tuple[Remap, str]]) -> ContradictionError:
    """R44: what is approved stays, unless a person names it."""
    told = [
        f"remap {number}, approved{_by(one)}, {why} and moves it to {one.new_uri}"
        for number, (one, why) in list(others.items())[:_SHOWN]
    ]
    told += [f"and {len(others) - _SHOWN} more"] if len(others) > _SHOWN else []
    return ContradictionError(
        f"remap {found.id}",
        f"it contradicts what is approved: {'; '.join(told)}",
        f"if it is to take their place: {_replacing(found.id, others)}"
        if len(others) > 1
        else f"if it is to take its place: {_replacing(found.id, others)}",
        others,
    )


def _by(one: Remap) -> str:
    by = f" by {printable(one.decided_by, 80)}" if one.decided_by else ""
    return by + (f" on {one.decided_at:%Y-%m-%d}" if one.decided_at else "")


def _replacing(number: int, others: Iterable[int]) -> str:
    return f"redirectd approve {number} " + " ".join(f"--replace {other}" for other in others)


def _not_against(found: Remap, number: int) -> UsageError:
    return UsageError(
        f"remap {found.id}",
        f"remap {number} is not an approved remap that it contradicts, so there is nothing to replace",
        f"leave --replace {number} out; to end that remap: redirectd revoke {number}",
    )


def _circular(found: Remap, others: Sequence[Approved]) -> ContradictionError:
    """R34: an approval that would close a cycle is refused, with the cycle in its words."""
    hops = [f"{found.old_uri} -> {found.new_uri} (remap {found.id})"]
    hops += [f"{one.old} -> {one.new} (remap {one.id})" for one in others]
    ways = [_replacing(found.id, [one.id]) for one in others]
    return ContradictionError(
        f"remap {found.id}",
        "it would close a cycle: " + ", ".join(hops),
        f"if it is to take the place of one of the others: {' or '.join(ways)}" if ways else "reject it",
        [one.id for one in others],
    )


def _endless(found: Remap, others: Sequence[int]) -> ContradictionError:
    """R33: an approval that would make a chain longer than routing follows is refused, with the chain's remaps."""
    return ContradictionError(
        f"remap {found.id}",
        f"it would make a chain of more than {MAX_DEPTH} hops, and routing follows no more (R33), together with the "
        f"approved remaps {', '.join(map(str, others))}",
        f"if it is to take the place of one of them, such as the oldest move: {_replacing(found.id, others[:1])}; or "
        "first approve moves that lead straight to the end",
        others,
    )
