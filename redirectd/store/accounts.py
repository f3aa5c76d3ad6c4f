"""Who may sign in to the console, and the browsers that are signed in.

A session is 256 random bits that its browser alone has: the database keeps a SHA-256 of it. Passwords are argon2
hashes, which `redirectd.console.sign_in` makes and checks.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from redirectd.store.schema import console_account, console_session
from redirectd.store.tokens import NOTED_EVERY, Role, hashed

MOST_SESSIONS = 20
"""Sessions of one account; a further sign-in ends the one that was not used for longest."""


@dataclass(frozen=True, slots=True)
class Account:
    """A local account; `password` is an argon2 hash."""

    name: str
    role: Role
    password: str
    created_at: datetime
    is_disabled: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in; forms prove by `csrf` that they are the console's own.

    `account` has its kind, as in `local:ada`; `role` is that of the sign-in, None where it is looked up each time.
    """

    account: str
    role: Role | None
    csrf: str
    expires_at: datetime
    used_at: datetime


def account_of(connection: Connection, name: str) -> Account | None:
    """The local account of a name."""
    row = connection.execute(select(console_account).where(console_account.c.name == name)).one_or_none()
    # MariaDB compares without case: another spelling is another account.
    return None if row is None or row.name != name else _account(row)


def accounts(connection: Connection) -> list[Account]:
    """All local accounts, by name."""
    return [_account(row) for row in connection.execute(select(console_account).order_by(console_account.c.name))]


def add_account(connection: Connection, account: Account) -> None:
    """Makes an account, of whose name there is none."""
    connection.execute(
        console_account.insert().values(name=account.name, created_at=account.created_at, **_of(account))
    )


def change_account(connection: Connection, account: Account) -> None:
    """Gives an account another role, password or state; its sessions end."""
    end_sessions(connection, f"local:{account.name}")
    connection.execute(update(console_account).where(console_account.c.name == account.name).values(**_of(account)))


def _of(account: Account) -> dict[str, Any]:
    return {"role": account.role.value, "password": account.password, "disabled": account.is_disabled}


def begin_session(
    connection: Connection, account: str, role: Role | None, *, now: datetime, expires_at: datetime
) -> tuple[str, Session]:
    """Signs a browser in; gives what its cookie holds, which is not kept, and the session."""
    table = console_session
    connection.execute(delete(table).where(table.c.expires_at <= now))
    newest = select(table.c.hash).where(table.c.account == account).order_by(table.c.used_at.desc())
    for old in connection.scalars(newest.offset(MOST_SESSIONS - 1).limit(1000)).all():
        connection.execute(delete(table).where(table.c.hash == old))
    secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    values = {"hash": hashed(secret), "account": account, "role": role.value if role else None, "csrf": csrf}
    connection.execute(table.insert().values(created_at=now, used_at=now, expires_at=expires_at, **values))
    return secret, Session(account, role, csrf, expires_at, now)


def session_of(connection: Connection, secret: str, *, now: datetime, idle: timedelta) -> Session | None:
    """The session of a cookie, unless it has ended or was not used for `idle`."""
    table = console_session
    query = select(table).where(table.c.hash == hashed(secret), table.c.expires_at > now, table.c.used_at > now - idle)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Session(row.account, Role(row.role) if row.role else None, row.csrf, row.expires_at, row.used_at)


def note_session(connection: Connection, secret: str, now: datetime) -> None:
    """Keeps when a session was used last, to a minute."""
    table = console_session
    stale = (table.c.hash == hashed(secret)) & (table.c.used_at < now - NOTED_EVERY)
    connection.execute(update(table).where(stale).values(used_at=now))


def end_session(connection: Connection, secret: str) -> bool:
    """Signs a browser out; gives whether it was signed in."""
    ended = connection.execute(delete(console_session).where(console_session.c.hash == hashed(secret)))
    return ended.rowcount > 0


def end_sessions(connection: Connection, account: str) -> None:
    """Signs all browsers of an account out."""
    connection.execute(delete(console_session).where(console_session.c.account == account))


def _account(row: Any) -> Account:  # noqa: ANN401 - a row
    return Account(row.name, Role(row.role), row.password, row.created_at, row.disabled)
