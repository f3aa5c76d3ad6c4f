"""What differs between the entries in service and those wanted, and how much of it one apply may change by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Literal

from redirectd.errors import RefusedError


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


What = Literal["create", "update", "delete", "empty"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one apply may change in one target.

    Each of create, update and delete is held to both limits by itself. `max_changes` is absolute and
    holds always. `max_change_percent` is of the entries that are installed, rounded down, and holds for
    small tables too: only one update and one deletion are always within it, so that a person can work on a
    table of three, and `first_creates` additions. A table that is still empty has no percentage: it may grow
    up to `max_changes`. Emptying a table is within no limit.
    """

    max_change_percent: float = 30
    max_changes: int = 500
    first_creates: int = 20


@dataclass(frozen=True, slots=True)
class Breach:
    """One limit that a target's changes are over: `count` of `installed` entries where `allowed` were."""

    target: str
    what: What
    count: int
    installed: int
    allowed: int
    rule: str

    def __str__(self) -> str:
        if self.what == "empty":
            return f"{self.target}: all {self.installed} entries would go and none be left"
        return (
            f"{self.target}: {self.what} {self.count} of {self.installed} entries, allowed {self.allowed} ({self.rule})"
        )


@dataclass(frozen=True, slots=True)
class LimitReport:
    """What the limits say to a plan; no breach is a go-ahead."""

    breaches: tuple[Breach, ...] = ()

    @property
    def is_safe(self) -> bool:
        """Say if nothing is over a limit."""
        return not self.breaches

    def raise_if_unsafe(self, *, force: bool, way_past: str) -> None:
        """Stop an apply that is over a limit; `way_past` is the command that would do it all the same.

        Raises:
            RefusedError: with the numbers, unless `force`.
        """
        if self.is_safe or force:
            return
        raise RefusedError(
            "safety limits",
            "; ".join(map(str, self.breaches)),
            f"look at `redirectd plan`, and if that is what you want: {way_past}",
        )


def check_limits(target: str, changes: Changes, limits: Limits) -> tuple[Breach, ...]:
    """Give every limit that one target's changes are over."""
    installed = changes.installed
    if installed and not changes.wanted:
        return (Breach(target, "empty", installed, installed, 0, "an empty result needs --force"),)
    percent = floor(installed * limits.max_change_percent / 100)
    counts: tuple[tuple[What, int, int], ...] = (
        ("create", len(changes.create), limits.first_creates if installed else limits.max_changes),
        ("update", len(changes.update), 1),
        ("delete", len(changes.delete), 1),
    )
    breaches = []
    for what, count, always in counts:
        by_percent = max(percent, always)
        if count > limits.max_changes:
            rule = f"max_changes = {limits.max_changes}"
            breaches.append(Breach(target, what, count, installed, limits.max_changes, rule))
        elif count > by_percent:
            rule = f"max_change_percent = {limits.max_change_percent:g}"
            breaches.append(Breach(target, what, count, installed, by_percent, rule))
    return tuple(breaches)
