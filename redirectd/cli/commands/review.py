"""`redirectd review`: one remap after another, one key each."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app, reading
from redirectd.cli.options import Filters, filter_options
from redirectd.cli.output import say, say_wrapped

if TYPE_CHECKING:
    from redirectd.store.remap import Remap


@click.command("review")
@filter_options
@pass_app
@reading
def review_command(app: App, filters: Filters) -> None:
    """Decide on one remap after another, with its evidence and what routing does today and would do after.

    Approved remaps whose target fails, or whose review date is past, come first. Keys: a approves, r rejects, s skips,
    c or 1 to 9 choose a Contact, n notes, e shows all evidence, u undoes, f filters, b decides on all that the filter
    passes, q quits. Where standard input is not a terminal, each line's first character is the key.
    """
    from redirectd.cli.planview import wider_lines, wider_of
    from redirectd.cli.reviewing.loop import sit
    from redirectd.cli.reviewing.screen import keys_of, screen_of
    from redirectd.cli.reviewing.session import ReviewSession
    from redirectd.service.applying import publish_targets

    def write(text: str) -> None:
        click.echo(text, nl=False)
        sys.stdout.flush()

    if sys.stdin.isatty():  # started with SIGINT ignored, as a background job is, Python would leave it so
        signal.signal(signal.SIGINT, signal.default_int_handler)
    screen = screen_of(keys_of(sys.stdin, write), write, sys.stdout)

    def besides(remap: Remap) -> list[str]:
        return wider_lines(wider_of(app.config, [remap]))

    session = ReviewSession.of(app.database, app.config.rules(), app.actor, app.now, screen, filters, besides)
    session.account = app.account
    publish_targets(app.config, app.database)
    try:
        sit(session)
    except KeyboardInterrupt:
        say()
    finally:
        _end(app, session.counts)


def _end(app: App, counts: Mapping[str, int]) -> None:
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    if told:
        say(told)
    if counts.get("approved") or counts.get("revoked"):
        from redirectd.cli.planview import next_plan, outlook_lines

        for line in outlook_lines(next_plan(app), ()):
            say_wrapped(line, indent="    ")
