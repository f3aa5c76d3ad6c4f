"""The last simulation of each node, small, for people; and the remaps that a node routes by, whatever their state."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from redirectd.plan.route import Approved, RouteKind
from redirectd.store.approved import approved
from redirectd.store.remap import State
from redirectd.store.schema import in_service, remap, setting
from redirectd.store.settings import put_setting
from redirectd.store.uris import stored_uri

_NAME = "simulation"
_KINDS: dict[str, RouteKind] = {"user": "user", "gateway": "gateway"}

MAX_PENDING = 100_000
"""Pending remaps that are taken as if they were approved."""


def keep(connection: Connection, node: str, document: dict[str, Any]) -> None:
    """Stores a simulation in place of the one before."""
    put_setting(connection, node, _NAME, json.dumps(document))


def last(connection: Connection) -> list[dict[str, Any]]:
    """The last one of each node."""
    query = select(setting.c.value).where(setting.c.name == _NAME).order_by(setting.c.node)
    return [json.loads(value) for value in connection.scalars(query)]


def installed(connection: Connection, node: str, now: datetime) -> list[Approved]:
    """The remaps that are installed on a node, also those that were revoked since."""
    numbers = set(connection.scalars(select(in_service.c.remap_id).where(in_service.c.node == node)))
    known = [one for one in approved(connection, now=now) if one.id in numbers]
    rest = numbers - {one.id for one in known}
    columns = (remap.c.id, remap.c.kind, remap.c.old_uri, remap.c.new_uri)
    query = select(*columns).join(in_service, in_service.c.remap_id == remap.c.id).where(in_service.c.node == node)
    return known + [
        Approved(row.id, _KINDS[row.kind], stored_uri(row.old_uri), stored_uri(row.new_uri))
        for row in connection.execute(query)
        if row.id in rest and row.kind in _KINDS and row.new_uri
    ]


def pending(connection: Connection) -> list[Approved]:
    """The pending remaps with one new URI, the oldest first, as if they were approved."""
    columns = (remap.c.id, remap.c.kind, remap.c.old_uri, remap.c.new_uri)
    query = select(*columns).where(
        remap.c.state == State.PENDING, remap.c.kind.in_(list(_KINDS)), remap.c.new_uri.is_not(None)
    )
    return [
        Approved(row.id, _KINDS[row.kind], stored_uri(row.old_uri), stored_uri(row.new_uri))
        for row in connection.execute(query.order_by(remap.c.id).limit(MAX_PENDING))
    ]
