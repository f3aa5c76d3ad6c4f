"""`redirectd simulate`: what routing would have done with the requests of logs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.output import emit_json, json_option, say, short_time, zone
from redirectd.errors import UsageError
from redirectd.times import rfc3339

if TYPE_CHECKING:
    from redirectd.collect.request_fates import RequestFate, RequestFates
    from redirectd.plan.simulation import Mover, SimulatedMove, SimulatedRow, Simulation

MAX_SHOWN = 20
"""Moves that people are shown; JSON has all."""

MAX_STORED = 20
"""Moves that the stored result has."""


@click.command("simulate")
@click.argument("files", nargs=-1, required=True, metavar="LOG...", type=click.Path(allow_dash=True))
@click.option("--installed", is_flag=True, help="Against what is installed on this node, instead of the plan.")
@click.option("--pending", is_flag=True, help="As if all pending remaps without a choice were approved, too.")
@click.option("--last", metavar="DURATION", help="Only requests of the last 1d, 12h or 90m.")
@click.option("--dialect", help="Log format of the LOGs (default: that of its source, else found in the log).")
@json_option
@pass_app
def simulate_command(
    app: App,
    files: tuple[str, ...],
    *,
    installed: bool,
    pending: bool,
    last: str | None,
    dialect: str | None,
    as_json: bool,
) -> None:
    """Show what the plan would have done with the requests of LOGs: which would go elsewhere, and by which remap.

    A moved request that was answered with success at its old place is the sign of a wrong move. Nothing is decided:
    callers and carriers can fake both sides of a log. The last result is kept for 'redirectd review'.
    """
    from redirectd.collect.request_fates import RequestFates
    from redirectd.plan.simulation import Simulation
    from redirectd.store import approved

    if installed and pending:
        raise UsageError("redirectd simulate", "--installed and --pending contradict each other", "give one of them")
    now = app.now()
    movers, before = _movers(app, now, installed=installed, pending=pending)
    fates, sent, alone = RequestFates(_not_before(last, now)), Simulation(movers, before), Simulation(movers, before)
    for file in files:
        _read(app, file, dialect, fates, sent, alone)
    result = sent if fates.counts["sent"] else alone
    result.end()
    against = "installed" if installed else "plan with pending remaps" if pending else "plan"
    document = _document(files, against, fates, result, now)
    if as_json:
        emit_json(document)
    else:
        _show(document)
    with app.database.begin() as connection:
        approved.keep_simulation(connection, app.config.node, document | {"moves": document["moves"][:MAX_STORED]})


def _not_before(last: str | None, now: datetime) -> datetime | None:
    from redirectd.config.values import parse_duration

    if last is None:
        return None
    try:
        return now - parse_duration(last)
    except (ValueError, OverflowError) as error:
        raise UsageError("--last", str(error), "write it as 1d, 12h or 90m") from error


def _movers(app: App, now: datetime, *, installed: bool, pending: bool) -> tuple[list[Mover], dict[str, Mover] | None]:
    """Each target's routing by the plan, and as it is installed now; by the latter alone for `installed`."""
    from redirectd.plan.effective_table import effective
    from redirectd.service.applying import approved_table, movers_of
    from redirectd.store.approved import approved, installed_remaps, pending_remaps

    rules, node = app.config.rules(), app.config.node
    with app.database.read() as connection:
        there = effective(installed_remaps(connection, node, now))
    if installed:
        return movers_of(app.config, there), None
    table = approved_table(app.database, rules)
    if pending:
        with app.database.read() as connection:
            table = effective([*approved(connection, now=now), *pending_remaps(connection)])
    return movers_of(app.config, table), {mover.name: mover for mover in movers_of(app.config, there)}


def _read(app: App, file: str, dialect: str | None, fates: RequestFates, sent: Simulation, alone: Simulation) -> None:
    """Adds a log's requests; `alone` takes what was received for what is sent, for logs that show nothing else."""
    from redirectd.cli.log_reading import reading_of
    from redirectd.collect.capture import searchable
    from redirectd.collect.console_streams import traffic_of
    from redirectd.sources.file import open_log

    with open_log(file) as opened:
        log = searchable(opened)
        reading = reading_of(log, app.config, dialect=dialect, session_progress="count")
        for fate in fates.of(traffic_of(log, reading, app.now)):
            _add(sent, fate, received=fate.received)
            if fate.received:
                _add(alone, fate, received=None)


