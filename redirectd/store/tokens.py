"""Tokens of the API: 256 random bits that the holder alone has, of which the database keeps a SHA-256."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, delete, select, update

from redirectd.store.schema import api_token

NOTED_EVERY = timedelta(minutes=1)
"""How exactly the last use of a token is kept: a write for each request would be too much."""


class Role(StrEnum):
    """What somebody may do; each role may do what those before it may."""

    VIEWER = "viewer"
    """Look at everything."""
    REVIEWER = "reviewer"
    """Decide on remaps."""
    APPLIER = "applier"
    """Ask nodes to install what is approved."""
    ADMIN = "admin"
    """Look at everybody's tokens, and revoke them."""

    @property
    def rank(self) -> int:
        """Its place among the roles, 0 for the least."""
        return list(Role).index(self)


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token; `owner` is an account with its kind, as in `unix:ada`. It allows what `role` does."""

    id: int
    owner: str
    role: Role
    label: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    used_from: str


def hashed(secret: str) -> str:
    """What the database keeps of a token."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def make_token(
    connection: Connection, owner: str, role: Role, label: str, *, now: datetime, expires_at: datetime
) -> tuple[str, ApiToken]:
    """A new token, and its secret, which is not kept."""
    secret = f"rdt_{secrets.token_urlsafe(32)}"
    values = {"owner": owner, "role": role.value, "label": label, "created_at": now, "expires_at": expires_at}
    made = connection.execute(api_token.insert().values(hash=hashed(secret), used_from="", **values))
    number = made.inserted_primary_key
    assert number is not None, "a table with a key"
    return secret, ApiToken(int(number[0]), owner, role, label, now, expires_at, None, "")


def token_of(connection: Connection, secret: str, now: datetime) -> ApiToken | None:
    """The token of a secret, unless it has expired."""
    query = select(api_token).where(api_token.c.hash == hashed(secret), api_token.c.expires_at > now)
    row = connection.execute(query).one_or_none()
    return None if row is None else _token(row)


def tokens(connection: Connection, owner: str | None = None) -> list[ApiToken]:
    """All tokens, also expired ones, or those of an owner; by id."""
    query = select(api_token).order_by(api_token.c.id)
    if owner is not None:
        query = query.where(api_token.c.owner == owner)
    return [one for row in connection.execute(query) if owner in {None, (one := _token(row)).owner}]


def note_use(connection: Connection, number: int, *, now: datetime, address: str) -> None:
    """Keeps when and from where a token was used last."""
    stale = api_token.c.used_at.is_(None) | (api_token.c.used_at < now - NOTED_EVERY)
    connection.execute(
        update(api_token)
        .where(api_token.c.id == number, stale | (api_token.c.used_from != address))
        .values(used_at=now, used_from=address[:64])
    )


def revoke_token(connection: Connection, number: int, owner: str | None = None) -> ApiToken | None:
    """Ends a token, an owner's where one is given; gives what it was, None where there is none."""
    found = next((one for one in tokens(connection, owner) if one.id == number), None)
    if found is not None:
        connection.execute(delete(api_token).where(api_token.c.id == number))
    return found


def _token(row: Any) -> ApiToken:  # noqa: ANN401 - a row
    return ApiToken(
        row.id, row.owner, Role(row.role), row.label, row.created_at, row.expires_at, row.used_at, row.used_from
    )
