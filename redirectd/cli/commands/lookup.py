"""`redirectd lookup`: what routing does with a URI."""

from __future__ import annotations

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.output import emit_json, json_option, say
from redirectd.sip.text import printable


@click.command("lookup")
@click.argument("uri")
@json_option
@pass_app
def lookup_command(app: App, uri: str, *, as_json: bool) -> None:
    """Show what routing does with URI, hop by hop, once the approved remaps are applied."""
    from redirectd.cli.named import sip_uri
    from redirectd.plan.lookup import lookup, lookup_json
    from redirectd.store.remaps import approved

    wanted = sip_uri(uri)
    with app.database.read() as connection:
        answer = lookup(approved(connection, now=app.now()), wanted)
    if as_json:
        emit_json(lookup_json(answer))
        return
    for hop in answer.hops:
        say(f"{printable(str(hop.old))}  ->  {printable(str(hop.new))}  (remap {hop.id})")
    if answer.result is not None:
        say(f"{printable(str(wanted))} is routed to {printable(str(answer.result))}")
    else:
        say(f"{printable(str(wanted))} is not moved" + (f": {printable(answer.reason)}" if answer.reason else ""))
