"""A log whose lines a container runtime or the journal wrapped: the consoles in it, each read as if it were alone.

Offsets are those of the wrapped log; each console has a window of its own behind them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.collect.losses import AMBIGUOUS_FRAME
from redirectd.collect.observer import Observation, Observer
from redirectd.collect.reading import Reading, ReadPart
from redirectd.collect.scan import Block
from redirectd.collect.traffic import LoggedMessage, Traffic
from redirectd.dialects.family import family_of
from redirectd.dialects.registry import of_family
from redirectd.dialects.wrapped_lines import Piece, Wrapper, wrapper_named, wrapper_of
from redirectd.sip.text import to_text
from redirectd.sources.log import Log
from redirectd.sources.spool import SpoolLog

CHUNK = 1 << 20
"""Bytes of the wrapped log read at a time."""

LEAD = 512 << 10
"""Bytes before the offset that are unwrapped again after a restart, so that a message begun there is seen whole."""

LONGEST_LINE = 16 << 20
"""A longer line is passed over and counted."""

LONGEST_PART = 1 << 20
"""Parts of one line are joined up to this; what is longer is taken as several lines."""

MOST_STREAMS = 64
"""Consoles read side by side; for one more, the one that has been silent longest ends."""

MOST_DECISIONS = 256
"""Consoles of a log whose families are kept."""

PATIENCE = 4 << 20
"""Bytes of other consoles for which an unfinished message waits for its rest."""

HEAD = 64 << 10
"""Bytes of a beginning that show how a log is wrapped."""

_MARKS_DROPPED = 4096
_LOOKALIKES = (b"SIP/2.0 301", b"REDIRECTD v=")


class Reads(Protocol):
    """What reads a log into batches, from an offset on: see `LogReader`."""

    log: Log

    @property
    def reading(self) -> Reading:
        """How it reads."""
        ...

    @property
    def offset(self) -> int:
        """First byte not dealt with yet."""
        ...

    @property
    def held(self) -> int:
        """Bytes from there on that were looked at and wait for more."""
        ...

    @property
    def parts(self) -> list[ReadPart]:
        """The consoles in it, how each is read and how far; the log itself where it has none."""
        ...

    def follow(self, log: Log, offset: int) -> None:
        """Goes on in another file of the same source."""
        ...

    def confirm(self) -> None:
        """Says that everything read so far is committed."""
        ...

    def undo(self, log: Log, offset: int) -> None:
        """Goes back to a confirmed offset."""
        ...

    def read(self, batch: Batch, *, final: bool) -> bool:
        """Adds the next stretch to `batch`; false where nothing new is there."""
        ...


def shows_wrapper(log: Log) -> bool:
    """Whether a log that is still written has a whole line by now, which shows how it is wrapped."""
    return b"\n" in log.read(log.start, HEAD)


def wrapper_in(log: Log, reading: Reading) -> Wrapper | None:
    """What wraps the log: as decided for its source, else as its beginning shows."""
    if reading.family or [one.name for one in reading.dialects] == ["kamailio-journal"]:
        return wrapper_named(reading.family)
    head = log.read(log.start, HEAD)
    return wrapper_of(head if log.start == 0 else head[head.find(b"\n") + 1 :])


def reader_of(
    log: Log,
    reading: Reading,
    *,
    clock: Callable[[], datetime],
    offset: int = 0,
    observer: Observer | None = None,
    proven: bool = False,
    followed: bool = False,
) -> Reads:
    """The reader that the log's beginning asks for. `followed`: other files of the source come after this one."""
    wrapper = wrapper_in(log, reading)
    if wrapper is None:
        return LogReader(log, reading, clock=clock, offset=offset, observer=observer, proven=proven)

    def new(console: Console, own: Reading) -> LogReader:
        placed = _Placed(observer, console) if observer is not None else None
        return LogReader(console.log, own, clock=clock, observer=placed, proven=proven, stamps=console.stamp)

    return ConsoleStreams(log, reading, wrapper, new, offset=offset, followed=followed)


