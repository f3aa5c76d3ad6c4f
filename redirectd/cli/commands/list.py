"""`redirectd list`: all remaps by state."""

from __future__ import annotations

import click

from redirectd.cli.app import App, pass_app, reading
from redirectd.cli.options import Filters, filter_options
from redirectd.cli.output import json_option, wide_option
from redirectd.cli.pager import paged
from redirectd.cli.remapview import STATES, after_option, limit_option, list_filtered, list_named, names_argument


@click.command("list")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only remaps in this state.")
@names_argument
@filter_options
@limit_option
@after_option
@wide_option
@json_option
@pass_app
@reading
@paged
def list_command(
    app: App,
    names: tuple[str, ...],
    states: tuple[str, ...],
    filters: Filters,
    limit: int | None,
    after: int,
    *,
    as_json: bool,
) -> None:
    """Show all remaps by state, or those of ids, old URIs or a filter."""
    empty = "there are no such remaps; 'redirectd ingest FILE' reads a log"
    if names:
        list_named(app, names, states, filters, as_json=as_json, empty=empty)
        return
    list_filtered(app, states, filters, limit, after, as_json=as_json, with_state=True, empty=empty)
