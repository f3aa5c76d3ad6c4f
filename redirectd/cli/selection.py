"""Which remaps a decision is about: ids and old URIs, or a filter whose number a person confirms."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from redirectd.cli.filters import no_match
from redirectd.cli.output import note
from redirectd.errors import UsageError

if TYPE_CHECKING:
    from redirectd.cli.app import App
    from redirectd.cli.filters import Filters


def is_id(what: str) -> bool:
    """Whether a name is an id; else it is an old URI."""
    return what.isascii() and what.isdecimal() and len(what) <= 18


def chosen(app: App, action: str, names: tuple[str, ...], filters: Filters, *, yes: bool) -> list[str]:
    """The names as given, or the ids of all remaps that pass `filters` and that `action` can be done to.

    On a terminal the number of a filter's remaps is asked back, unless `yes`; a script has said what it wants.
    Raises UsageError for names and a filter together, and for neither.
    """
    from redirectd.review.flags import FAILING, STALE
    from redirectd.review.page import ids
    from redirectd.store.remap import State
    from redirectd.store.states import TRANSITIONS

    if names and not filters.is_empty:
        raise UsageError(f"redirectd {action}", "it takes ids or a filter, not both", "leave one of them out")
    if names:
        return list(dict.fromkeys(names))
    if filters.is_empty:
        how = f"name them: redirectd {action} ID..., or filter: redirectd {action} --domain old.example"
        raise UsageError(f"redirectd {action}", "no remap was named", how)
    with app.database.read() as connection:
        # Approved ones that fail or are stale are approved once more (R36).
        again = action == "approve" and filters.flag in {FAILING, STALE}
        query = filters.query([State.APPROVED] if again else sorted(TRANSITIONS[action][0]), app.now())
        found = ids(connection, query, app.config.rules())
        if not found:
            note(f"nothing to {action}: {no_match(connection, filters, [state.value for state in query.states])}")
    if found and not yes and sys.stdin.isatty() and sys.stderr.isatty():
        _ask(f"{action} {len(found)} remaps?")
    return [str(number) for number in found]


def _ask(question: str) -> None:
    if not click.confirm(question, err=True):
        note("nothing was changed")
        raise click.exceptions.Exit(1)
