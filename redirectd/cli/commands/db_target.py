"""`redirectd db-target`: the tables of targets that are kept in a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.main import CommandGroup
from redirectd.cli.output import emit_json, json_option, say
from redirectd.errors import UsageError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from redirectd.apply.sql_rows import SqlRows
    from redirectd.plan.target_spec import TargetSpec

_reader_option = click.option(
    "--reader",
    metavar="USER",
    help="The server's own user, which may read the table. Default: kamailio or asterisk.",
)
_from_option = click.option(
    "--from",
    "host",
    metavar="HOST",
    default="localhost",
    show_default=True,
    help="MariaDB: where both users come from, as the database sees it; % is everywhere.",
)


@click.group("db-target", cls=CommandGroup)
def db_target_command() -> None:
    """Print or run the SQL for a target's table.

    It is about targets that are kept in a database, with `database` in place of `path`.
    """


@db_target_command.command("sql")
@click.argument("name", metavar="TARGET")
@_reader_option
@_from_option
@pass_app
def sql_command(app: App, name: str, reader: str | None, host: str) -> None:
    """Print the SQL for a target's table and for the least rights on it, to be run by the database's administrator."""
    for statement in _statements(app, name, reader, host):
        say(f"{statement};")


@db_target_command.command("create")
@click.argument("name", metavar="TARGET")
@click.option(
    "--admin",
    metavar="URL",
    help="Connect as this user, who may create tables and grant; its password comes from --password-file. Default: "
    "the target's own `database`.",
)
@click.option(
    "--password-file",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file whose first line is the password for --admin.",
)
@_reader_option
@_from_option
@json_option
@pass_app
def create_command(
    app: App, name: str, admin: str | None, password_file: Path | None, reader: str | None, host: str, *, as_json: bool
) -> None:
    """Create a target's table and give the least rights on it: redirectd may change rows, the server read them.

    The users themselves must exist. A table that is there already stays as it is, only the rights are given.
    """
    statements = _statements(app, name, reader, host)
    spec = _of_database(app, name)
    rows = _rows(app, spec, admin, password_file)
    if admin is not None and _kind_of(admin) != _kind_of(spec.database or ""):
        what_to_do = f"name an administrator of {printable(rows.where)}, with the same host and database"
        raise UsageError("--admin", f"it is a URL of another kind of database than that of {name}", what_to_do)
    is_there = rows.exists()
    rows.make(statements[1:] if is_there else statements)
    if as_json:
        emit_json({"target": name, "table": rows.where, "created": not is_there})
    else:
        say(f"{rows.where}: " + ("already there, the rights are given" if is_there else "created"))


def _kind_of(url: str) -> str:
    """Give `mysql` or `postgresql`, whichever driver speaks to it."""
    return url.partition(":")[0].partition("+")[0]


def _statements(app: App, name: str, reader: str | None, host: str) -> list[str]:
    from sqlalchemy.engine import make_url

    from redirectd.targets.asterisk_aor_table import AsteriskAorTable
    from redirectd.targets.kamailio_gateway_table import KamailioGatewayTable

    spec = _of_database(app, name)
    url = make_url(spec.database or "")
    rows = _rows(app, spec)
    target = spec.target if isinstance(spec.target, KamailioGatewayTable | AsteriskAorTable) else rows.form
    reads = spec.kind.partition("-")[0] if reader is None else reader
    return target.setup(url.get_backend_name(), url.username or "redirectd", reads, host, rows.quote)


def _rows(app: App, spec: TargetSpec, admin: str | None = None, password_file: Path | None = None) -> SqlRows:
    from redirectd.service.applying import rows_of

    rows = rows_of(app.config, spec, admin, password_file)
    assert rows is not None, "a target with a database has a table"
    return rows


def _of_database(app: App, name: str) -> TargetSpec:
    from redirectd.config.specs import target_specs

    kept = {spec.name: spec for spec in target_specs(app.config) if spec.database is not None}
    if name not in kept:
        raise UsageError(
            f"redirectd db-target {printable(name, 60)}",
            "no target of this name is kept in a database",
            f"use one of: {', '.join(kept)}" if kept else 'write database = "mysql+pymysql://..." into one',
        )
    return kept[name]
