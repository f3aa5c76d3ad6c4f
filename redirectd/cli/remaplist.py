"""What `pending` and `list` share: their options, and the remaps of names or filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from redirectd.cli.filters import no_match
from redirectd.cli.options import ids_of
from redirectd.cli.output import emit_pieces, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from redirectd.cli.app import App
    from redirectd.cli.filters import Filters
    from redirectd.store.remap import Remap

STATES = ("pending", "approved", "rejected", "revoked", "superseded", "expired")
PAGE = 200
"""Rows of a table for people where --limit is not given."""

limit_option = click.option(
    "--limit", type=click.IntRange(min=1), help=f"Maximum number of remaps. Default: {PAGE} in tables, all in JSON."
)
after_option = click.option(
    "--after", type=int, default=0, metavar="ID", shell_complete=ids_of(), help="Only remaps with a higher id."
)


names_argument = click.argument("names", nargs=-1, metavar="[ID|URI...]", shell_complete=ids_of())
pending_argument = click.argument("names", nargs=-1, metavar="[ID|URI...]", shell_complete=ids_of("pending"))


def list_named(
    app: App,
    names: tuple[str, ...],
    states: tuple[str, ...],
    filters: Filters,
    *,
    as_json: bool,
    empty: str,
) -> None:
    """Prints the remaps of ids and old URIs. Raises UsageError for a name of none, and for names with a filter."""
    from redirectd.cli.named import named_all
    from redirectd.cli.remapview import show_list
    from redirectd.review.attention import with_attention

    now = app.now()
    with app.database.read() as connection:
        found = with_attention(connection, named_all(connection, names, filters, app.config.rules()), now=now)
    wanted = [remap for remap in found if not states or remap.state in states]
    others = [f"remap {remap.id} is {remap.state.value}" for remap in found if remap not in wanted]
    show_list(wanted, now, as_json=as_json, with_state=True, empty="; ".join(others) or empty)
    if wanted and others and not as_json:
        note("; ".join(others))


def list_filtered(
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
    """Prints the remaps that pass the filters, a page of them for people; what is due first without a filter."""
    from redirectd.cli.remapview import show_list
    from redirectd.review.attention import due
    from redirectd.store.remap import State

    now = app.now()
    if as_json and limit is None:
        _stream(app, states, filters, after, with_state=with_state)
        return
    page = limit or PAGE
    rules = app.config.rules()
    due_first: list[Remap] = []
    with app.database.read() as connection:
        if _has_due(states, filters, after, with_state=with_state):
            due_first = due(connection, rules, now=now, limit=max(1, page // 2))  # what waits must not be crowded out
        rest = page - len(due_first)
        wanted = [State(state) for state in states]
        found = [] if rest == 0 else filters.find(connection, wanted, rules, now, after_id=after, limit=rest)
        if not (found or due_first or as_json):
            empty = _why_empty(connection, states, filters, after) or empty
    full = len(found) == rest
    last = max((remap.id for remap in found), default=after)
    if with_state:
        found.sort(key=lambda remap: (STATES.index(remap.state.value), remap.id))
    show_list([*due_first, *found], now, as_json=as_json, with_state=with_state, empty=empty)
    if not as_json and full:
        note(f"there may be more: --after {last}, or --limit")
    if not as_json and len(due_first) == max(1, page // 2):
        note(
            "more approved ones may fail or be past their review date: 'redirectd list --flag failing', '--flag stale'"
        )


def _has_due(states: tuple[str, ...], filters: Filters, after: int, *, with_state: bool) -> bool:
    """Whether approved remaps that a person should look at again come first: in all that is pending."""
    return states == ("pending",) and not with_state and filters.is_empty and after == 0


def _stream(app: App, states: tuple[str, ...], filters: Filters, after: int, *, with_state: bool) -> None:
    """Prints all remaps as one JSON document while they are read: no number of them fills the memory."""
    from dataclasses import replace

    from redirectd.cli.remapview import remap_json
    from redirectd.review.attention import all_due
    from redirectd.review.exchange import write
    from redirectd.review.page import matching
    from redirectd.store.remap import State

    now, rules = app.now(), app.config.rules()
    parts = [filters.query([State(name) for name in STATES if not states or name in states], now)]
    if with_state:
        parts = [replace(parts[0], states=[state]) for state in parts[0].states]

    def found(connection: Connection) -> Iterator[Remap]:
        if _has_due(states, filters, after, with_state=with_state):
            yield from all_due(connection, rules, now=now)
        for query in parts:
            yield from matching(connection, query, rules, after=after)

    with app.database.read() as connection:
        emit_pieces(write((remap_json(remap, now) for remap in found(connection)), "json"))


def _why_empty(connection: Connection, states: tuple[str, ...], filters: Filters, after: int) -> str:
    """What the filter, the states or the page have hidden; empty where there is nothing without them either."""
    from redirectd.store.remaps import counts

    by_state = counts(connection)
    total = sum(count for state, count in by_state.items() if not states or state in states)
    which = f"{' or '.join(states)} " if states else ""
    if not filters.is_empty:
        return no_match(connection, filters, states)
    if after and total:
        return f"no {which}remap after id {after} ({total:,} before it)"
    if states and states != ("pending",) and sum(by_state.values()):
        return f"no {which}remap ({sum(by_state.values()):,} in other states)"
    return ""
