"""Putting a table's rows into place as a file is: staged, swapped as one, and put back, with the same text for both.

What a table was before an apply is kept in a file of this host until the new rows have proven themselves. What was put
into it last is kept in another, so that a plan need not fetch all rows as long as nobody has changed any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from redirectd.apply.files import Files
from redirectd.apply.install import FilePlace, Installer
from redirectd.apply.sql_rows import KnownRows, SqlRows
from redirectd.errors import InstallError
from redirectd.plan.planning import digest
from redirectd.plan.target_spec import TargetSpec


@dataclass(frozen=True, slots=True)
class RowsPlace(FilePlace):
    """A table, by the path that names it to people; its companion `staged` is in memory."""

    kept: str

    @property
    def directory(self) -> str:
        """The folder of the file that keeps the old rows."""
        return str(Path(self.kept).parent)

    @property
    def staged(self) -> str:
        """The name of the new rows until they are put into the table."""
        return f"{self.path} staged"

    @property
    def backup(self) -> str:
        """The file that keeps the old rows."""
        return self.kept


class TableInstaller(Installer):
    """Files as ever, and `tables` by the path of their target; `folder` is where old rows are kept.

    `bases` read tables of the operator's own, which are never written.
    """

    def __init__(
        self,
        files: Files,
        tables: Mapping[str, SqlRows],
        folder: Path,
        bases: Mapping[str, Callable[[], bytes | None]] = MappingProxyType({}),
    ) -> None:
        super().__init__(files)
        self._bases = bases
        self._tables = tables
        self._folder = folder
        self._staged: dict[str, bytes] = {}
        self._seen: dict[str, str] = {}
        self._anew = False

    def place(self, path: str) -> FilePlace:
        """Find a table, or a file."""
        if path not in self._tables:
            return super().place(path)
        return RowsPlace(path, self._beside(path, "old"))

    def read_anew(self) -> None:
        """From now on read whole tables."""
        self._anew = True

    def read(self, path: str) -> bytes | None:
        """Read a table, None where it has no rows; staged or old rows; or a file."""
        if path in self._staged:
            return self._staged[path]
        if path in self._bases:
            return self._bases[path]()
        if path not in self._tables:
            return super().read(path)
        content = self._tables[path].read(self._known_of(path))
        self._seen[path] = digest(content)
        return content

    def stage(self, place: FilePlace, content: bytes, spec: TargetSpec) -> None:
        """Hold the new rows ready."""
        if isinstance(place, RowsPlace):
            self._staged[place.staged] = content
        else:
            super().stage(place, content, spec)

    def back_up(self, place: FilePlace, expected: bytes | None) -> str | None:
        """Keep the old rows, and give the name of the file that has them; None if there are none."""
        if not isinstance(place, RowsPlace):
            return super().back_up(place, expected)
        self.see_unchanged(place, expected)
        if expected is None:
            self._discard(place.kept)
            return None
        self._keep(place.kept, expected)
        return place.backup

    def back_up_blank(self, place: FilePlace, content: bytes, spec: TargetSpec) -> str:
        """Keep `content` as the old rows of a table that has none."""
        if not isinstance(place, RowsPlace):
            return super().back_up_blank(place, content, spec)
        self.see_unchanged(place, None)
        self._keep(place.kept, content)
        return place.backup

    def swap(self, place: FilePlace, now: int, *, step: bool) -> None:
        """Put the staged rows into service, if the table is still what was read last."""
        if not isinstance(place, RowsPlace):
            super().swap(place, now, step=step)
            return
        self._put(place, self._staged[place.staged])
        del self._staged[place.staged]

    def refresh(self, place: FilePlace, now: int) -> None:
        """Nothing for a table: a reload always reads it."""
        if not isinstance(place, RowsPlace):
            super().refresh(place, now)

    def restore(self, place: FilePlace, backup: str | None, now: int, *, step: bool) -> None:
        """Put the old rows back; without a backup there were none."""
        if not isinstance(place, RowsPlace):
            super().restore(place, backup, now, step=step)
            return
        old = None if backup is None else super().read(backup)
        if backup is not None and old is None:
            what_to_do = "reinstall a generation: redirectd rollback NUMBER --force"
            raise InstallError(place.path, f"the file that keeps its old rows is gone: {backup}", what_to_do)
        self._put(place, old)
        self._discard(place.kept)

    def tidy(self, place: FilePlace, *, keep_backup: bool = False) -> None:
        """Forget what an apply left beside the table."""
        if not isinstance(place, RowsPlace):
            super().tidy(place, keep_backup=keep_backup)
            return
        self._staged.pop(place.staged, None)
        if not keep_backup:
            self._discard(place.kept)

    def _put(self, place: RowsPlace, content: bytes | None) -> None:
        known = self._tables[place.path].replace(content, self._seen[place.path], self._known_of(place.path))
        self._seen[place.path] = digest(content)
        if known is not None:
            with suppress(InstallError):  # without it the next plan reads the whole table
                self._keep(self._beside(place.path, "rows"), _form_of(known) + known.content)

    def _known_of(self, path: str) -> KnownRows | None:
        """Give what redirectd has last put into a table; whoever changed it since has changed its mark, too."""
        if not self._anew and self._tables[path].alone:
            with suppress(InstallError):
                return _known(super().read(self._beside(path, "rows")) or b"")
        return None

    def _beside(self, path: str, what: str) -> str:
        return str(self._folder / f".{digest(path.encode())[:16]}.redirectd-{what}")


def _form_of(known: KnownRows) -> bytes:
    """Give the first line of the file that keeps what is known of a table."""
    return f"redirectd rows {known.mark} {digest(known.content)}\n".encode()


def _known(kept: bytes) -> KnownRows | None:
    """Read such a file; None where it is not whole."""
    head, _, content = kept.partition(b"\n")
    found = KnownRows(content, head.decode("ascii", "replace").split(" ")[2] if head.count(b" ") == 3 else "")
    return found if _form_of(found) == head + b"\n" else None
