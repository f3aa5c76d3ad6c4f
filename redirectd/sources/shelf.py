"""The files of one log on disk: which of them holds a mark, and which is the next to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from redirectd.sources.place import OpenFile, Place, live_place, neighbours, rotated_places

if TYPE_CHECKING:
    from pathlib import Path

    from redirectd.sources.log import Log
    from redirectd.sources.place import FileMark

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Next:
    """The first file that was not read yet, from which offset, and whether files before it may be missing."""

    place: Place
    offset: int
    missing: bool


class Shelf:
    """The log at `path` with its rotated files. Looks afresh at every question; raises `OSError` where it can't."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def live(self) -> Place | None:
        """The log itself, or None where there is none now."""
        return live_place(self.path)

    def open(self, place: Place) -> OpenFile:
        """Open `place`; `FileNotFoundError` where something else has taken its place."""
        return OpenFile(place, self._older)

    def find(self, mark: FileMark) -> OpenFile | None:
        """The file that holds `mark`, by inode first.

        Raises `OSError` where none does, but one that was renamed, packed or closed to us meanwhile might.
        """
        live = self.live()
        missed: OSError | None = None
        same_inode = neighbours(self.path, mark.device, mark.inode)
        for place in (*same_inode, *([live] if live else []), *reversed(rotated_places(self.path))):
            try:
                file = self.open(place)
            except (FileNotFoundError, PermissionError) as error:
                missed = error
                continue
            if file.holds(mark):
                return file
            file.close()
        if missed is not None:
            raise missed
        return None

    def find_same(self, mark: FileMark) -> OpenFile | None:
        """The plain file of that very inode that holds `mark`, if it is not the live one."""
        live = self.live()
        for _ in range(_TRIES):
            found = neighbours(self.path, mark.device, mark.inode)
            if live is not None and any((live.device, live.inode) == (place.device, place.inode) for place in found):
                return None
            try:
                return self._plain_with(mark, found)
            except FileNotFoundError:  # renamed between looking and opening
                continue
        return None

    def _plain_with(self, mark: FileMark, places: list[Place]) -> OpenFile | None:
        for place in places:
            try:
                file = self.open(place)
            except PermissionError:
                continue
            if not file.packed and file.holds(mark):
                return file
            file.close()
        return None

    def after(self, known: tuple[FileMark, ...]) -> Next | None:
        """The oldest file newer than all those `known` as read, the newest known first.

        The live one may be empty, the others are passed over when they are. A live file that is known, and
        came back or was cut, goes on where it was left.
        """
        live = self.live()
        unread: list[Place] = []
        for place in (*([live] if live else []), *reversed(rotated_places(self.path))):
            file = self.open(place)
            mark = next((mark for mark in known if file.was_read(mark)), None)
            empty = file.is_empty()
            file.close()
            if mark is None:
                if not empty or place is live:
                    unread.append(place)
            elif place is live and place.size != mark.offset:
                return Next(place, min(place.size, mark.offset), missing=False)
            else:
                return Next(unread[-1], 0, missing=mark is not known[0]) if unread else None
        return Next(unread[-1], 0, missing=bool(known)) if unread else None

    def newer(self, file: OpenFile) -> int:
        """Bytes in the files after `file`; 0 where it can't be said which those are."""
        live = self.live()
        if live is None or file.is_at(live):
            return 0
        rotated = rotated_places(self.path)
        at = next((at for at, place in enumerate(rotated) if file.is_at(place)), len(rotated))
        return live.size + sum(place.size for place in rotated[at + 1 :])

    def marks(self, newest: int) -> tuple[FileMark, ...]:
        """Marks of up to `newest` rotated files as if they had been read, the newest first."""
        marks = []
        for place in reversed(rotated_places(self.path)[-newest:]):
            try:
                file = self.open(place)
            except (FileNotFoundError, PermissionError):
                continue
            offset = len(file.head()) if file.packed else file.log.end()
            if offset:
                marks.append(file.mark(offset))
            file.close()
        return tuple(marks)

    def _older(self, file: OpenFile) -> Log | None:
        """The log before `file`, for a request that is in it; found by what the files are, not by their names."""
        for _ in range(_TRIES):
            try:
                rotated = rotated_places(self.path)
                at = next((at for at, place in enumerate(rotated) if file.is_at(place)), len(rotated))
                return self.open(rotated[at - 1]).log if at else None
            except FileNotFoundError:  # renamed between looking and opening
                continue
            except OSError:
                break
        return None
