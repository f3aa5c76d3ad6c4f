"""`redirectd show`: remaps with all that is known of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app, reading
from redirectd.cli.decisions import is_id
from redirectd.cli.options import Filters, filter_options, ids_of, no_match
from redirectd.cli.output import emit_json, json_option, note, say
from redirectd.cli.pager import paged
from redirectd.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from redirectd.store.remap import Remap


@click.command("show")
@click.argument("names", nargs=-1, metavar="[ID|URI...]", shell_complete=ids_of())
@filter_options
@click.option("--ladder", "as_ladder", is_flag=True, help="Draw the request, its answer and the new request instead.")
@json_option
@pass_app
@reading
@paged
def show_command(app: App, names: tuple[str, ...], filters: Filters, *, as_ladder: bool, as_json: bool) -> None:
    """Show remaps with their evidence, by id, old URI or filter; an old URI shows all remaps of it.

    --ladder draws the newest sighting: who sent which message where, and where the next one would go.

    --json gives one object for one id, else a list of them under the key remaps.
    """
    from redirectd.cli.decisions import named_all
    from redirectd.review.attention import with_attention
    from redirectd.review.documents import shown_json

    if not names and filters.is_empty:
        raise UsageError("redirectd show", "no remap was named", "name one: redirectd show ID")
    now, rules = app.now(), app.config.rules()
    documents = []
    with app.database.read() as connection:
        if names:
            found = with_attention(connection, named_all(connection, names, filters, rules), now=now)
        else:
            found = filters.find(connection, [], rules, now)
        for place, remap in enumerate(found):
            if as_json:
                documents.append(shown_json(connection, remap, now))
                continue
            if place:
                say()
            if as_ladder:
                _draw(connection, remap)
            else:
                _show(connection, remap, now)
    if as_json:
        emit_json(documents[0] if len(names) == 1 and is_id(names[0]) else {"remaps": documents})
    elif not found:
        with app.database.read() as connection:
            note(no_match(connection, filters))


def _show(connection: Connection, remap: Remap, now: datetime) -> None:
    from redirectd.cli.remapview import show_one
    from redirectd.review.attention import effect
    from redirectd.store import audit, in_service, remaps

    wait_ms = in_service.wait_of(connection, remap.id)
    routed = in_service.services(connection, [remap.id]).get(remap.id, [])
    effects = [effect(one, wait_ms) for one in routed]
    show_one(remap, remaps.evidence_of(connection, remap.id), audit.entries_of(connection, remap.id), effects, now)


def _draw(connection: Connection, remap: Remap) -> None:
    from redirectd.cli.ladder import moved_ladder, pen_of, width_of
    from redirectd.store import remaps

    say(f"remap {remap.id}, {remap.kind}, {remap.state}")
    for line in moved_ladder(remap, remaps.evidence_of(connection, remap.id), width_of(sys.stdout), pen_of(sys.stdout)):
        say(line)
