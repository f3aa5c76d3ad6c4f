"""`redirectd console`: the REST API, and its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.main import CommandGroup
from redirectd.cli.output import emit_json, exact_time, json_option, note, say, table, zone
from redirectd.errors import ConfigError, UsageError
from redirectd.sip.text import printable
from redirectd.times import rfc3339

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROLES = ("viewer", "reviewer", "admin")
MOST_DAYS = 366
_role = click.option(
    "--role", type=click.Choice(ROLES), default="reviewer", show_default=True, help="What it allows at most."
)


@click.group("console", cls=CommandGroup, invoke_without_command=True)
@click.pass_context
def console_command(ctx: click.Context) -> None:
    """Run the REST API for review, or make and revoke its tokens.

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
        raise ConfigError(
            "redirectd console", f"the Python package {error.name} is not installed", "pip install 'redirectd[console]'"
        ) from error
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


def _note(connection: Connection, app: App, action: str, detail: Mapping[str, object]) -> None:
    """Writes into the audit who gave or took access."""
    from redirectd.store import audit
    from redirectd.store.turns import take_turn

    take_turn(connection, audit.TURN)
    audit.append(connection, audit.AuditEntry(at=app.now(), actor=app.actor, action=action, detail=detail))
