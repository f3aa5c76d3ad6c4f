"""How many new pending remaps an hour may bring (R46): by peer and by incoming URI, so that no sender fills the review.

An authentic sighting's hour is that of its own time, so that an archive counts as its log did. What a line without a
proof says of its peer and its time may be forged: all such ones of a source share a budget, of the hour in which they
are read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, IPv6Network

from sqlalchemy import Connection, select

from redirectd.collect.policy import Policy, address_of, is_within
from redirectd.collect.verdict import Learnt, digest
from redirectd.dialects.frame import Authenticity
from redirectd.store.remap import State
from redirectd.store.schema import remap, remap_incoming, remap_peer
from redirectd.store.settings import get_setting, put_setting
from redirectd.store.turns import lock_keys

OVER_BUDGET = "remaps-over-budget"
"""The kind under which sightings over a budget are counted."""

_HOUR = timedelta(hours=1)
_HOST_BITS = 64
"""Last bits of an IPv6 address that its sender chooses."""

_Keys = tuple[str, str, datetime]


class Budgets:
    """The budgets that one batch draws on, with what is in the database."""

    def __init__(self, connection: Connection, policy: Policy, node: str, source: str, now: datetime) -> None:
        self._connection = connection
        self._policy = policy
        self._source = source
        self._now = now
        self._node = node
        self._name = f"unproven remaps {digest(source)}"
        self._spent: Counter[_Keys] = Counter()
        self._unproven_changed = False

    def over(self, new: Mapping[str, Collection[Learnt]]) -> dict[str, str]:
        """Of new remaps by identity those that no budget is left for, each with the reason; the others are drawn."""
        every = [one for ones in new.values() for one in ones]
        lock_keys(self._connection, (digest("budget", *map(str, keys)) for one in every for keys in self._keys(one)))
        self._load(every)
        refused: dict[str, str] = {}
        for identity, ones in new.items():
            reasons = [reason for one in ones if (reason := self._draw(one))]
            if len(reasons) == len(ones):
                refused[identity] = reasons[0]
        self._keep()
        return refused

    def _draw(self, one: Learnt) -> str:
        """Takes a new remap's sighting from its budgets, once for all of them; why it can't, else ""."""
        sender, uri = self._keys(one)
        if self._spent[sender] >= self._policy.new_per_peer:
            return f"over {self._policy.new_per_peer} new remaps in an hour from {sender[1]}"
        if self._spent[uri] >= self._policy.new_per_incoming:
            return f"over {self._policy.new_per_incoming} new remaps in an hour of one incoming URI"
        self._spent[sender] += 1
        self._spent[uri] += 1
        self._unproven_changed |= not one.answer.authenticity.is_authentic
        return ""

    def _keys(self, one: Learnt) -> tuple[_Keys, _Keys]:
        """The budget of its sender and that of its incoming URI; trusted peers have one of their own."""
        asked = digest(one.incoming) if one.incoming else one.old_hash
        if not one.answer.authenticity.is_authentic:
            hour = _hour(self._now)
            return ("unproven", f"lines without a proof in {self._source}", hour), ("unproven uri", asked, hour)
        return self._authentic_keys(one.answer.peer_text, asked, one.answer.seen_at or self._now)

    def _authentic_keys(self, peer: str, asked: str, at: datetime) -> tuple[_Keys, _Keys]:
        address = address_of(peer)
        trusted = address is not None and is_within(address, self._policy.trusted_peers)
        return ("peer", sender_of(peer), _hour(at)), ("trusted uri" if trusted else "uri", asked, _hour(at))

    def _load(self, every: Collection[Learnt]) -> None:
        """What the hours in question have brought so far."""
        authentic = [one.answer.seen_at or self._now for one in every if one.answer.authenticity.is_authentic]
        if authentic:
            self._load_authentic(_hour(min(authentic)), _hour(max(authentic)) + _HOUR)
        if len(authentic) == len(every):
            return
        kept = json.loads(get_setting(self._connection, self._node, self._name) or "{}")
        hour = _hour(self._now)
        if kept.get("hour") == hour.isoformat():
            self._spent["unproven", f"lines without a proof in {self._source}", hour] = kept["new"]
            self._spent.update({("unproven uri", asked, hour): count for asked, count in kept["uris"].items()})

    def _load_authentic(self, begin: datetime, end: datetime) -> None:
        which = (
            (remap.c.state == State.PENDING)
            & (remap.c.last_seen >= begin)  # the index that there is
            & (remap.c.first_seen >= begin)
            & (remap.c.first_seen < end)
            & (remap.c.authenticity >= Authenticity.FRAMED.value)
        )
        incoming = select(remap_incoming.c.remap_id, remap_incoming.c.hash).join(remap).where(which)
        asked = {row.remap_id: row.hash for row in self._connection.execute(incoming)}
        columns = (remap.c.id, remap.c.old_hash, remap.c.first_seen, remap_peer.c.peer)
        query = select(*columns).join(remap_peer).where(which).order_by(remap.c.id, remap_peer.c.first_seen.desc())
        first = {row.id: row for row in self._connection.execute(query)}  # the last of each: its first peer
        for row in first.values():
            self._spent.update(self._authentic_keys(row.peer, asked.get(row.id, row.old_hash), row.first_seen))

    def _keep(self) -> None:
        """Stores what lines without a proof have brought in this hour: their remaps carry any time."""
        if not self._unproven_changed:
            return
        hour = _hour(self._now)
        kept = {
            "hour": hour.isoformat(),
            "new": self._spent["unproven", f"lines without a proof in {self._source}", hour],
            "uris": {key[1]: count for key, count in self._spent.items() if key[0] == "unproven uri"},
        }
        put_setting(self._connection, self._node, self._name, json.dumps(kept))


def sender_of(peer: str) -> str:
    """The address in a stored peer, an IPv6 one by its network: a sender picks its port and the rest of its address."""
    address = address_of(peer)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Network((int(address) >> _HOST_BITS << _HOST_BITS, 128 - _HOST_BITS)))
    return peer if address is None else str(address)


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
