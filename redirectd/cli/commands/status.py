"""`redirectd status`: the service, its sources, what waits and what is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.output import emit_json, json_option, say, table
from redirectd.sip.text import printable


@click.command("status")
@json_option
@pass_app
def status_command(app: App, *, as_json: bool) -> None:
    """Show the service, its sources and their lag, what waits, what is installed, and what was lost.

    Where no service runs on this host, what the database knows is shown. The exit code is 0 all the same. A running
    service is shown even while its configuration file is faulty, with the faults.
    """
    from redirectd.service.start import status_document

    document = status_document(lambda: app.config, app.unchecked_database, app.config_file)
    if as_json:
        emit_json(document)
    else:
        _show(document)


def _show(document: dict[str, Any]) -> None:
    _show_daemon(document["daemon"])
    for fault in document["configuration_faults"]:
        say(f"fault in the configuration file: {printable(fault['where'])}: {printable(fault['why'])}")
        say(f"  what to do: {printable(fault['what_to_do'])}")
    _show_database(document)
    if document["sources"]:
        rows = [
            [
                source["name"],
                source["state"],
                _number(source["lag_bytes"]),
                source["sightings"],
                source["session_progress"],
                source["last_read"] or "",
                source["error"] or "",
            ]
            for source in document["sources"]
        ]
        say()
        columns = ["source", "state", "lag (bytes)", "301s", "183s", "last read", "trouble"]
        table(columns, rows, right=["lag (bytes)", "301s", "183s"])
    if document["nodes"]:
        rows = [
            [node["node"], _number(node["generation"]), node["outcome"] or "", node["created_at"] or "", _held(node)]
            for node in document["nodes"]
        ]
        say()
        table(["node", "generation", "outcome", "installed", "held"], rows, right=["generation"])
    _show_waiting(document.get("waiting", ()))
    for job in document["jobs"]:
        if job["last_error"]:
            say(f"job {job['name']} failed: {printable(job['last_error'])}")
    for loss in document["losses"]:
        say(f"lost: {loss['count']} x {printable(loss['kind'])} of {printable(loss['source'])} on {loss['node']}")


def _show_waiting(waiting: Sequence[dict[str, Any]]) -> None:
    """Files in place that no server has proven yet."""
    for one in waiting:
        again = f", next try {one['next_try']}" if one["next_try"] else ""
        say(
            f"installed, not reloaded: {printable(one['target'])} on {one['node']}, generation {one['generation']}, "
            f"{one['attempts']} tries{again}: {printable(one['error'] or 'an apply was killed or is at work')}"
        )


def _show_daemon(daemon: dict[str, Any]) -> None:
    if not daemon["running"]:
        say(f"service: not running on this host (node {daemon['node']}); this is what the database knows")
        return
    say(f"service: running, process {daemon['pid']}, version {daemon['version']}, since {daemon['started_at']}")
    say(f"configuration: {daemon['configuration'] or 'built-in defaults'}")
    if daemon["configuration_error"]:
        say(f"a newer configuration was refused: {printable(daemon['configuration_error'])}")
    for name in daemon["silent"]:
        say(f"no progress: {printable(name)}")
    if daemon["listening"] is False:
        say("decisions made on other nodes are not heard now; the schedule applies them")
    if daemon["paused"]:
        say("applies are paused by schedule.pause")


def _show_database(document: dict[str, Any]) -> None:
    database = document["database"]
    if not database["ok"]:
        say(f"database: {printable(database['url'])}: {printable(database['error'])}")
        say(f"  what to do: {printable(database['what_to_do'])}")
        return
    size = "" if database["bytes"] is None else f", {database['bytes']:,} bytes"
    say(f"database: {printable(database['url'])}{size}")
    remaps = document["remaps"]
    say("remaps: " + ", ".join(f"{count} {state}" for state, count in remaps.items() if count or state == "pending"))
    _show_failing(document.get("failing"))
    if document["stale"]:
        say(f"past their review date: {document['stale']}")
    _show_effect(document["ineffective"], document["saved"])
    if document["quarantine"]:
        say(
            f"looked like a 301 and could not be read: {document['quarantine']} (after an upgrade: ingest --quarantine)"
        )
    for one in document.get("quarantine_newest", ()):
        say(f"    {printable(one['source'])} at byte {one['position']:,}: {printable(one['why'])}: {one['text'][:100]}")


def _show_failing(failing: dict[str, Any] | None) -> None:
    if failing and failing["remaps"]:
        worst = failing["worst"]
        numbers = ", ".join(map(str, worst)) + (", ..." if failing["remaps"] > len(worst) else "")
        say(f"approved, and the target fails: {failing['remaps']} remaps ({numbers})")
        say("  why: redirectd show ID; decide on them: redirectd review")


def _show_effect(ineffective: dict[str, Any], saved: dict[str, Any]) -> None:
    """The proof in the field: what the remaps in service save, and those that calls go past."""
    if saved["remaps"]:
        each = saved["milliseconds_a_call"]
        wait = "" if each is None else f", for each of which a caller waited {each:.0f} ms"
        say(
            f"in service and working: {saved['remaps']}, saving {saved['calls_a_day']:.3g} redirected calls a day{wait}"
        )
    if ineffective["remaps"]:
        from redirectd.review.effect import USUAL_REASONS

        numbers = ", ".join(map(str, ineffective["worst"])) + (
            ", ..." if ineffective["remaps"] > len(ineffective["worst"]) else ""
        )
        calls = ineffective["calls"]
        say(f"in service, old URI still answered 301 ({calls:,} since): {ineffective['remaps']} remaps ({numbers})")
        say(f"  usually {USUAL_REASONS}")


def _held(node: dict[str, Any]) -> str:
    return "held: redirectd apply --resume" if "apply_hold" in node["settings"] else ""


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
