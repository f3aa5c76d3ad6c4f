"""`redirectd db`: the database's own care."""

from __future__ import annotations

from dataclasses import asdict

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.main import CommandGroup
from redirectd.cli.output import emit_json, json_option, say, say_wrapped


@click.group("db", cls=CommandGroup)
def db_command() -> None:
    """Upgrade, show and prune the database."""


@db_command.command("upgrade")
@json_option
@pass_app
def upgrade_command(app: App, *, as_json: bool) -> None:
    """Bring the database's tables to what this program needs; does nothing where they are.

    SQLite databases are upgraded by themselves. Make a backup of a shared one before.
    """
    from redirectd.store.migrate import upgrade

    database = app.unchecked_database()
    before, after = upgrade(database)
    if as_json:
        emit_json({"database": database.shown, "before": before, "after": after})
    elif before == after:
        say(f"{database.shown}: already at {after}")
    else:
        say(f"{database.shown}: upgraded from {before or 'nothing'} to {after}")
    database.close()


@db_command.command("current")
@json_option
@pass_app
def current_command(app: App, *, as_json: bool) -> None:
    """Show the revision of the database's tables, and the one this program needs."""
    from redirectd.store.migrate import current, head, is_newer

    database = app.unchecked_database()
    found, needed = None if database.is_missing else current(database), head()  # to ask it would make it
    newer = is_newer(found)
    older = found != needed and not newer
    if as_json:
        shown = {"database": database.shown, "current": found, "head": needed}
        emit_json({**shown, "upgrade_needed": older, "newer": newer})
    else:
        say(f"{database.shown}: at {found or 'nothing'}, this program needs {needed}")
        if older:
            say("the next command that uses it upgrades it" if database.file else "run: redirectd db upgrade")
        if newer:
            say("a newer redirectd has upgraded it: install that one here, or restore the backup made before")
    database.close()


@db_command.command("prune")
@json_option
@pass_app
def prune_command(app: App, *, as_json: bool) -> None:
    """Drop what is older than [retention] says, and give the disk its space back.

    Remaps, decisions and the audit are never dropped.
    """
    from redirectd.service.jobs import retention_of
    from redirectd.service.maintenance import prune, vacuum

    before = app.database.file_bytes()
    pruned = prune(app.database, retention_of(app.config), node=app.config.node, now=app.now())
    vacuum(app.database)
    freed = max(0, before - app.database.file_bytes())  # as `status` shows it: dropping rows made the log grow first
    counts = asdict(pruned)
    if as_json:
        emit_json({**counts, "freed_bytes": freed})
        return
    say_wrapped("dropped: " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()))
    say(f"freed {freed:,} bytes")
