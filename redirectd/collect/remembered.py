"""Which answers were met, so that their repetitions are dropped without asking the database (R8)."""

from __future__ import annotations

from collections import OrderedDict

REMEMBERED = 65_536
"""Answers that are remembered; the database knows the others."""


class Remembered:
    """Ranks by key, the latest of them; what was not confirmed can be undone."""

    def __init__(self) -> None:
        self._ranks: OrderedDict[str, int] = OrderedDict()
        self._unconfirmed: list[tuple[str, int | None]] = []

    def rank(self, key: str) -> int | None:
        """How much the best telling of an answer proved, None for one that is not known."""
        return self._ranks.get(key)

    def remember(self, key: str, rank: int | None) -> None:
        """Keeps the rank of what a key names; None forgets it."""
        known = self._ranks.get(key)
        if known == rank:
            return
        self._unconfirmed.append((key, known))
        if rank is None:
            del self._ranks[key]
            return
        self._ranks[key] = rank
        if known is not None:
            self._ranks.move_to_end(key)
        elif len(self._ranks) > REMEMBERED:
            self._ranks.popitem(last=False)

    def confirm(self) -> None:
        """Says that everything remembered so far is committed."""
        self._unconfirmed.clear()

    def undo(self) -> None:
        """Forgets what was remembered since `confirm`: it counts when it comes again."""
        for key, rank in reversed(self._unconfirmed):
            if rank is None:
                self._ranks.pop(key, None)
            else:
                self._ranks[key] = rank
        self._unconfirmed.clear()
