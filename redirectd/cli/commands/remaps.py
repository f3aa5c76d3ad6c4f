"""`redirectd pending`, `list` and `show`: reading remaps."""

from __future__ import annotations

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.filters import Filters, filter_options
from redirectd.cli.output import emit_json, json_option, note

STATES = ("pending", "approved", "rejected", "revoked", "superseded", "expired")
PAGE = 200
"""Rows of a table for people where --limit is not given."""

limit_option = click.option("--limit", type=click.IntRange(min=1), help=f"At most so many. Tables: {PAGE}; JSON: all.")
after_option = click.option("--after", type=int, default=0, metavar="ID", help="Only remaps behind this id.")


@click.command("pending")
@filter_options
@limit_option
@after_option
@json_option
@pass_app
def pending_command(app: App, filters: Filters, limit: int | None, after: int, *, as_json: bool) -> None:
    """Show what waits for review, and what holds it.

    Approved remaps whose target fails come first, then those past their review date; both keep routing.
    """
    empty = "nothing waits for review; 'redirectd list' shows all remaps, 'redirectd ingest FILE' reads a log"
    _list(app, ("pending",), filters, limit, after, as_json=as_json, with_state=False, empty=empty)


@click.command("list")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only remaps in this state.")
@filter_options
@limit_option
@after_option
@json_option
@pass_app
def list_command(
    app: App, states: tuple[str, ...], filters: Filters, limit: int | None, after: int, *, as_json: bool
) -> None:
    """Show all remaps, by state."""
    empty = "there are no such remaps; 'redirectd ingest FILE' reads a log"
    _list(app, states, filters, limit, after, as_json=as_json, with_state=True, empty=empty)


@click.command("show")
@click.argument("what", metavar="ID")
@json_option
@pass_app
def show_command(app: App, what: str, *, as_json: bool) -> None:
    """Show one remap with its evidence; an old URI shows all remaps of it."""
    from redirectd.cli.named import named
    from redirectd.cli.remapview import entry_json, evidence_json, remap_json, service_json, show_one
    from redirectd.review.attention import with_attention
    from redirectd.review.effect import effect
    from redirectd.store import audit, in_service, remaps

    now = app.now()
    documents = []
    with app.database.read() as connection:
        for remap in with_attention(connection, named(connection, what, app.config.rules()), now=now):
            evidence = remaps.evidence_of(connection, remap.id)
            entries = audit.entries_of(connection, remap.id)
            routed = in_service.services(connection, [remap.id]).get(remap.id, [])
            wait_ms = in_service.wait_of(connection, remap.id)
            if not as_json:
                show_one(remap, evidence, entries, [effect(one, wait_ms) for one in routed], now)
                continue
            details = [{"uri": one.uri, "q": one.q, "dropped": one.dropped, "raw": one.raw} for one in remap.contacts]
            documents.append(
                remap_json(remap, now)
                | {
                    "contact_details": details,
                    "wait_ms": None if wait_ms is None else round(wait_ms, 3),
                    "in_service": [service_json(one) for one in routed],
                    "evidence": [evidence_json(one) for one in evidence],
                    "audit": [entry_json(entry) for entry in entries],
                }
            )
    if as_json:
        emit_json(documents[0] if what.isdecimal() else {"remaps": documents})


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
    with app.database.read() as connection:
        found = filters.find(connection, [State(state) for state in states], rules, now, after_id=after, limit=page)
        full = len(found) == page
        if states == ("pending",) and not with_state and filters.is_empty and after == 0:
            found = [*due(connection, rules, now=now), *found]
    if with_state:
        found.sort(key=lambda remap: (STATES.index(remap.state.value), remap.id))
    show_list(found, now, as_json=as_json, with_state=with_state, empty=empty)
    if not as_json and full:
        note(f"there may be more: --after {max(remap.id for remap in found)}, or --limit")
