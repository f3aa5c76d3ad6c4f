"""`redirectd import`: remaps from CSV or JSON."""  # noqa: N999 - a file has its command's name; it is imported by name only

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.output import emit_json, json_option, note, progress_bar, say_wrapped
from redirectd.errors import SourceError, UsageError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from redirectd.review.importing import Imported
    from redirectd.review.portable import Format, RowFault

MAX_BYTES = 256 << 20
"""Bytes of a file to import; a hundred thousand remaps are a fifth of it."""

SHOWN_FAULTS = 20


class _ImportApproval(TypedDict):
    approve: bool
    force: bool
    reason: str
    replaced: tuple[int, ...]


@click.command("import")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Say what would be done, and which rows are faulty; change nothing.")
@click.option("--skip-faults", is_flag=True, help="Import the rows that are right; else one faulty row stops all.")
@click.option("--approve", is_flag=True, help="Approve the rows whose state is approved; else these become pending.")
@click.option("--force", is_flag=True, help="With --approve: suspicious and malformed rows too; needs --reason.")
@click.option(
    "--replace",
    "replaced",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="ID",
    help="With --approve: an approved remap whose place a row takes that contradicts it. May be given several times.",
)
@click.option("--reason", default="", help="Why; it is kept in the audit.")
@json_option
@pass_app
def import_command(
    app: App,
    file: str,
    *,
    dry_run: bool,
    skip_faults: bool,
    as_json: bool,
    **approving: Unpack[_ImportApproval],
) -> None:
    """Read remaps from FILE, CSV or JSON as export writes it; - is standard input.

    Each row needs old_uri and new_uri. The rules that judge a 301 judge a row as well. If any row is faulty, all faults
    are shown by row (1 is the first behind a heading) and nothing is imported (exit code 2). A row that is known
    already counts nothing twice. With --approve, rows that a hold or an approved remap keeps from approval stay
    pending (exit code 3). Rows are committed 500 at a time: an import that was interrupted is done again.
    """
    from redirectd.review.decide import BATCH
    from redirectd.review.decision import Decision
    from redirectd.review.importing import run_import
    from redirectd.review.portable import read
    from redirectd.service.applying import publish_targets

    approve, force = approving["approve"], approving["force"]
    reason, replaced = approving["reason"], approving["replaced"]
    if force and not (approve and reason.strip()):
        raise UsageError("--force", "what is forced needs --approve and a written reason", "add --reason 'why'")
    if replaced and not approve:
        raise UsageError("--replace", "only an approval takes the place of another", "add --approve")
    text = _text(file)
    form: Format = "json" if text.lstrip("\ufeff \t\r\n")[:1] in {"{", "["} else "csv"
    decision = Decision(
        actor=app.actor, at=app.now(), reason=reason or "imported", force=force, replace=frozenset(replaced)
    )
    if approve:
        publish_targets(app.config, app.database)
    about = text.count("\n" if form == "csv" else '"old_uri"')  # rows, each read and written
    with progress_bar("import", 2 * about, least=2 * BATCH) as progress:
        result, imported = run_import(
            app.database,
            read(text, form),
            decision,
            app.config.rules(),
            with_approvals=approve,
            dry_run=dry_run,
            skip_faults=skip_faults,
            progress=progress,
        )
    if as_json:
        emit_json(_document(result, imported=imported))
    else:
        _show(result, file, imported=imported, dry_run=dry_run)
    if result.faults or result.held:
        raise click.exceptions.Exit(2 if result.faults else 3)


def _text(file: str) -> str:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(file, f"it can't be read: {error.strerror}", "name an existing file") from error
    if len(content) > MAX_BYTES:
        raise UsageError(file, f"it has more than {MAX_BYTES:,} bytes", "import it in parts")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(file, f"it is not UTF-8 at byte {error.start}", "save it as UTF-8") from error


def _document(result: Imported, *, imported: bool) -> dict[str, Any]:
    def listed(rows: list[RowFault]) -> list[dict[str, Any]]:
        return [{"row": one.row, "why": printable(one.why)} for one in rows]

    return {
        "imported": imported,
        "rows": result.rows,
        "new": result.new,
        "known": result.known,
        "approved": result.approved,
        "faults": listed(result.faults),
        "held": listed(result.held),
    }


def _show(result: Imported, file: str, *, imported: bool, dry_run: bool) -> None:
    for title, rows in (("", result.faults), ("stays pending: ", result.held)):
        for one in rows[:SHOWN_FAULTS]:
            place = f", row {one.row}" if one.row else ""  # 0 is the file itself
            note(f"{printable(file)}{place}: {title}{printable(one.why)}")
        if len(rows) > SHOWN_FAULTS:
            note(f"... and {len(rows) - SHOWN_FAULTS} rows more: --json lists all")
    faulty = f"{len(result.faults)} faulty" if result.faults else "none faulty"
    counts = f"{result.new} new, {result.known} known, {result.approved} approved"
    if imported:
        say_wrapped(f"{counts}, {faulty}" if result.faults else counts)
    elif dry_run:
        say_wrapped(f"{_rows(result)}, {faulty}: it would be {counts}; nothing was imported (--dry-run)")
    else:
        say_wrapped(
            f"{_rows(result)}, {faulty}: nothing was imported; fix them, or import the others with --skip-faults"
        )


def _rows(result: Imported) -> str:
    return f"{result.rows:,} row{'' if result.rows == 1 else 's'}"
