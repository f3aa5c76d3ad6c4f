"""`redirectd console`: the review console with the REST API, who may sign in, and the tokens."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.main import CommandGroup
from redirectd.cli.output import emit_json, exact_time, json_option, note, say, table, zone
from redirectd.errors import ConfigError, UsageError
from redirectd.sip.text import printable
from redirectd.times import rfc3339

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROLES = ("viewer", "reviewer", "applier", "admin")
MOST_DAYS = 366
_role = click.option(
    "--role", type=click.Choice(ROLES), default="reviewer", show_default=True, help="What it allows at most."
)


@click.group("console", cls=CommandGroup, invoke_without_command=True)
@click.pass_context
def console_command(ctx: click.Context) -> None:
    """Run the review console and its REST API, or say who may use them.

    Without a subcommand it serves what [console] in the configuration says, until SIGTERM or SIGINT: by default on
    http://127.0.0.1:8301, for this host alone. It reads and writes the database and nothing else; it applies nothing.
    """
    if ctx.invoked_subcommand is None:
        app: App = ctx.obj
        _serve(app)


def _serve(app: App) -> None:
    try:
        from redirectd.console.serve import section_of, serve
    except ModuleNotFoundError as error:
        raise _without_extra(error) from error
    from redirectd.service.log_records import configure

    section_of(app.config)
    daemon = app.config.daemon
    configure(daemon.log_level, json=None if daemon.log_format == "auto" else daemon.log_format == "json")
    serve(app.config, app.database)


@console_command.command("add-token")
@click.option("--label", default="", metavar="TEXT", help="What it is for.")
@click.option("--days", type=click.IntRange(1, MOST_DAYS), default=90, show_default=True, help="Days until it expires.")
@_role
@json_option
@pass_app
def add_token_command(app: App, label: str, role: str, days: int, *, as_json: bool) -> None:
    """Make a token for the API; it decides as you, by the login that the kernel knows.

    It is shown once, here: the database keeps a hash of it.
    """
    from redirectd.store import tokens

    now = app.now()
    with app.database.begin() as connection:
        secret, made = tokens.make_token(
            connection,
            app.account,
            tokens.Role(role),
            printable(label, 64),
            now=now,
            expires_at=now + timedelta(days=days),
        )
        _note(connection, app, "token", {"token": made.id, "owner": made.owner, "role": role})
    if as_json:
        shown = {"id": made.id, "owner": made.owner, "role": role, "expires_at": rfc3339(made.expires_at)}
        emit_json({**shown, "token": secret})
        return
    say(secret)
    note(f"token {made.id} of {printable(made.owner, 80)}, {role}, until {exact_time(made.expires_at)} {zone()}")


@console_command.command("tokens")
@json_option
@pass_app
def tokens_command(app: App, *, as_json: bool) -> None:
    """Show all tokens, with their last use; never what they are."""
    from redirectd.review.documents import token_json
    from redirectd.store import tokens

    with app.database.read() as connection:
        found = tokens.tokens(connection)
    if as_json:
        emit_json({"tokens": [token_json(one) for one in found]})
    elif found:
        columns = ["token", "owner", "role", "label", f"expires ({zone()})", "last used", "from"]
        rows = [
            [
                one.id,
                printable(one.owner, 80),
                one.role.value,
                printable(one.label),
                exact_time(one.expires_at),
                exact_time(one.used_at) if one.used_at else "never",
                printable(one.used_from),
            ]
            for one in found
        ]
        table(columns, rows, right=["token"])
    else:
        note("no tokens: redirectd console add-token")


@console_command.command("revoke-token")
@click.argument("number", type=int)
@pass_app
def revoke_token_command(app: App, number: int) -> None:
    """End a token at once."""
    from redirectd.store import tokens

    with app.database.begin() as connection:
        found = tokens.revoke_token(connection, number)
        if found is None:
            raise UsageError(f"token {number}", "there is no such token", "redirectd console tokens")
        _note(connection, app, "revoke-token", {"token": number, "owner": found.owner})
    say(f"token {number} is revoked")


_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_name = click.argument("name")


@console_command.command("add-user")
@_name
@_role
@pass_app
def add_user_command(app: App, name: str, role: str) -> None:
    """Make a local account that may sign in to the console.

    The password is asked for on a terminal, else read from standard input: one line of 12 characters or more.
    """
    from redirectd.store import accounts, tokens

    if not _NAME.fullmatch(name):
        raise UsageError(
            printable(name, 80),
            "a name has 1 to 64 small letters, digits, and . _ - after the first",
            "choose another one, such as ada.lovelace",
        )
    account = accounts.Account(name, tokens.Role(role), _new_password(), app.now())
    with app.database.begin() as connection:
        _note(connection, app, "add-user", {"account": f"local:{name}", "role": role})
        if accounts.account_of(connection, name) is not None:
            what_to_do = f"redirectd console set-password {name}, or change-user"
            raise UsageError(f"local:{name}", "there is an account of this name", what_to_do)
        accounts.add_account(connection, account)
    say(f"local:{name} may sign in as {role}")


@console_command.command("set-password")
@_name
@pass_app
def set_password_command(app: App, name: str) -> None:
    """Give a local account a new password; its sessions end."""
    _change(app, name, "set-password", password=_new_password())
    say(f"local:{name} has a new password")


@console_command.command("change-user")
@_name
@click.option("--role", type=click.Choice(ROLES), help="Its new role.")
@click.option("--disable/--enable", "is_disabled", default=None, help="Whether it may sign in.")
@pass_app
def change_user_command(app: App, name: str, *, role: str | None, is_disabled: bool | None) -> None:
    """Disable a local account, or give it another role; its sessions end."""
    from redirectd.store.tokens import Role

    if role is None and is_disabled is None:
        raise UsageError("change-user", "nothing to change", "add --role, --disable or --enable")
    new = {"role": None if role is None else Role(role), "is_disabled": is_disabled}
    _change(app, name, "change-user", **{key: value for key, value in new.items() if value is not None})
    say(f"local:{name} is changed")


@console_command.command("users")
@json_option
@pass_app
def users_command(app: App, *, as_json: bool) -> None:
    """Show the local accounts."""
    from redirectd.store import accounts

    with app.database.read() as connection:
        found = accounts.accounts(connection)
    if as_json:
        rows = [
            {
                "name": one.name,
                "role": one.role.value,
                "disabled": one.is_disabled,
                "created_at": rfc3339(one.created_at),
            }
            for one in found
        ]
        emit_json({"users": rows})
    elif found:
        shown = [
            [f"local:{one.name}", one.role.value, exact_time(one.created_at), "disabled" if one.is_disabled else ""]
            for one in found
        ]
        table(["account", "role", f"made ({zone()})", ""], shown)
    else:
        note("no local accounts: redirectd console add-user NAME")


def _change(app: App, name: str, action: str, **new: Any) -> None:  # noqa: ANN401 - fields of an Account
    """Changes an account, audited. Raises UsageError where there is none."""
    from redirectd.store import accounts

    with app.database.begin() as connection:
        detail = {key.removeprefix("is_"): str(value).lower() for key, value in new.items() if key != "password"}
        _note(connection, app, action, {"account": f"local:{name[:64]}", **detail})
        found = accounts.account_of(connection, name)
        if found is None:
            raise UsageError(printable(name, 80), "there is no such account", "redirectd console users")
        accounts.change_account(connection, replace(found, **new))


def _new_password() -> str:
    """The hash of a password that is asked for. Raises UsageError for one that is too short, or the extra missing."""
    try:
        from redirectd.console.sign_in import hash_password
    except ModuleNotFoundError as error:
        raise _without_extra(error) from error
    if sys.stdin.isatty():
        return hash_password(click.prompt("password", hide_input=True, confirmation_prompt=True))
    return hash_password(sys.stdin.readline().rstrip("\n"))


def _without_extra(error: ModuleNotFoundError) -> ConfigError:
    why = f"the Python package {error.name} is not installed"
    return ConfigError("redirectd console", why, "pip install 'redirectd[console]'")


def _note(connection: Connection, app: App, action: str, detail: Mapping[str, object]) -> None:
    """Writes into the audit who gave or took access."""
    from redirectd.store import audit
    from redirectd.store.turns import take_turn

    take_turn(connection, audit.TURN)
    audit.append(connection, audit.AuditEntry(at=app.now(), actor=app.actor, action=action, detail=detail))
