"""`redirectd export` and `redirectd import`: remaps as CSV or JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.commands.remaps import STATES
from redirectd.cli.filters import Filters, filter_options
from redirectd.cli.output import emit_json, json_option, note, say
from redirectd.errors import RedirectdError, SourceError, UsageError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from redirectd.cli.exchange import Row
    from redirectd.collect.verdict import Learnt


@click.command("export")
@click.option("--format", "shape", type=click.Choice(["csv", "json"]), default="json", show_default=True, help="How.")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only remaps in this state.")
@filter_options
@pass_app
def export_command(app: App, shape: str, states: tuple[str, ...], filters: Filters) -> None:
    """Write remaps to standard output as CSV or JSON."""
    from redirectd.cli.exchange import to_csv, to_json
    from redirectd.store.remap import State

    now = app.now()
    with app.database.read() as connection:
        found = filters.find(connection, [State(state) for state in states], app.config.rules(), now)
    say((to_csv if shape == "csv" else to_json)(found, now).rstrip("\n"))


@click.command("import")
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and which rows are faulty; change nothing.")
@click.option("--approve", is_flag=True, help="Approve the rows whose state is approved; else all become pending.")
@click.option("--reason", default="imported", show_default=True, help="Why; it is kept in the audit.")
@json_option
@pass_app
def import_command(app: App, file: str, reason: str, *, dry_run: bool, approve: bool, as_json: bool) -> None:
    """Read remaps from FILE, CSV or JSON as export writes it; - is standard input.

    Each row needs old_uri and new_uri; kind is user or gateway. The rules that judge a 301 judge a row as well. If any
    row is faulty, all faults are shown and nothing is imported (exit code 2). A row that is known already counts
    nothing twice. With --approve, rows that a hold keeps from approval stay pending (exit code 3).
    """
    from redirectd.cli.exchange import read_rows

    rows = list(read_rows(_text(file), file))
    learnt: list[tuple[Row, Learnt]] = []
    faults: list[dict[str, Any]] = []
    for row in rows:
        try:
            learnt.append((row, _judged(app, row, file)))
        except UsageError as error:
            faults.append({"row": row.number, "why": printable(error.why), "what_to_do": printable(error.what_to_do)})
    done: dict[str, Any] = {"rows": len(rows), "new": 0, "known": 0, "approved": 0, "faults": faults, "held": []}
    if not faults and not dry_run:
        _store(app, learnt, file, done)
        if approve:
            _approve(app, learnt, reason, done)
    if as_json:
        emit_json(done)
    else:
        _show(done, file, dry_run=dry_run)
    if faults or done["held"]:
        raise click.exceptions.Exit(2 if faults else 3)


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(file, f"it can't be read: {error.strerror}", "name an existing file") from error
    except UnicodeDecodeError as error:
        raise UsageError(file, "it is not UTF-8", "save it as UTF-8") from error


def _judged(app: App, row: Row, file: str) -> Learnt:
    """What the rules make of a row, told as if a person were the peer."""
    from redirectd.collect.answer import Answer
    from redirectd.collect.rules import judge
    from redirectd.collect.verdict import Learnt

    if row.kind not in {"user", "gateway"}:
        raise UsageError("kind", f"{row.kind!r} can't be imported", "use user or gateway")
    if any(char in row.new_uri for char in "<>\r\n"):
        raise UsageError("new_uri", "it holds a character that no URI has", "write it as sip:user@host")
    answer = Answer(
        status=301,
        method="INVITE" if row.kind == "user" else "OPTIONS",
        call_id=f"import {row.kind} {row.old_uri} {row.new_uri}",
        cseq=1,
        fork="",
        request_uri=row.old_uri,
        contacts=(f"<{row.new_uri}>",),
        contact_headers=1,
        seen_at=app.now(),
        dialect="import",
        position=row.number,
        text=f"row {row.number} of {printable(file, 200)}, imported by {printable(app.actor, 100)}",
    )
    verdict = judge(answer, app.config.rules())
    if isinstance(verdict, Learnt) and verdict.candidates:
        return verdict
    reason = getattr(verdict, "reason", "it says nothing that could be remapped")
    raise UsageError("row", f"{reason}", "mend the row, or leave it out")


def _store(app: App, learnt: list[tuple[Row, Learnt]], file: str, done: dict[str, Any]) -> None:
    from redirectd.collect.batch import Batch
    from redirectd.store.collecting import record

    batch = Batch(f"import {Path(file).name}"[:255])
    for _, one in learnt:
        batch.verdicts[one.answer.event_key] = one
    with app.database.begin() as connection:
        recorded = record(connection, batch, node=app.config.node, now=app.now())
    done["new"] = recorded.remaps_new
    done["known"] = len(batch.verdicts) - recorded.remaps_new


def _approve(app: App, learnt: list[tuple[Row, Learnt]], reason: str, done: dict[str, Any]) -> None:
    from redirectd.review.decide import Decision, approve
    from redirectd.store.remap import State
    from redirectd.store.remaps import by_old_key

    decision = Decision(actor=app.actor, at=app.now(), reason=reason)
    for row, one in learnt:
        if row.state != "approved":
            continue
        try:
            with app.database.begin() as connection:
                for remap in by_old_key(connection, one.old_key):
                    same = remap.new_uri == one.candidates[0].uri and remap.kind == one.kind
                    if same and remap.state is State.PENDING:
                        approve(connection, remap.id, decision, app.config.rules())
                        done["approved"] += 1
        except RedirectdError as error:
            done["held"].append(
                {"row": row.number, "why": printable(error.why), "what_to_do": printable(error.what_to_do)}
            )


def _show(done: dict[str, Any], file: str, *, dry_run: bool) -> None:
    for fault in [*done["faults"], *done["held"]]:
        note(f"{printable(file)}, row {fault['row']}: {fault['why']}")
        note(f"  what to do: {fault['what_to_do']}")
    if done["faults"]:
        say(f"{done['rows']} rows, {len(done['faults'])} faulty: nothing was imported")
    elif dry_run:
        say(f"{done['rows']} rows, none faulty; nothing was imported (--dry-run)")
    else:
        say(f"{done['new']} new, {done['known']} known, {done['approved']} approved")
