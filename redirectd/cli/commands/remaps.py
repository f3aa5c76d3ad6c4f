"""`redirectd pending`, `list` and `show`: reading remaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.filters import Filters, filter_options
from redirectd.cli.output import json_option, note

if TYPE_CHECKING:
    from redirectd.store.remap import Remap

STATES = ("pending", "approved", "rejected", "revoked", "superseded", "expired")
PAGE = 200
"""Rows of a table for people where --limit is not given."""

limit_option = click.option("--limit", type=click.IntRange(min=1), help=f"At most so many. Tables: {PAGE}; JSON: all.")
after_option = click.option("--after", type=int, default=0, metavar="ID", help="Only remaps behind this id.")


names_argument = click.argument("names", nargs=-1, metavar="[ID|URI...]")


@click.command("pending")
@names_argument
@filter_options
@limit_option
@after_option
@json_option
@pass_app
def pending_command(
    app: App, names: tuple[str, ...], filters: Filters, limit: int | None, after: int, *, as_json: bool
) -> None:
    """Show what waits for review, and what holds it: all of it, or by id, old URI or filter.

    Approved remaps whose target fails come first, then those past their review date; both keep routing.
    """
    empty = "nothing waits for review; 'redirectd list' shows all remaps, 'redirectd ingest FILE' reads a log"
    if names:
        _list_named(app, names, ("pending",), filters, as_json=as_json, empty=empty)
        return
    _list(app, ("pending",), filters, limit, after, as_json=as_json, with_state=False, empty=empty)


@click.command("list")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only remaps in this state.")
@names_argument
@filter_options
@limit_option
@after_option
@json_option
@pass_app
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
        _list_named(app, names, states, filters, as_json=as_json, empty=empty)
        return
    _list(app, states, filters, limit, after, as_json=as_json, with_state=True, empty=empty)


def _list_named(
    app: App, names: tuple[str, ...], states: tuple[str, ...], filters: Filters, *, as_json: bool, empty: str
) -> None:
    from redirectd.cli.named import named_all
    from redirectd.cli.remapview import show_list
    from redirectd.review.attention import with_attention

    now = app.now()
    with app.database.read() as connection:
        found = with_attention(connection, named_all(connection, names, filters, app.config.rules()), now=now)
    wanted = [remap for remap in found if not states or remap.state in states]
    show_list(wanted, now, as_json=as_json, with_state=True, empty=empty)


def _list(
    app: App,
    states: tuple[str, ...],
    filters: Filters,
    limit: int | None,
    after: int,
    *,
    as_json: bool,
    with_state: bool,
    empty: str,
) -> None:
    from redirectd.cli.remapview import show_list
    from redirectd.review.attention import due
    from redirectd.store.remap import State

    now = app.now()
    page = limit or (None if as_json else PAGE)
    rules = app.config.rules()
    due_first: list[Remap] = []
    with app.database.read() as connection:
        if states == ("pending",) and not with_state and filters.is_empty and after == 0:
            half = None if page is None else max(1, page // 2)  # what waits must not be crowded out
            due_first = due(connection, rules, now=now, limit=half)
        rest = None if page is None else page - len(due_first)
        wanted = [State(state) for state in states]
        found = [] if rest == 0 else filters.find(connection, wanted, rules, now, after_id=after, limit=rest)
    full = len(found) == rest
    last = max((remap.id for remap in found), default=after)
    if with_state:
        found.sort(key=lambda remap: (STATES.index(remap.state.value), remap.id))
    show_list([*due_first, *found], now, as_json=as_json, with_state=with_state, empty=empty)
    if not as_json and full:
        note(f"there may be more: --after {last}, or --limit")
    if not as_json and page is not None and len(due_first) == max(1, page // 2):
        note(
            "more approved ones may fail or be past their review date: 'redirectd list --flag failing', '--flag stale'"
        )
