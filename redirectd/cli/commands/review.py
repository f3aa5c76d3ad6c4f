"""`redirectd review`: one remap after another, one key each."""

from __future__ import annotations

import shutil
import sys

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.filters import Filters, filter_options
from redirectd.cli.output import say

WIDEST = 120


@click.command("review")
@filter_options
@pass_app
def review_command(app: App, filters: Filters) -> None:
    """Decide on one remap after another, with its evidence and what routing does today and would do after.

    Approved remaps whose target fails, or whose review date is past, come first. Keys: a approves, r rejects, s skips,
    c or 1 to 9 choose a Contact, n notes, e shows all evidence, u undoes, f filters, b decides on all that the filter
    passes, q quits. Where standard input is no terminal, each line's first character is the key.
    """
    from redirectd.cli.reviewing.keys import keys_of
    from redirectd.cli.reviewing.sitting import Sitting

    def write(text: str) -> None:
        click.echo(text, nl=False)
        sys.stdout.flush()

    columns = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80
    sitting = Sitting(
        database=app.database,
        policy=app.config.rules(),
        actor=app.actor,
        clock=app.now,
        keys=keys_of(sys.stdin, write),
        say=write,
        width=max(40, min(columns, WIDEST)),
        filters=filters,
    )
    try:
        sitting.run()
    except KeyboardInterrupt:
        say()
    finally:
        _end(app, sitting.counts)


def _end(app: App, counts: dict[str, int]) -> None:
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    if told:
        say(told)
    if counts.get("approved") or counts.get("revoked"):
        from redirectd.cli.outlook import next_plan, outlook_lines

        for line in outlook_lines(next_plan(app), ()):
            say(line)
