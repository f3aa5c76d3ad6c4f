"""The family that a source is pinned to: decided once by the log's envelope, kept with its position (R38)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Any

from redirectd.collect.reading import Reading
from redirectd.dialects.family import FAMILIES, SAMPLE, sole_family
from redirectd.dialects.registry import envelope_of
from redirectd.dialects.wrapped_lines import wrapper_of
from redirectd.sources.log import Log
from redirectd.store.positions import TRAFFIC

LOOK_SECONDS = 30.0
"""How often what a log holds now is compared with the decision."""

_FAMILY, _CONSOLES = "family", "consoles"


class Pinned:
    """How one source is read, and by which decision. Used by one thread."""

    def __init__(
        self, reading: Reading, decided: Callable[[str, bytes], Reading] | None, stored: Mapping[str, Any] | None
    ) -> None:
        """`decided` gives the reading for a family and the log's head; None where the configuration decides.

        `stored` is what `with_position` gave before a restart, None for a source that was never read.
        """
        self.reading = reading
        self.conflict = ""
        """The other family whose entries the log holds now; "" where there is none."""
        self._decided = decided
        self._log: Log | None = None
        self._looked_at = -LOOK_SECONDS
        self._shown = 0  # bytes of the beginning that showed no family
        family, consoles = (stored or {}).get(_FAMILY), (stored or {}).get(_CONSOLES)
        if decided is not None and isinstance(family, str) and family:
            self._take(family, b"", dict(consoles) if isinstance(consoles, dict) else {})

    @property
    def family(self) -> str:
        """What the source is read as; "" where nothing is sure yet: then all dialects are tried."""
        return self.reading.family

    def look(self, log: Log, offset: int) -> bool:
        """Decides where that is due, by the log's beginning; whether it did. Else looks for other entries in the log.

        `offset` is how far the log was read: what came before it is looked at.
        """
        is_due = log is not self._log or monotonic() - self._looked_at >= LOOK_SECONDS
        if self._decided is not None and not self.family:
            return self._decide(log, is_due=is_due)
        if is_due:
            self._log, self._looked_at = log, monotonic()
            self._compare(log, offset)
        return False

    def with_position(self, position: Mapping[str, Any]) -> dict[str, Any]:
        """The position of the source together with the decision, as they are stored."""
        if self._decided is None or not self.family:
            return dict(position)
        consoles = {_CONSOLES: dict(self.reading.consoles)} if self.reading.consoles else {}
        return {**position, _FAMILY: self.family, **consoles}

    def _decide(self, log: Log, *, is_due: bool) -> bool:
        if log.start or not (is_due or self._shown <= min(log.end(), SAMPLE) // 2):
            return False  # a log that has grown little is not looked at again at each step
        head = log.read(0, SAMPLE)
        self._log, self._looked_at, self._shown = log, monotonic(), len(head)
        family = envelope_of(head) if b"\n" in head else ""
        if family:
            self._take(family, head, {})
        return bool(family)

    def _take(self, family: str, head: bytes, consoles: dict[str, str]) -> None:
        assert self._decided is not None
        self.reading = replace(self._decided(family, head), family=family, consoles=consoles)

    def _compare(self, log: Log, offset: int) -> None:
        low = max(log.start, offset - SAMPLE)
        sample = log.read(low, min(SAMPLE, max(offset - low, 0)) or SAMPLE)
        if low:
            sample = sample[sample.find(b"\n") + 1 :]
        seen = "" if wrapper_of(sample) is not None else sole_family(sample)
        self.conflict = seen if seen and not self._reads(seen) else ""

    def _reads(self, family: str) -> bool:
        """Whether that family's entries are read; what is wrapped has other ones in it."""
        if self.family:
            return family == self.family or self.family not in FAMILIES
        return not FAMILIES[family].isdisjoint(one.name for one in self.reading.dialects)


def family_in(stored: Mapping[str, Any] | None) -> str:
    """The decision in what `Pinned.with_position` gave, "" for none."""
    return str((stored or {}).get(_FAMILY, ""))


def without_decision(stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The source's own position of what `Pinned.with_position` gave."""
    if stored is None:
        return None
    return {name: value for name, value in stored.items() if name not in {_FAMILY, _CONSOLES, TRAFFIC}}
