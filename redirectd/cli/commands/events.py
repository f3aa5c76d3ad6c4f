"""`redirectd events`: what happened, for people and for programs that follow it by a cursor."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app, reading
from redirectd.cli.output import emit_json, exact_time, is_wide, json_option, note, say, table, wide_option, zone
from redirectd.cli.pager import paged
from redirectd.errors import UsageError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redirectd.store.event_log import EventKind, LoggedEvent

POLL_SECONDS = 1.0
_AT_ONCE = 500
_LONGEST = 200


class _KindName(click.ParamType[str]):
    name = "kind"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises UsageError for a kind that is not there."""
        from redirectd.cli.output import did_you_mean

        if value not in (names := _kinds()):
            raise UsageError(f"--kind {printable(value, 60)}", "no such kind of event", did_you_mean(value, names))
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """The kinds."""
        return [click.shell_completion.CompletionItem(name) for name in _kinds() if name.startswith(incomplete)]


def _kinds() -> list[str]:
    from redirectd.store.event_log import EventKind

    return [kind.value for kind in EventKind]


@click.command("events")
@click.option("--since", type=click.IntRange(min=0), metavar="CURSOR", help="Only events after this cursor.")
@click.option(
    "--kind",
    "names",
    type=_KindName(),
    multiple=True,
    metavar="KIND",
    help="Only events of this kind, such as pending or failing; may be repeated.",
)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, metavar="N", help="At most this many."
)
@click.option("--follow", is_flag=True, help="Wait for more and print each as it comes, as one JSON object a line.")
@wide_option
@json_option
@pass_app
@reading
@paged
def events_command(
    app: App, since: int | None, names: tuple[str, ...], limit: int, *, follow: bool, as_json: bool
) -> None:
    """Show what happened: new pending remaps, decisions, remaps that fail, sources that are down, losses, alarms.

    Without --since the newest events are shown, oldest of them first. Each has a cursor, and none with a lesser cursor
    comes later: a program that goes on with --since and the `cursor` of the last answer misses none and sees none
    twice. Where its cursor is less than `oldest`, some were pruned meanwhile ([retention] events).
    """
    from redirectd.store import event_log

    kinds = [event_log.EventKind(name) for name in names]
    if follow:
        _follow(app, since, kinds)
        return
    with app.database.read() as connection:
        start = event_log.before(connection, limit, kinds) if since is None else since
        found = event_log.read(connection, since=start, kinds=kinds, limit=limit)
        oldest = event_log.oldest(connection)
    if as_json:
        cursor = found[-1].cursor if found else start
        emit_json({"events": [event_log.document(one) for one in found], "cursor": cursor, "oldest": oldest or None})
    elif found:
        _show(found)
    else:
        note("no events" if since is None else f"no events after cursor {since}")


def _follow(app: App, since: int | None, kinds: Sequence[EventKind]) -> None:
    """Until it is interrupted or its reader has gone."""
    import json

    from redirectd.store import event_log

    with app.database.read() as connection:
        cursor = event_log.newest(connection) if since is None else since
    while True:
        with app.database.read() as connection:
            found = event_log.read(connection, since=cursor, kinds=kinds, limit=_AT_ONCE)
        for one in found:
            click.echo(json.dumps(event_log.document(one)))
            cursor = one.cursor
        if not found:
            time.sleep(POLL_SECONDS)


def _show(found: Sequence[LoggedEvent]) -> None:
    rows = [[one.cursor, exact_time(one.at), one.kind.value, one.remap_id or "", _what(one)] for one in found]
    table(["cursor", f"time ({zone()})", "event", "remap", "what"], rows, right=["cursor", "remap"])
    say(f"go on with: redirectd events --since {found[-1].cursor}")


def _what(one: LoggedEvent) -> str:
    """What a line says beside kind and id."""
    detail = one.detail
    parts = [one.source] if one.source and one.kind.value != "pending" else []
    if detail.get("old_uri"):
        parts.append(f"{detail['old_uri']} -> {detail.get('new_uri') or 'a choice of Contacts'}")
    if "what" in detail:
        parts.append(f"{detail['what']}: {detail['count']}" if "count" in detail else str(detail["what"]))
    if "generation" in detail:
        parts.append(f"generation {detail['generation']}")
    parts += [str(detail[name]) for name in ("why", "reason") if detail.get(name)]
    text = ", ".join(parts) + (f" (by {one.actor})" if one.actor else "")
    return printable(text, 2000 if is_wide() else _LONGEST)
