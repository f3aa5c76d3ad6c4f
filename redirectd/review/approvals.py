"""Whether an approval may be: a choice of Contact, holds that need force, lifetimes that are over, and cycles."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select

from redirectd.collect.policy import Policy
from redirectd.collect.verdict import digest
from redirectd.errors import RefusedError, UsageError
from redirectd.plan.cycle import would_close_cycle
from redirectd.plan.route import Approved, RouteKind
from redirectd.review.chain import Chains, sip
from redirectd.review.decision import Decision
from redirectd.review.holds import NEED_FORCE, with_holds
from redirectd.store import remaps
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap as table
from redirectd.store.upsert import chunks

_ROUTED: dict[str, RouteKind] = {"user": "user", "gateway": "gateway"}


class Approvals:
    """Judges the approvals of one decision; what they have to know of other remaps is read in a few statements.

    `taken` are the old URIs (kind and key) that this decision has approved a remap of already; approvals are added.
    """

    def __init__(
        self,
        connection: Connection,
        candidates: Sequence[Remap],
        decision: Decision,
        policy: Policy,
        taken: MutableMapping[tuple[str, str], int],
    ) -> None:
        self.decision = decision
        self._policy = policy
        self._taken = taken
        self._in_force = _in_force(connection, candidates)
        self._chains = Chains(connection, now=decision.at)
        for kind in _ROUTED.values():
            goals = [one for one in candidates if one.kind == kind]
            self._chains.reach(kind, [sip(uri) for one in goals if (uri := _wish(one, decision)) is not None])

    @property
    def review_date(self) -> datetime | None:
        """When what is approved now wants to be looked at again (R36)."""
        return self.decision.at + self._policy.revalidate_after if self._policy.revalidate_after else None

    def approved(self, before: Remap) -> tuple[Remap, list[Remap]]:
        """The remap with its chosen URI and its holds, and the approved ones that it replaces (R30).

        Raises RefusedError where a hold or a cycle forbids it, UsageError for a Contact that there is none of.
        """
        key = (before.kind, before.old_key)
        _refuse_second(before, self._taken.get(key))
        found = with_holds(replace(before, new_uri=_chosen(before, self.decision)), self._policy)
        _refuse_held(found, self.decision)
        if found.kind in _ROUTED:
            candidate = Approved(found.id, _ROUTED[found.kind], sip(found.old_uri), sip(found.new_uri or ""))
            _refuse_cycle(self._chains, found, candidate)
            self._chains.put(candidate)
        self._taken[key] = found.id
        return found, [one for one in self._in_force.get(key, ()) if one.id != found.id]


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


def _wish(found: Remap, decision: Decision) -> str | None:
    """The new URI that an approval would mean, right or wrong."""
    if decision.contact is None:
        return found.new_uri
    return found.contacts[decision.contact - 1].uri if 1 <= decision.contact <= len(found.contacts) else None


def _chosen(found: Remap, decision: Decision) -> str:
    """The new URI that is approved. Several Contacts need a choice (R15)."""
    wish = _wish(found, decision)
    if wish is not None:
        return wish
    if decision.contact is not None:
        raise UsageError(
            f"remap {found.id}",
            f"it has no Contact {decision.contact}",
            f"choose --contact 1 to {len(found.contacts)}; 'redirectd show {found.id}' lists them",
        )
    listed = "; ".join(f"{index}: {one.uri}" for index, one in enumerate(found.contacts[:5], 1))
    raise RefusedError(
        f"remap {found.id}",
        f"it is ambiguous, with the Contacts {listed}",
        f"choose one: redirectd approve {found.id} --contact N",
    )


def _refuse_second(found: Remap, first: int | None) -> None:
    """A decision on many is no choice between the targets of one old URI: the last would win unseen."""
    if first is not None:
        raise RefusedError(
            f"remap {found.id}",
            f"remap {first} of the same old URI was approved just before, in the same go",
            f"if this is the right one, it takes that one's place: redirectd approve {found.id}",
        )


def _refuse_held(found: Remap, decision: Decision) -> None:
    """The holds that a person passes only on purpose (R12, R14, R27), and what can't be approved at all (R18)."""
    if found.expires_at is not None and found.expires_at <= decision.at:
        raise RefusedError(
            f"remap {found.id}",
            f"its lifetime ended on {found.expires_at:%Y-%m-%d %H:%M:%S} UTC (R18)",
            f"reject it, or wait for a newer 301: redirectd reject {found.id}",
        )
    held = {name: reason for name, reason in found.flags.items() if name in NEED_FORCE}
    if held and not (decision.force and decision.reason.strip()):
        raise RefusedError(
            f"remap {found.id}",
            "; ".join(f"{name}: {reason}" for name, reason in sorted(held.items())),
            f"if you are sure: redirectd approve {found.id} --force --reason 'why it is right'",
        )


def _refuse_cycle(chains: Chains, found: Remap, candidate: Approved) -> None:
    """R34: an approval that would close a cycle is refused, with the cycle in its words."""
    # The chain that starts at the new URI is all that can lead back: the whole table is never read for an approval.
    in_force = chains.onward(candidate.kind, candidate.new)
    cycle = would_close_cycle(in_force, candidate)
    if cycle is None:
        return
    by_id = {one.id: one for one in in_force}
    hops = [f"{found.old_uri} -> {found.new_uri} (remap {found.id})"]
    hops += [f"{by_id[one].old} -> {by_id[one].new} (remap {one})" for one in cycle[1:]]
    raise RefusedError(
        f"remap {found.id}",
        "it would close a cycle: " + ", ".join(hops),
        "revoke one of the others first: " + " or ".join(f"redirectd revoke {one}" for one in cycle[1:]),
    )
