"""`redirectd lookup`: what routing does with URIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app, reading
from redirectd.cli.filters import Filters, filter_options, no_match
from redirectd.cli.options import ids_of
from redirectd.cli.output import emit_json, json_option, note, say
from redirectd.cli.pager import paged
from redirectd.errors import UsageError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from redirectd.plan.hops import Lookup
    from redirectd.sip.uri import SipUri


@click.command("lookup")
@click.argument("names", nargs=-1, metavar="[URI|ID...]", shell_complete=ids_of())
@filter_options
@json_option
@pass_app
@reading
@paged
def lookup_command(app: App, names: tuple[str, ...], filters: Filters, *, as_json: bool) -> None:
    """Show what routing does with URIs, hop by hop, once the approved remaps are applied.

    An id, and a filter, stand for the old URIs of remaps; a URI need not be of any. --json gives one object for one
    name, else a list of them under the key lookups.
    """
    from redirectd.plan.hops import lookup_json

    if bool(names) is not filters.is_empty:
        raise UsageError(
            "redirectd lookup", "it takes URIs and ids, or else a filter", "name one: redirectd lookup sip:user@host"
        )
    with app.database.read() as connection:
        answers = [_answer(connection, app, uri) for uri in _wanted(connection, app, names, filters)]
    if as_json:
        documents = [lookup_json(answer) for answer in answers]
        emit_json(documents[0] if len(names) == 1 else {"lookups": documents})
        return
    for answer in answers:
        _show(answer)
    if not answers:
        with app.database.read() as connection:
            note(no_match(connection, filters))


def _wanted(connection: Connection, app: App, names: tuple[str, ...], filters: Filters) -> list[SipUri]:
    from redirectd.cli.named import named, sip_uri
    from redirectd.cli.selection import is_id
    from redirectd.review.chain import sip

    policy = app.config.rules()
    if not names:
        found = filters.find(connection, [], policy, app.now())
        return [sip(old) for old in dict.fromkeys(remap.old_uri for remap in found)]
    return [sip(named(connection, what, policy)[0].old_uri) if is_id(what) else sip_uri(what) for what in names]


def _answer(connection: Connection, app: App, uri: SipUri) -> Lookup:
    """From the remaps that a call to the URI can come by: the whole table is not needed."""
    from redirectd.plan.hops import lookup
    from redirectd.review.chain import onward

    now = app.now()
    reached = onward(connection, "user", uri, now=now)
    return lookup(reached + ([] if uri.user else onward(connection, "gateway", uri, now=now)), uri)


def _show(answer: Lookup) -> None:
    for hop in answer.hops:
        say(f"{printable(str(hop.old))}  ->  {printable(str(hop.new))}  (remap {hop.id})")
    uri = printable(str(answer.uri))
    if answer.result is not None:
        say(f"{uri} is routed to {printable(str(answer.result))}")
    else:
        say(f"{uri} is not moved" + (f": {printable(answer.reason)}" if answer.reason else ""))
