"""A remap as the database keeps it and everyone above sees it, and its SIP URIs read back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from redirectd.dialects.frame import Authenticity
from redirectd.sip.uri import SipUri, parse_uri


class State(StrEnum):
    """The state of a remap."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    REVOKED = "revoked"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class RemapTarget:
    """One Contact of a remap: `uri` as it would be routed (R16), `q` 0..1, `dropped` what was taken off it."""

    uri: str
    q: float = 1.0
    raw: str = ""
    dropped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remap:
    """One old URI and its new one, with the sum of its evidence.

    `new_uri` is None while several Contacts wait for a choice. `flags` maps a hold's name to its reason,
    `facts` names what strengthens or explains the move (R23).
    Times are aware UTC. `calls` counts distinct transactions. `authenticity` is that of its best sighting; the
    `believed` peers and methods are those of authentic sightings, where there are any (R39). `required` people must
    approve a pending one, and `approvals` are those who have (`redirectd.review.four_eyes`).
    """

    id: int
    state: State
    kind: str
    old_key: str
    old_uri: str
    new_uri: str | None
    contacts: tuple[RemapTarget, ...]
    flags: Mapping[str, str]
    facts: Mapping[str, str]
    calls: int
    first_seen: datetime
    last_seen: datetime
    peers: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    incoming: tuple[str, ...] = ()
    incoming_forked: bool = False
    replaces: int | None = None
    note: str = ""
    expires_at: datetime | None = None
    revalidate_after: datetime | None = None
    decided_at: datetime | None = None
    decided_by: str | None = None
    peer_calls: Mapping[str, int] = field(default_factory=dict)
    authenticity: Authenticity = Authenticity.FRAMED
    believed_peers: tuple[str, ...] = ()
    believed_methods: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    required: int = 1


_PLAIN = re.compile(r"sip:[A-Za-z0-9_.+\-]{1,64}")


def stored_uri(text: str) -> SipUri:
    """Read a stored URI; those that are a plain user at a host met before are not parsed again."""
    user, at, address = text.partition("@")
    if not _PLAIN.fullmatch(user) or not at or "@" in address:
        return _parsed(text)
    place = _address(address)
    return SipUri(place.scheme, user[len("sip:") :], None, place.host, place.port, place.params, place.headers)


@lru_cache(maxsize=4096)  # of a million URIs nearly all are users of a few hosts
def _address(text: str) -> SipUri:
    return _parsed(f"sip:{text}")


def _parsed(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri), "only SIP URIs are stored on either side of a remap"
    return uri
