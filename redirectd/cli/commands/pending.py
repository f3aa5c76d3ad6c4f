"""`redirectd pending`: what waits for review."""

from __future__ import annotations

import click

from redirectd.cli.app import App, pass_app, reading
from redirectd.cli.options import Filters, filter_options
from redirectd.cli.output import json_option, wide_option
from redirectd.cli.pager import paged
from redirectd.cli.remapview import after_option, limit_option, list_filtered, list_named, pending_argument


@click.command("pending")
@pending_argument
@filter_options
@limit_option
@after_option
@wide_option
@json_option
@pass_app
@reading
@paged
def pending_command(
    app: App, names: tuple[str, ...], filters: Filters, limit: int | None, after: int, *, as_json: bool
) -> None:
    """Show what waits for review, and what holds it: all of it, or by id, old URI or filter.

    Approved remaps whose target fails come first, then those past their review date; both keep routing.
    """
    empty = "nothing waits for review; 'redirectd list' shows all remaps, 'redirectd ingest FILE' reads a log"
    if names:
        list_named(app, names, ("pending",), filters, as_json=as_json, empty=empty)
        return
    list_filtered(app, ("pending",), filters, limit, after, as_json=as_json, with_state=False, empty=empty)
