"""`redirectd ingest`: read logs once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.options import dialect_option
from redirectd.cli.output import emit_json, json_option, say
from redirectd.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from redirectd.collect.batch import SessionProgress
    from redirectd.collect.reading import Reading
    from redirectd.config.model import Config
    from redirectd.service.ingestion import LogPart, Summary
    from redirectd.sources.file import OpenLog
    from redirectd.sources.log import Log

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
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    help="How many of several files are read at once; what is found is the same. Default: the number of processors.",
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
    jobs: int | None,
    as_json: bool,
) -> None:
    """Read logs once, from their start to their end, and keep what they say has moved.

    FILE is a log, also compressed (gz, xz, bz2, zstd), or - for standard input. Reading a log twice counts nothing
    twice. Without a configuration file, no peer is trusted, and the database is
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
    how = _How(dialect, session_progress, accept_unkeyed)
    for file, summary in _ingest_all(app, files, how, jobs or len(os.sched_getaffinity(0))):
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
    from redirectd.service.ingestion import replay

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


@dataclass(frozen=True, slots=True)
class _How:
    """How the files are to be read."""

    dialect: str | None
    progress: Literal["each", "count"] | None
    accept_unkeyed: bool

    def reading(self, log: Log, config: Config) -> Reading:
        """The reading of one."""
        from redirectd.cli.log_reading import reading_of

        progress = self.progress
        if progress is None and sys.stderr.isatty():
            progress = "count"  # a record for each would come between the progress bar and its end
        return reading_of(
            log, config, dialect=self.dialect, session_progress=progress, accept_unkeyed=self.accept_unkeyed
        )


def _ingest_all(app: App, files: tuple[str, ...], how: _How, jobs: int) -> Iterator[tuple[str, Summary]]:
    """Each file with what it came to, in their order."""
    shares = _shares(app.config, files, jobs)
    if len(shares) > 1:
        yield from _ingest_at_once(app, files, how, shares)
        return
    for file in files:
        yield file, _ingest_one(app, file, how)


def _shares(config: Config, files: tuple[str, ...], jobs: int) -> list[list[str]]:
    """The files that each job reads: those of one rotated log by one. A file that is named twice is read alone."""
    from redirectd.cli.log_reading import source_name
    from redirectd.service.reading_jobs import shares_of
    from redirectd.sources.file import base_of

    names = {source_name(file, config) for file in files}
    if jobs == 1 or len(files) == 1 or len(names) < len(files) or not all(Path(file).is_file() for file in files):
        return [list(files)]
    stats = {file: Path(file).stat() for file in files}
    if len({(one.st_dev, one.st_ino) for one in stats.values()}) < len(files):
        return [list(files)]
    groups: dict[Path, list[str]] = {}
    for file in files:
        groups.setdefault(base_of(Path(file).absolute()), []).append(file)
    return shares_of(list(groups.values()), {file: one.st_size for file, one in stats.items()}, jobs)


def _ingest_at_once(
    app: App, files: tuple[str, ...], how: _How, shares: list[list[str]]
) -> Iterator[tuple[str, Summary]]:
    from redirectd.cli.log_reading import source_name
    from redirectd.service.ingestion import store, were_proven
    from redirectd.service.reading_jobs import reading_at_once

    sources = [source_name(file, app.config) for file in files]
    proven = dict(zip(files, were_proven(app.database, app.config.node, sources), strict=True))
    app.database.close()  # a process that is forked off shares no connection

    def read(file: str) -> Iterator[object]:
        return _read(file, how, app.config, is_proven=proven[file], clock=app.now)

    size = sum(Path(file).stat().st_size for file in files)
    with reading_at_once(shares, read) as read_by_name, _one_bar(size, f"{len(files)} files") as on_part:
        for file, source in zip(files, sources, strict=True):
            log = _Arriving(read_by_name(file), on_part)
            summary = store(log, log.ending, app.database, source=source, node=app.config.node, clock=app.now)
            summary.bytes = summary.bytes if log.end.bytes is None else log.end.bytes
            for loss in log.end.losses:
                click.echo(loss, err=True)
            yield file, summary


class _Arriving:
    """What another process has read of a file, part by part, and then its end."""

    def __init__(self, parts: Iterator[object], on_part: Callable[[int], None]) -> None:
        self._parts = parts
        self._on_part = on_part
        self.end = _Ended([], [], None)

    def __iter__(self) -> Iterator[LogPart]:
        for one in self._parts:
            if isinstance(one, _Ended):
                self.end = one
            else:
                part = cast("LogPart", one)
                yield part
                self._on_part(part.batch.read)

    def ending(self) -> tuple[list[str], int]:
        """The names of the log, and how many stretches could not be read."""
        return self.end.names, len(self.end.losses)


@dataclass(frozen=True, slots=True)
class _Ended:
    """What there is to say of a file that was read to its end; `bytes` are its own, where others were read for it."""

    names: list[str]
    losses: list[str]
    bytes: int | None


def _read(file: str, how: _How, config: Config, *, is_proven: bool, clock: Callable[[], datetime]) -> Iterator[object]:
    """What a file says, and at last what there is to say of it; in a process of its own."""
    from redirectd.collect.capture import searchable
    from redirectd.service.ingestion import names_of, stretches
    from redirectd.sources.file import open_log

    with open_log(file) as opened:
        log = searchable(opened)
        reading = how.reading(log, config)
        names = names_of(log)
        on_progress = _ProgressLog(reading.source) if reading.session_progress == "each" else None
        yield from stretches(log, reading, clock=clock, is_proven=is_proven, on_progress=on_progress)
        losses = [f"{loss.where}: {loss.why}; {loss.what_to_do}" for loss in opened.losses]
        yield _Ended(names, losses, None if log is opened else opened.end())


def _ingest_one(app: App, file: str, how: _How) -> Summary:
    from redirectd.collect.capture import searchable
    from redirectd.service.ingestion import ingest
    from redirectd.sources.file import open_log

    config = app.config
    with open_log(file) as opened:
        database = app.database  # only now: a misspelt name must not leave a database behind
        log = searchable(opened)
        reading = how.reading(log, config)
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


@contextmanager
def _one_bar(size: int, label: str) -> Iterator[Callable[[int], None]]:
    """Progress of several files on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=size, label=label, file=sys.stderr) as bar:
        yield bar.update


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
