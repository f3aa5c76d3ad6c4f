"""A log followed through every way of rotating it: nothing lost, nothing read twice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from redirectd.errors import SourceError
from redirectd.sources.file import PlainLog, unreadable
from redirectd.sources.log import Gap, LogSegment
from redirectd.sources.place import NOWHERE, FileMark, Position
from redirectd.sources.shelf import Next, Shelf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redirectd.sources.place import OpenFile

_KEPT = 8  # files before the current one that a position names


class FollowedFile:
    """Gives what to read next of the log at `path`; it has no thread and waits for nothing.

    Turn by turn: `poll` gives a `Segment` or None; read it; ask `position` how far that got; commit it with what
    was found; confirm with `advance`. Without `advance` the same segment comes again.

    With `position` None the file is read from its start (files rotated before the first look are not), or with
    `from_end` from its present end. The first segment may then be empty, and of no file where there is none: its
    position, once committed, finds the file again that was written and rotated before a byte of it was read.
    `trouble` says what keeps it from reading now, None when all is well.

    What no follower can see: bytes that came and went between two looks at a file that was empty at the first.
    """

    def __init__(self, path: str | Path, position: Position | None = None, *, from_end: bool = False) -> None:
        self.path = Path(path)
        self.trouble: SourceError | None = None
        self._shelf = Shelf(self.path)
        self._from_end = from_end
        self._begun = False
        self._nothing: PlainLog | None = None  # in place of a log that does not exist yet
        self._looked = False
        self._is_new = position is None
        self._stored = position
        self._expected: FileMark | None = None  # what the file that is taken next must begin with
        self._current: OpenFile | None = None
        self._mark: FileMark | None = None  # confirmed, in the current file
        self._seen: FileMark | None = None  # as far as the current file was looked at
        self._before: tuple[FileMark, ...] = ()
        self._late: OpenFile | None = None  # the file before, whose writer may not have let go of it yet
        self._late_size = 0
        self._gaps: list[Gap] = []
        self._told = 0

    def poll(self) -> LogSegment | None:
        """What to read next, or None where there is nothing now; see `trouble` for why."""
        try:
            segment = self._step_again()
        except OSError as error:
            self.trouble = unreadable(str(error.filename or self.path), error)
            return self._of_nothing() if self._is_new and self._looked and self._current is None else None
        self.trouble = None
        if self._current is None and (segment is None or segment.log is self._nothing):
            self.trouble = SourceError(str(self.path), "does not exist yet", "nothing, if it is still to come")
        return segment

    def position(self, segment: LogSegment, offset: int) -> Position | None:
        """The position when all of `segment` before `offset` is dealt with.

        None if the file was truncated since `poll`: throw away what was read, it may be mixed, and poll again.
        """
        if self._late is not None and segment.log is self._late.log and self._mark is not None:
            return Position(self._mark, (self._late.mark(offset), *self._before[1:]))
        if segment.log is self._nothing:
            return Position(NOWHERE, self._before)
        if self._current is None or segment.log is not self._current.log:
            return None
        mark = self._current.mark(offset)
        if not self._current.packed and (offset if self._is_unproven() else not self._unchanged()):
            return None
        return Position(mark, self._before)

    def advance(self, position: Position) -> None:
        """Confirm a position of `position`, once it is committed."""
        self._is_new = False
        self._mark, self._before = position.mark, position.before
        del self._gaps[: self._told]
        self._told = 0

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Losses found and not confirmed yet; they wait here where no file is left to report them with."""
        return tuple(self._gaps)

    def unread(self) -> int:
        """Bytes known to wait, here and in newer files; a packed one counts by its size on disk, the current not.

        Of a file that was truncated all counts that is in it now; what was copied away is known at the next poll.
        """
        if self._current is None or self._mark is None:
            return 0
        end = 0 if self._current.packed else self._current.log.end()
        here = end - self._mark.offset if end >= self._mark.offset else end
        try:
            return here + self._shelf.newer(self._current)
        except OSError:  # `trouble` reports it
            return here

    def turned_away(self) -> Mapping[str, int]:
        """Nothing: everything in a log is taken in."""
        return {}

    def close(self) -> None:
        """Let go of all files."""
        for file in (self._current, self._late, self._nothing):
            if file is not None:
                file.close()
        self._current = self._late = self._nothing = None

    # One turn

    def _step_again(self) -> LogSegment | None:
        try:
            return self._step()
        except FileNotFoundError:  # renamed between looking and opening: what is true now?
            return self._step()

    def _step(self) -> LogSegment | None:
        if not self._begun:
            self._begin()
        if self._late is not None and self._late.log.end() > max(self._late_size, self._before[0].offset):
            self._late_size = self._late.log.end()
            return LogSegment(self._late.log, self._before[0].offset, self._late_size, final=False)
        if self._current is not None and not self._current.packed:
            self._look()
        while True:
            if self._current is None or self._mark is None:
                upcoming = self._shelf.after(self._before)
                if upcoming is None:
                    return self._of_nothing() if self._is_new else None
                self._take(upcoming)
                continue
            upcoming = self._successor()
            if self._current.has_more(self._mark.offset) or self._gaps or self._is_new:
                return self._segment(final=self._current.packed or upcoming is not None)
            if upcoming is None:
                return None
            if self._late is not None and self._late.log.end() > self._before[0].offset:
                return LogSegment(self._late.log, self._before[0].offset, self._late.log.end(), final=True)
            self._leave()
            self._take(upcoming)

    def _segment(self, *, final: bool) -> LogSegment:
        assert self._current is not None
        assert self._mark is not None
        end = None if self._current.packed else self._current.log.end()
        self._told = len(self._gaps)
        return LogSegment(self._current.log, self._mark.offset, end, final, tuple(self._gaps))

    def _of_nothing(self) -> LogSegment:
        """An empty segment whose position separates the files that existed at the first look from those to come."""
        if self._nothing is None:
            self._nothing = PlainLog(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), str(self.path))
        return LogSegment(self._nothing, 0, 0, final=False)

    def _begin(self) -> None:
        """Find the stored position again, or begin with the live file.

        What was live at the first look and could not be opened may have been rotated since: it is the next unread one.
        """
        if self._stored is not None:
            self._before = self._stored.before
            if self._stored.mark.offset:
                self._search(self._stored.mark, self._stored.mark)
            elif self._stored.mark.head_size:
                self._expected = self._stored.mark
        elif not self._looked:
            self._before = self._shelf.marks(_KEPT)
            self._looked = True
            live = self._shelf.live()
            if live is not None:
                file = self._shelf.open(live)
                self._hold(file, file.log.end() if self._from_end else 0)
        if self._before and self._late is None:
            self._late = self._shelf.find_same(self._before[0])
        self._begun = True

    def _look(self) -> None:
        """Notice a truncation, also one that has been overgrown since."""
        assert self._current is not None
        assert self._seen is not None
        assert self._mark is not None
        if self._is_unproven():
            self._look_around()
            return
        new = self._current.mark(self._current.log.end())
        if self._unchanged():
            self._seen = new
        elif self._current.holds(self._mark):
            self._lose("was cut back behind what had been read", self._seen.offset - new.offset)
            self._seen = new
        else:
            self._search(self._mark, self._seen)

    def _is_unproven(self) -> bool:
        """Whether the file was empty when looked at: it may have been filled and copied away since."""
        return self._seen is not None and self._seen.offset == 0

    def _look_around(self) -> None:
        assert self._current is not None
        upcoming = self._shelf.after(self._before)
        if upcoming is None or upcoming.place.size == 0 or self._current.is_at(upcoming.place):
            self._seen = self._current.mark(self._current.log.end())
        else:
            self._current.close()
            self._current = self._mark = self._seen = None

    def _unchanged(self) -> bool:
        assert self._current is not None
        assert self._seen is not None
        return self._current.log.end() >= self._seen.offset and self._current.holds(self._seen)

    def _search(self, mark: FileMark, seen: FileMark) -> None:
        """Find the content of `mark`, which was read up to there and seen up to `seen`, in some other file."""
        found = self._shelf.find(seen)
        if found is None and mark.offset and mark != seen:
            found = self._shelf.find(mark)
        if found is not None:
            self._hold(found, mark.offset)
            if not found.packed and found.log.end() < seen.offset:
                self._lose("was truncated after it had been copied", seen.offset - found.log.end())
            return
        if mark.offset:
            self._remember(mark)
            lost = True
        else:  # nothing of it was read, so a copy of it is simply the next unread file
            upcoming = self._shelf.after(self._before)
            lost = upcoming is None or upcoming.place.path == self.path
        if lost:
            self._lose("was truncated or removed; what came after the last read is gone", seen.offset - mark.offset)
        if self._current is not None:
            self._current.close()
        self._current = self._mark = self._seen = None

    # Which file

    def _successor(self) -> Next | None:
        """The file to read after the current one: the oldest unread one that is not empty."""
        assert self._current is not None
        assert self._mark is not None
        try:
            live = self._shelf.live()
            if live is not None and self._current.is_at(live):
                return None
            read = self._mark.offset if self._current.packed else self._current.log.end()
            upcoming = self._shelf.after((self._current.mark(read), *self._before))
        except OSError:
            if self._current.has_more(self._mark.offset):
                return None  # first what can be read
            raise
        return upcoming if upcoming is not None and upcoming.place.size > upcoming.offset else None

    # Holding files

    def _hold(self, file: OpenFile, offset: int) -> None:
        if self._current is not None:
            self._current.close()
        self._current, self._mark = file, file.mark(offset)
        self._seen = self._mark if file.packed else file.mark(file.log.end())

    def _take(self, upcoming: Next) -> None:
        """Go on in the file found; a file renamed meanwhile is looked for again at the next turn."""
        file = self._shelf.open(upcoming.place)
        if upcoming.missing and not self._gaps:
            self._lose("files between it and the one read before may be gone", 0)
        if self._expected is not None and not file.begins_as(self._expected):
            self._lose("was truncated or removed before it was read", self._expected.head_size)
        self._expected = None
        self._hold(file, upcoming.offset)

    def _leave(self) -> None:
        """The current file is read to its end: keep it open for bytes that come late, remember it as read."""
        assert self._current is not None
        assert self._mark is not None
        for loss in self._current.log.losses:
            self._gaps.append(Gap(loss.where, loss.why, 0))
        current = self._current
        self._remember(current.mark(self._mark.offset))
        if current.packed:
            current.close()
        else:
            self._late, self._late_size = current, self._mark.offset
        self._current = self._mark = self._seen = None

    def _remember(self, mark: FileMark) -> None:
        """Put `mark` before those read earlier, and let go of the file that was kept open for late bytes."""
        if self._late is not None:
            unread = self._late.log.end() - self._before[0].offset
            if unread > 0:
                self._gaps.append(Gap(self._late.log.name, "was still written to after its rotation", unread))
            self._late.close()
            self._late = None
        self._before = (mark, *self._before)[:_KEPT]

    def _lose(self, why: str, at_least: int) -> None:
        self._gaps.append(Gap(str(self.path), why, max(0, at_least)))