class Console:
    """One program's console: its text, where each piece of it is in the wrapped log, and its reader."""

    def __init__(self, name: str, program: str) -> None:
        """`name` is the log's, `program` what its family is kept under."""
        self.name = name
        self.program = program
        self.reader: LogReader | None = None
        self._part = b""
        self._part_at = 0
        self.begin(new_text=True)

    def begin(self, *, new_text: bool) -> None:
        """Begins in another place or file; with `new_text` without what was read before."""
        if new_text:
            self.log = SpoolLog(self.name)
            self._part = b""
            self.end = 0
        self._marks, self._offsets = array("Q", [0]), array("Q", [0])  # of each line: here, and in the wrapped log
        self._dated, self._stamps = array("Q", [0]), [""]  # of places with another second

    def add(self, piece: Piece, at: int) -> None:
        """Takes a piece of the line at `at` in the wrapped log."""
        if not self._part:
            self._part_at = at
        self._part += piece.text
        if not piece.ends and len(self._part) < LONGEST_PART:
            return
        self._mark(self._part_at, piece.stamp)
        self.log.feed(self._part + b"\n")
        self.end += len(self._part) + 1
        self._part = b""

    def flush(self) -> None:
        """Ends a line of which only a part came."""
        if self._part:
            self.add(Piece(b"", b""), self._part_at)

    def outside(self, position: int) -> int:
        """Offset in the wrapped log of a place in the text."""
        return self._offsets[max(0, bisect_right(self._marks, position) - 1)]

    def stamp(self, position: int) -> str:
        """The wrapper's time of a place in the text."""
        return self._stamps[max(0, bisect_right(self._dated, position) - 1)]

    def waits(self, *, unread: bool = False) -> int | None:
        """Where in the wrapped log what is not dealt with yet begins; None where all is. `unread`: not all was read."""
        if self.reader is not None and (self.reader.waits or (unread and self.reader.offset < self.end)):
            return self.outside(self.reader.offset)
        return self._part_at if self._part else None

    def _mark(self, at: int, stamp: str) -> None:
        start = self.log.start
        if len(self._marks) > 2 * _MARKS_DROPPED and self._marks[_MARKS_DROPPED] < start:
            del self._marks[:_MARKS_DROPPED], self._offsets[:_MARKS_DROPPED]
        if len(self._dated) > 2 * _MARKS_DROPPED and self._dated[_MARKS_DROPPED] < start:
            del self._dated[:_MARKS_DROPPED], self._stamps[:_MARKS_DROPPED]
        self._marks.append(self.end)
        self._offsets.append(at)
        if stamp[:19] != self._stamps[-1][:19]:
            self._dated.append(self.end)
            self._stamps.append(stamp)


class _Placed:
    """Reports places in a console to an observer by where they are in the wrapped log."""

    def __init__(self, observer: Observer, console: Console) -> None:
        self._observer = observer
        self._console = console

    def block(self, block: Block, begin: int) -> None:
        """See `Observer.block`."""
        self._observer.block(replace(block, unframed=()), begin)
        for at in block.unframed:
            base = self._console.outside(block.base + at) - at
            self._observer.block(replace(block, base=base, counted={}, unframed=(at,), messages=()), base)

    def found(self, finding: Observation) -> None:
        """See `Observer.found`."""
        outside, answer = self._console.outside, finding.answer
        self._observer.found(
            replace(
                finding,
                position=outside(finding.position),
                asked_at=None if finding.asked_at is None else outside(finding.asked_at),
                answer=None if answer is None else replace(answer, position=outside(answer.position)),
            )
        )

    def taken_back(self, event_key: str) -> None:
        """See `Observer.taken_back`."""
        self._observer.taken_back(event_key)


