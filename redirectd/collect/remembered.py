"""Which answers were met, so that their repetitions are dropped without asking the database (R8)."""

from __future__ import annotations

GENERATION = 5_400
"""Keys of a generation: at least so many are remembered, as a table of 300 kB takes.

An answer is repeated for 32 s at most (17.2.1). A 301 that comes again after more answers is known to the database.
"""


class Remembered:
    """Ranks by key, the latest of them; what was not confirmed can be undone.

    A key is kept as a number of 64 bits that is secret to this process, so that nobody can choose keys that share one,
    in one of two generations: when the younger is full, the older goes. That takes a fifth of the memory of an ordered
    table of texts, at most 1 MB.
    """

    def __init__(self) -> None:
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._unconfirmed: list[tuple[int, int | None]] = []

    def rank(self, key: str) -> int | None:
        """How much the best sighting of an answer proved, None for one that is not known."""
        return self._rank(hash(key))

    def remember(self, key: str, rank: int | None) -> None:
        """Keeps the rank of what a key names; None forgets it."""
        self._remember(hash(key), rank)

    def add(self, key: str, rank: int) -> bool:
        """Keeps the rank of what is not known yet; whether it was not."""
        number = hash(key)
        is_new = self._rank(number) is None
        if is_new:
            self._unconfirmed.append((number, None))
            self._put(number, rank)
        return is_new

    def confirm(self) -> None:
        """Says that everything remembered so far is committed."""
        self._unconfirmed.clear()

    def undo(self) -> None:
        """Forgets what was remembered since `confirm`: it counts when it comes again."""
        for number, rank in reversed(self._unconfirmed):
            self._put(number, rank)
        self._unconfirmed.clear()

    def _rank(self, number: int) -> int | None:
        rank = self._young.get(number)
        return self._old.get(number) if rank is None else rank

    def _remember(self, number: int, rank: int | None) -> None:
        known = self._rank(number)
        if known != rank:
            self._unconfirmed.append((number, known))
            self._put(number, rank)

    def _put(self, number: int, rank: int | None) -> None:
        if rank is None:
            self._young.pop(number, None)
            self._old.pop(number, None)
            return
        self._young[number] = rank
        if len(self._young) >= GENERATION:
            self._old, self._young = self._young, {}
