"""What differs between the entries in service and the entries wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys of the entries that come, change and go, each sorted; the number of those that stay."""

    create: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    unchanged: int = 0

    @property
    def installed(self) -> int:
        """Entries before the change."""
        return len(self.update) + len(self.delete) + self.unchanged

    @property
    def wanted(self) -> int:
        """Entries after the change."""
        return len(self.create) + len(self.update) + self.unchanged

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys whose answer changes."""
        return self.create + self.update + self.delete


def diff(installed: Mapping[str, str], wanted: Mapping[str, str]) -> Changes:
    """Compare two tables of entries by key and value."""
    common = installed.keys() & wanted.keys()
    update = sorted(key for key in common if installed[key] != wanted[key])
    return Changes(
        create=tuple(sorted(wanted.keys() - installed.keys())),
        update=tuple(update),
        delete=tuple(sorted(installed.keys() - wanted.keys())),
        unchanged=len(common) - len(update),
    )