class ConsoleStreams:
    """Reads a wrapped log; the same face as `LogReader`."""

    def __init__(
        self,
        log: Log,
        reading: Reading,
        wrapper: Wrapper,
        new: Callable[[Console, Reading], LogReader],
        *,
        offset: int = 0,
        followed: bool = False,
    ) -> None:
        """`new` makes the reader of a console."""
        self.log = log
        self.reading = reading
        self._wrapper = wrapper
        self._new = new
        self._followed = followed
        self._consoles: OrderedDict[bytes, Console] = OrderedDict()
        self._over = self._skip = self._busy = False
        self._restart(offset)

    @property
    def offset(self) -> int:
        """First byte of the wrapped log that is not dealt with yet."""
        if self._over:
            return self._at
        waiting = [waits for one in self._consoles.values() if (waits := one.waits(unread=self._busy)) is not None]
        return max(self._from, min([self._at, *waiting]))

    @property
    def held(self) -> int:
        """Bytes from there on that were looked at and wait for more."""
        return self._at - self.offset

    @property
    def parts(self) -> list[ReadPart]:
        """The consoles that have come so far, how each is read and how far."""
        return [part for one in self._consoles.values() if one.reader is not None for part in one.reader.parts]

    def follow(self, log: Log, offset: int) -> None:
        """Goes on in another file: a message may go on there; or somewhere else."""
        self.log = log
        if self._over and offset == 0:
            self._at = self._from = 0
            self._over = False
            for console in self._consoles.values():
                console.begin(new_text=False)
        else:
            for console in self._consoles.values():
                console.begin(new_text=True)
                if console.reader is not None:
                    console.reader.follow(console.log, 0)
            self._restart(offset)

    def confirm(self) -> None:
        """See `LogReader.confirm`."""
        for console in self._consoles.values():
            if console.reader is not None:
                console.reader.confirm()

    def undo(self, log: Log, offset: int) -> None:
        """See `LogReader.undo`."""
        for console in self._consoles.values():
            console.begin(new_text=True)
            if console.reader is not None:
                console.reader.undo(console.log, 0)
        self.log = log
        self._restart(offset)

    def read(self, batch: Batch, *, final: bool) -> bool:
        """See `LogReader.read`; a step of the consoles at a time."""
        read_before = batch.read
        if self._busy:
            self._drive(batch, final=False)
            batch.read = read_before
            return True
        size = CHUNK
        while True:
            chunk = self.log.read(self._at, size)
            end = chunk.rfind(b"\n") + 1
            if end or len(chunk) < size or size >= LONGEST_LINE:
                break
            size = min(LONGEST_LINE, size * 4)
        at_end = len(chunk) < size
        if not end and at_end and not (final and chunk):
            self._drive(batch, final=final)
            batch.read = read_before
            self._over = final and not self._busy
            return self._busy
        if not at_end:
            end = self._wrapper.whole(chunk, end)
        if not end:
            end = len(chunk)
            if not at_end and not self._skip:
                batch.lose("line-too-long")
                self._skip = True
        begin = self._at
        self._take(batch, chunk[:end])
        self._drive(batch, final=False)
        batch.read = read_before + self._at - max(begin, self._from)
        return True

    def _restart(self, offset: int) -> None:
        """Begins at `offset`; what is unwrapped before it is only there to be looked back at."""
        self._from = offset
        self._over = self._skip = self._busy = False
        low = max(self.log.start, offset - LEAD)
        if low > self.log.start:
            low += self.log.read(low, min(LEAD, offset - low)).find(b"\n") + 1
        self._at = low
        while self._at < offset and (chunk := self.log.read(self._at, offset - self._at)):
            whole = chunk.rfind(b"\n") + 1
            if not whole:
                break  # the offset is within a line: the line is read again
            self._take(Batch(self.reading.source), chunk[:whole])
        for console in self._consoles.values():
            if console.end:
                self._reader(console).follow(console.log, console.end)

    def _take(self, batch: Batch, text: bytes) -> None:
        """Gives each console what is its own."""
        if self._skip:
            self._skip = b"\n" not in text
            cut = text.find(b"\n") + 1 or len(text)
            self._at += cut
            text = text[cut:]
        position = self._at
        unwrap = self._wrapper.unwrap
        for entry in self._wrapper.entries(text) if text else []:
            piece = unwrap(entry)
            if piece is None:
                if any(one in entry for one in _LOOKALIKES):
                    batch.lose("not-wrapped")
            elif piece.lost:
                batch.lose("blob-data")
            elif piece.doubtful:
                batch.lose(AMBIGUOUS_FRAME)
            else:
                self._console(piece.stream, batch).add(piece, min(position, self._at + len(text)))
            position += len(entry) + 1
        self._at += len(text)

    def _console(self, stream: bytes, batch: Batch) -> Console:
        console = self._consoles.get(stream)
        if console is None:
            if len(self._consoles) >= MOST_STREAMS:
                _, silent = self._consoles.popitem(last=False)
                silent.flush()
                while silent.end and self._reader(silent).read(batch, final=True):
                    pass
            program = to_text(stream.partition(b"\0")[0])[:255]
            console = self._consoles[stream] = Console(self.log.name, program)
        self._consoles.move_to_end(stream)
        return console

    def _reader(self, console: Console) -> LogReader:
        if console.reader is None:
            own = replace(self.reading, gappy=self._wrapper.drops_empty_lines)
            if len(own.dialects) > 1:
                head = console.log.read(0, HEAD)
                fit = {one.name: one for one in own.dialects}
                family = own.consoles.get(console.program) or family_of(head)
                if family and len(own.consoles) < MOST_DECISIONS:
                    own.consoles[console.program] = family
                likely = tuple(fit[one.name] for one in of_family(family, head) if one.name in fit)
                own = replace(own, dialects=likely or own.dialects)
            console.reader = self._new(console, own)
        return console.reader

    def _drive(self, batch: Batch, *, final: bool) -> None:
        """Reads a step of what the consoles have."""
        self._busy = False
        for console in self._consoles.values():
            if final and not self._followed:
                console.flush()
            waits = console.waits()
            waited = waits is not None and self._at - waits > PATIENCE
            if console.end:
                reader = self._reader(console)
                self._busy |= reader.read(batch, final=waited or (final and not self._followed))