def _add(result: Simulation, fate: RequestFate, *, received: bool | None) -> None:
    from redirectd.plan.simulation import SimulatedRequest

    result.add(SimulatedRequest(fate.uri, received, fate.status, fate.waited_ms, fate.call_id, fate.seen_at))


def _document(
    files: tuple[str, ...], against: str, fates: RequestFates, result: Simulation, now: datetime
) -> dict[str, Any]:
    return {
        "files": list(files),
        "against": against,
        "at": rfc3339(now),
        "coverage": {
            "requests": result.requests,
            "first": rfc3339(result.first) if result.first else None,
            "last": rfc3339(result.last) if result.last else None,
            **{name: fates.counts[name] for name in ("sent", "received", "in_dialog", "older", "copies", "records")},
            "unreadable": result.unreadable,
            "note": _coverage(fates, result),
        },
        "moved": result.moved,
        "redirects_saved": result.redirects_saved,
        "milliseconds_saved": result.milliseconds_saved,
        "answered_at_old_place": result.answered_at_old_place,
        "no_longer_moved": result.no_longer_moved,
        "moves": [_row_json(row) for row in result.rows],
        "moves_left_out": result.more_rows,
    }


def _coverage(fates: RequestFates, result: Simulation) -> str | None:
    """What the log could not show."""
    if not result.requests:
        if fates.counts["older"]:
            return "no requests in the time that --last names"
        if fates.counts["records"]:
            return "no requests in this log: it has one-line records, which report answers alone"
        return "no requests in this log"
    if not fates.counts["sent"]:
        return "no request that this host sent is in this log: the received ones are taken for them"
    return None


def _row_json(row: SimulatedRow) -> dict[str, Any]:
    return {
        "target": row.target,
        "uri": row.uri,
        "id": row.move.id if row.move else None,
        "new_uri": row.move.new_uri if row.move else None,
        "now": _move_json(row.now),
        "requests": row.requests,
        "answers": dict(sorted(row.answers.items())),
        "answered_at_old_place": row.answered if row.move else 0,
        "milliseconds": row.milliseconds,
        "calls": row.calls,
    }


def _move_json(move: SimulatedMove | None) -> dict[str, Any] | None:
    return None if move is None else {"id": move.id, "new_uri": move.new_uri}


def _show(document: dict[str, Any]) -> None:
    coverage = document["coverage"]
    say(f"{_counted(coverage['requests'], 'request')} against the {document['against']}")
    if coverage["first"]:
        say(f"{'':>11}{_time(coverage['first'])} to {_time(coverage['last'])} ({zone()})")
    if coverage["note"]:
        say(f"coverage: {coverage['note']}")
    if coverage["requests"]:
        milliseconds = document["milliseconds_saved"]
        waiting = "" if milliseconds is None else f", {milliseconds:,} ms of waiting"
        say(f"{document['moved']:>9,}  would go elsewhere")
        say(f"{document['redirects_saved']:>9,}  of them were answered 301: redirects saved{waiting}")
        say(f"{document['answered_at_old_place']:>9,}  of them were answered with success at the old place")
        if document["no_longer_moved"]:
            say(f"{document['no_longer_moved']:>9,}  are moved now, and would not be, or elsewhere")
    for row in document["moves"][:MAX_SHOWN]:
        _show_row(row)
    rest = len(document["moves"]) - MAX_SHOWN + document["moves_left_out"]
    if rest > 0:
        say(f"{rest:,} more: see --json")
    if document["answered_at_old_place"]:
        say("ANSWERED AT THE OLD PLACE is the sign of a wrong move: look at its remap with")
        say("'redirectd show ID', and revoke it if so. Callers can fake such an answer, too.")


def _show_row(row: dict[str, Any]) -> None:
    say(f"{row['uri']} ({row['target']})")
    if row["now"] is not None and (row["new_uri"], row["id"]) != (row["now"]["new_uri"], row["now"]["id"]):
        say(f"    now  {row['now']['new_uri']}  by remap {row['now']['id']}")
    say(f"    ->   {row['new_uri']}  by remap {row['id']}" if row["new_uri"] else "    ->   no longer moved")
    answers = ", ".join(
        f"{count:,} x {'no answer' if status == 'none' else status}" for status, count in row["answers"].items()
    )
    mark = "  ANSWERED AT THE OLD PLACE" if row["answered_at_old_place"] else ""
    say(f"    {_counted(row['requests'], 'request')}: {answers}{mark}")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _time(text: str) -> str:
    return short_time(datetime.fromisoformat(text))
