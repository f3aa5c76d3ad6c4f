"""`redirectd ingest`: read logs once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.options import dialect_option
from redirectd.cli.output import emit_json, json_option, say
from redirectd.errors import UsageError

if TYPE_CHECKING:
    from redirectd.collect.batch import SessionProgress
    from redirectd.service.ingestion import Summary
    from redirectd.sources.file import OpenLog

_WORDS = {
    "sightings": "301s, each counted once",
    "remaps_new": "new remaps",
    "remaps_updated": "known remaps seen again",
    "session_progress": "183s, each counted once",
    "unpaired": "301s whose request is not in the log",
    "refused": "301s that cannot become a remap (see 'redirectd explain FILE')",
    "unparsed": "unreadable 301s, kept in quarantine",
    "over_budget": "of the 301s over an hour's budget of new remaps, counted only (R46)",
    "lost": "log messages lost or cut short (see 'redirectd status')",
}


@click.command("ingest")
@click.argument("files", nargs=-1, metavar="FILE...", type=click.Path(allow_dash=True))
@dialect_option
@click.option(
    "--session-progress",
    type=click.Choice(["each", "count"]),
    help="Log each 183 to standard error, or only count them, which is faster. Default: count on a terminal; "
    "otherwise as the log's source in the configuration says, or each.",
)
@click.option(
    "--quarantine",
    is_flag=True,
    help="After an upgrade: read what could not be read before, instead of a FILE. What can be read now is counted.",
)
@click.option(
    "--accept-unkeyed",
    is_flag=True,
    help="For archives: take one-line records without a proof also of a source that has shown proven ones.",
)
@json_option
@pass_app
def ingest_command(
    app: App,
    files: tuple[str, ...],
    dialect: str | None,
    session_progress: Literal["each", "count"] | None,
    *,
    quarantine: bool,
    accept_unkeyed: bool,
    as_json: bool,
) -> None:
    """Read logs once, from their start to their end, and keep what they say has moved.

    FILE is a log, also compressed (gz, xz, bz2, zstd), or - for standard input. Reading a log twice counts nothing
    twice. Where there is no configuration file, no peer is trusted, and the database is
    /var/lib/redirectd/redirectd.db.
    """
    from redirectd.service.ingestion import Summary

    if quarantine is bool(files):
        raise UsageError(
            "ingest", "it reads either FILE... or the quarantine", "name a log, or give --quarantine alone"
        )
    if quarantine:
        _replay(app, as_json=as_json)
        return
    _refuse_unreadable(files)
    total = Summary()
    parts = []
    for file in files:
        summary = _ingest_one(app, file, dialect, session_progress, accept_unkeyed=accept_unkeyed)
        parts.append({"file": file, **asdict(summary)})
        for name, count in asdict(summary).items():
            setattr(total, name, getattr(total, name) + count)
    total.seconds = round(total.seconds, 3)
    if as_json:
        emit_json({**asdict(total), "files": parts})
        return
    _show(total)


def _replay(app: App, *, as_json: bool) -> None:
    from redirectd.cli.log_reading import reading_by_name
    from redirectd.service.replay import replay

    config = app.config
    summary, left = replay(app.database, lambda name: reading_by_name(name, config), node=config.node, clock=app.now)
    if as_json:
        emit_json({**asdict(summary), "files": [], "quarantine": left})
        return
    _show(summary)
    say(f"{left:>9,}  stay in the quarantine")


def _refuse_unreadable(files: tuple[str, ...]) -> None:
    """Reported before the first is read: what that one counts could not be reported any more."""
    from redirectd.sources.file import refuse_unreadable

    for file in files:
        if file != "-":
            refuse_unreadable(file)


def _ingest_one(
    app: App, file: str, dialect: str | None, progress: Literal["each", "count"] | None, *, accept_unkeyed: bool
) -> Summary:
    from redirectd.cli.log_reading import reading_of
    from redirectd.collect.capture import searchable
    from redirectd.service.ingestion import ingest
    from redirectd.sources.file import open_log

    config = app.config
    if progress is None and sys.stderr.isatty():
        progress = "count"  # a record for each would come between the progress bar and its end
    with open_log(file) as opened:
        database = app.database  # only now: a misspelt name must not leave a database behind
        log = searchable(opened)
        reading = reading_of(log, config, dialect=dialect, session_progress=progress, accept_unkeyed=accept_unkeyed)
        each = reading.session_progress == "each"
        with _bar(opened) as on_block:
            summary = ingest(
                log,
                reading,
                database,
                node=config.node,
                clock=app.now,
                on_progress=_ProgressLog(reading.source) if each else None,
                on_block=on_block,
                unread=lambda: len(opened.losses),
            )
        if log is not opened:
            summary.bytes = opened.end()  # of the file, not of what was made of it to be searched
        for loss in opened.losses:
            click.echo(f"{loss.where}: {loss.why}; {loss.what_to_do}", err=True)
        return summary


class _ProgressLog:
    """Logs each 183; logging is set up when the first one comes, since it costs more than reading a small log."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._log: Callable[[SessionProgress], None] | None = None

    def __call__(self, progress: SessionProgress) -> None:
        """One record at level info (R3)."""
        if self._log is None:
            from redirectd.service.feed import SessionProgressLog
            from redirectd.service.log_records import configure

            configure("info")
            self._log = SessionProgressLog(self._source)
        self._log(progress)


@contextmanager
def _bar(opened: OpenLog) -> Iterator[Callable[[int], None] | None]:
    """Progress on a terminal, for logs whose size is known."""
    from redirectd.sources.file import PlainLog

    if not sys.stderr.isatty() or not isinstance(opened, PlainLog):
        yield None
        return
    with click.progressbar(length=opened.end(), label=Path(opened.name).name, file=sys.stderr) as bar:
        yield lambda offset: bar.update(offset - bar.pos)


def _show(total: Summary) -> None:
    rate = total.bytes / total.seconds / 1e6 if total.seconds else 0.0
    say(f"read {total.bytes:,} bytes in {total.seconds:.2f} s ({rate:,.0f} MB/s)")
    counts = asdict(total)
    if total.known and not total.sightings:
        say(f"{total.known:>9,}  301s, all known")
    for name, text in _WORDS.items():
        if counts[name] if name == "over_budget" else name != "sightings" or total.sightings or not total.known:
            also = f"; {total.known:,} more were known" if name == "sightings" and total.known else ""
            say(f"{counts[name]:>9,}  {text}{also}")
    if total.remaps_new:
        say("next: redirectd pending")