class ConsoleTraffic:
    """All messages of what a reader reads, console by console; see `Traffic`."""

    def __init__(self, reader: Reads, clock: Callable[[], datetime]) -> None:
        self._reader = reader
        self._clock = clock
        self._of: dict[int, Traffic] = {}  # by the id of the log, which each holds

    @property
    def offset(self) -> int:
        """First byte not dealt with yet."""
        return self._reader.offset

    def stretch(self, *, final: bool) -> Iterator[LoggedMessage]:
        """The messages in what the reader has read since."""
        parts, known = self._reader.parts, self._of
        self._of = {
            id(one.log): known.get(id(one.log)) or Traffic(one.log, one.reading, self._clock, one.stamp)
            for one in parts
        }
        for part in parts:
            traffic = self._of[id(part.log)]
            while (final or traffic.offset < part.offset) and (found := traffic.stretch(final=final)) is not None:
                yield from found

    def __iter__(self) -> Iterator[LoggedMessage]:
        more = True
        while more:
            more = self._reader.read(Batch(self._reader.reading.source), final=True)
            self._reader.confirm()
            yield from self.stretch(final=not more)


def traffic_of(log: Log, reading: Reading, clock: Callable[[], datetime]) -> Traffic | ConsoleTraffic:
    """All messages of a log, or of the consoles in it."""
    if wrapper_in(log, reading) is None:
        return Traffic(log, reading, clock)
    return ConsoleTraffic(reader_of(log, reading, clock=clock), clock)
