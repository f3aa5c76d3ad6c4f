"""`redirectd status`: what runs, what waits, what is wrong and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import click

from redirectd.cli.app import App, pass_app, reading
from redirectd.cli.output import emit_json, exact_time, json_option, say, say_wrapped, table, wide_option, zone
from redirectd.cli.pager import fits, kept, paged, write
from redirectd.errors import RedirectdError
from redirectd.sip.text import printable

MOST_ROWS = 5
"""Sources, nodes and problems that are shown where not all fit the screen; with --wide all are."""


@click.command("status")
@click.option("--losses", is_flag=True, help="Show what was lost, and excerpts of the 301s that could not be read.")
@click.option(
    "--healthy",
    is_flag=True,
    help="Print one line and end with 0 (ok), 1 (warning), 2 (critical) or 3 (unknown), as monitoring plugins do.",
)
@wide_option
@json_option
@pass_app
@reading
@paged
def status_command(app: App, *, losses: bool, healthy: bool, as_json: bool) -> None:
    """Show what runs, what waits for review, what is installed, what is wrong and what to do.

    Where no service runs on this host, what the database knows is shown. The exit code is 0 all the same, without
    --healthy. A running service is shown even while its configuration file is faulty, with the faults.
    """
    from redirectd.cli.health import Health, verdict
    from redirectd.service.start import status_document

    try:
        document = status_document(lambda: app.config, app.readable_database, app.config_file)
    except RedirectdError as error:
        if not healthy:
            raise
        say(f"redirectd {Health.UNKNOWN.name}: {printable(str(error), 500)}")
        raise click.exceptions.Exit(Health.UNKNOWN.value) from error
    if as_json:
        emit_json(document)
    elif losses:
        _show_losses(document)
    elif not healthy:
        show_document(document)
    if healthy:
        health, why = verdict(document)
        if not as_json:
            say(f"redirectd {health.name}: {why}")
        raise click.exceptions.Exit(health.value)


def show_document(document: dict[str, Any]) -> None:
    """Prints the document for people: on a terminal with as few rows of each kind as it takes to fit the screen."""
    from redirectd.cli.output import is_wide

    text = kept(lambda: _show(document, None))
    for most in range(MOST_ROWS, 0, -1):
        if is_wide() or not sys.stdout.isatty() or fits(text):
            break
        text = kept(partial(_show, document, most))
    write(text)


def _show(document: dict[str, Any], most: int | None) -> None:
    for line in (*_service(document), *_stored(document)):
        say_wrapped(line)
    _show_sources(document["sources"], most)
    _show_nodes(document, most)
    _show_problems(document, most)
    say(f"times: {zone()}")


def _service(document: dict[str, Any]) -> Iterator[str]:
    daemon = document["daemon"]
    if not daemon["running"]:
        yield f"service: not running on this host (node {daemon['node']}); this is what the database knows"
        return
    yield f"service: running since {exact_time(daemon['started_at'])}, process {daemon['pid']}"
    yield f"configuration: {daemon['configuration'] or 'built-in defaults'}, redirectd {daemon['version']}"
    if daemon["paused"]:
        yield "applies are paused by schedule.pause"


def _stored(document: dict[str, Any]) -> Iterator[str]:
    database = document["database"]
    if not database["ok"]:
        return
    size = "" if database["bytes"] is None else f", {database['bytes'] / 1e6:,.1f} MB"
    yield f"database: {printable(database['url'])}{size}"
    remaps = document["remaps"]
    counts = ", ".join(f"{count:,} {state}" for state, count in remaps.items() if count or state == "pending")
    yield f"remaps: {counts}" + ("; next: redirectd review" if remaps["pending"] else "")
    saved = document["saved"]
    if saved["remaps"]:
        each = saved["milliseconds_a_call"]
        wait = "" if each is None else f", for each of which a caller waited {each:.0f} ms"
        calls = f"{saved['calls_a_day']:.3g} redirected calls a day"
        yield f"in service and working: {saved['remaps']}, saving {calls}{wait}"
    if saved["unobserved"]:
        yield f"installed, and no traffic read from a log since: {saved['unobserved']}"


def _show_sources(sources: Sequence[dict[str, Any]], most: int | None) -> None:
    """Those in trouble first."""
    if not sources:
        return
    chosen = sorted(sources, key=lambda one: not one["error"])[:most]
    rows = [
        [
            one["name"],
            one["state"],
            _format(one),
            "" if one["lag_bytes"] is None else f"{one['lag_bytes']:,}",
            f"{one['sightings']:,}",
            f"{one['session_progress']:,}",
            exact_time(one["last_read"]),
        ]
        for one in chosen
    ]
    say()
    table(
        ["source", "state", "format", "lag (bytes)", "301s", "183s", "last read"],
        rows,
        right=["lag (bytes)", "301s", "183s"],
    )
    _show_rest(len(sources) - len(chosen), "sources")


def _format(source: dict[str, Any]) -> str:
    """What the source is read as, with the families of the consoles in it."""
    consoles = ", ".join(sorted({printable(one, 20) for one in (source.get("consoles") or {}).values()}))
    return (source.get("family") or "not sure yet") + (f" ({consoles})" if consoles else "")


def _show_nodes(document: dict[str, Any], most: int | None) -> None:
    """Those held or rolled back first."""
    nodes = document["nodes"]
    if not nodes:
        return
    chosen = sorted(nodes, key=lambda one: not ("apply_hold" in one["settings"] or one["outcome"] == "rolled-back"))
    rows = [
        [one["node"], one["generation"] or "", one["outcome"] or "", exact_time(one["created_at"])]
        for one in chosen[:most]
    ]
    say()
    table(["node", "generation", "outcome", "installed"], rows, right=["generation"])
    _show_rest(len(nodes) - len(rows), "nodes")


def _show_problems(document: dict[str, Any], most: int | None) -> None:
    from redirectd.cli.health import problems

    found = problems(document)
    say()
    for one in found[:most]:
        say_wrapped(one.text)
        if one.what_to_do:
            say_wrapped(f"  what to do: {one.what_to_do}", indent=" " * 14)
    _show_rest(len(found) - len(found[:most]), "problems")
    if not found:
        say("nothing is wrong")


def _show_rest(count: int, what: str) -> None:
    if count > 0:
        say(f"  {count:,} more {what}: redirectd status --wide")


def _show_losses(document: dict[str, Any]) -> None:
    for one in document["losses"]:
        where = f"source {printable(one['source'])} on {one['node']}, last {exact_time(one['last_at'])}"
        say_wrapped(f"{one['count']:>9,}  {printable(one['kind'])}, {where}", indent=" " * 11)
    if document["quarantine"]:
        again = "retry after an upgrade: redirectd ingest --quarantine"
        say_wrapped(f"{document['quarantine']:>9,}  unreadable 301s in quarantine ({again})", indent=" " * 11)
    for one in document.get("quarantine_newest", ()):
        where = f"{printable(one['source'])} at byte {one['position']:,}"
        say_wrapped(f"{'':>9}  {where}: {printable(one['why'])}", indent=" " * 13)
        say(f"{'':>9}  | {one['text'][:100]}")
    if document["losses"] or document["quarantine"]:
        say(f"times: {zone()}")
    else:
        say("nothing was lost")
