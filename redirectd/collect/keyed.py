"""Whether a one-line record is believed by what its source has shown: proven ones, and its entry's time (R39)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from redirectd.collect.batch import Batch
from redirectd.collect.losses import MISTIMED, UNKEYED
from redirectd.dialects.frame import Authenticity, Record
from redirectd.dialects.kamailio_record import KamailioRecord
from redirectd.dialects.stamps import parse_stamp

TOLERANCE = timedelta(seconds=120)
"""How far a record's own time may be from its entry's."""


class Keyed:
    """The state of one source's reader. `proven`: it has shown a proven record, now or before a restart."""

    def __init__(self, zone: tzinfo, *, proven: bool, accept_unkeyed: bool) -> None:
        self._zone = zone
        self._proven = self._kept = proven
        self._accept_unkeyed = accept_unkeyed

    def note(self, batch: Batch) -> None:
        """Takes note of a proven record; the first one is kept with the batch."""
        self._proven = True
        if not self._kept:
            batch.proven = True

    def confirm(self) -> None:
        """Says that what was noted is committed."""
        self._kept = self._proven

    def refuses(self, batch: Batch, record: Record, seen_at: datetime | None) -> str:
        """Why a record is not believed, '' where it is; counts it as lost then. `seen_at` is its own time."""
        if record.logged_stamp and seen_at is not None and not self._agrees(record.logged_stamp, seen_at):
            batch.lose(MISTIMED)
            return (
                "its time is over 120 s from its entry's: a line that was repeated, or the source's timezone is wrong"
            )
        if record.authenticity is Authenticity.PROVEN:
            self.note(batch)
        elif record.dialect == KamailioRecord.name and self._proven and not self._accept_unkeyed:
            batch.lose(UNKEYED)
            return (
                "it carries no proof, and this source has shown proven records (ingest --accept-unkeyed for archives)"
            )
        return ""

    def _agrees(self, stamp: str, seen_at: datetime) -> bool:
        """By both of the times that the stamp means where the clock is put back; a year it lacks is the record's."""
        logged = parse_stamp(stamp, self._zone, seen_at)
        if logged is None:
            return True
        again = logged.astimezone(self._zone).replace(fold=1).astimezone(UTC)
        return min(abs(logged - seen_at), abs(again - seen_at)) <= TOLERANCE
