"""`redirectd export`: remaps as CSV or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from redirectd.cli.app import App, pass_app, reading
from redirectd.cli.options import Filters, filter_options, no_match
from redirectd.cli.output import emit_pieces, note
from redirectd.cli.remapview import STATES

if TYPE_CHECKING:
    from datetime import datetime

    from redirectd.collect.policy import Policy
    from redirectd.review.page import Query
    from redirectd.review.portable import Format
    from redirectd.store.database import Database


@click.command("export")
@click.option("--format", "shape", type=click.Choice(["csv", "json"]), default="json", show_default=True, help="How.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only remaps in this state.")
@filter_options
@pass_app
@reading
def export_command(app: App, shape: str, states: tuple[str, ...], filters: Filters, *, as_json: bool) -> None:
    """Write remaps to standard output as CSV or JSON; 'redirectd import' reads both.

    Evidence and decisions stay in the database.
    """
    from redirectd.review.page import matching
    from redirectd.review.portable import write
    from redirectd.store.remap import State

    form: Format = "csv" if shape == "csv" and not as_json else "json"
    now = app.now()
    query = filters.query([State(state) for state in states], now)
    database = app.database  # opened here: its faults are reported before anything is printed
    emit_pieces(write(_documents(database, query, app.config.rules(), now), form))
    if not filters.is_empty:
        with database.read() as connection:
            if next(matching(connection, query, app.config.rules()), None) is None:
                note(no_match(connection, filters, states))


def _documents(database: Database, query: Query, rules: Policy, now: datetime) -> Iterator[dict[str, Any]]:
    """Each remap as `list --json` shows it, with what an import needs beside."""
    from redirectd.review.documents import remap_json
    from redirectd.review.page import matching
    from redirectd.review.portable import as_document, portable

    with database.read() as connection:
        for remap in matching(connection, query, rules):
            yield remap_json(remap, now) | as_document(portable(remap))
