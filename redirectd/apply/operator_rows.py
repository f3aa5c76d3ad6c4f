"""The operator's own rows beside redirectd's table: read as the base, and changed by what a target's text says of them.

What their operator changes meanwhile is his: a row is written only while it is what was read of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnClause, TableClause, column, false, func, select, table, text, update

from redirectd.apply.sql_rows import SqlRows, TimedRun
from redirectd.errors import InstallError
from redirectd.sip.text import printable
from redirectd.targets.asterisk_aor_table import AsteriskAorTable, contacts_of
from redirectd.targets.kamailio_gateway_table import SENTINEL, KamailioGatewaysInPlace, KamailioGatewayTable
from redirectd.targets.sqltable import Row


class GatewayRows(SqlRows):
    """Moved gateways beside the operator's own `dispatcher`, with the view that joins both as its text."""

    alone = False

    def __init__(self, where: str, target: KamailioGatewayTable, open_url: Callable[[], str], timeout: float) -> None:
        super().__init__(where, target.sql, open_url, timeout)
        self.target = target

    def read_base(self) -> bytes | None:
        """Give the operator's own rows as a list."""
        with self._connected() as run:
            return self._listed(run, self.target.base)

    def doubled(self) -> bool:
        """Say if the view has not each row of the operator's table just once."""
        with self._connected() as run:
            view, own = (
                [row[0] for row in run.execute(select(column("id")).select_from(table(name)))]
                for name in (self.target.view, self.target.base)
            )
        return sorted(view) != sorted(own)

    def _text(self, run: TimedRun, rows: Sequence[tuple[int, Row]]) -> bytes | None:
        return self.target.text((row for _, row in rows), self._listed(run, self.target.view) or b"")

    def _wanted(self, content: bytes) -> list[Row]:
        return self.target.rows(content)

    def _listed(self, run: TimedRun, name: str) -> bytes | None:
        return self.target.listed(self._shown(run, name))

    def _shown(self, run: TimedRun, name: str) -> list[Row]:
        names = ("id", "setid", "destination", "flags", "priority", "attrs")
        columns: list[ColumnClause[Any]] = list(map(column, names))
        found = run.execute(select(*columns).select_from(table(name)).order_by(text("id")))
        return [tuple(row) for row in found]


class GatewayRowsInPlace(GatewayRows):
    """Moved gateways within the operator's own `dispatcher`, and the old texts of its rows in redirectd's table."""

    def __init__(
        self, where: str, target: KamailioGatewaysInPlace, open_url: Callable[[], str], timeout: float
    ) -> None:
        super().__init__(where, target, open_url, timeout)
        self.in_place = target

    def read_base(self) -> bytes | None:
        """Give the operator's rows as a list, as they are without the moves."""
        with self._connected() as run:
            moved = [row for _, row in self._rows(run)]
            return self.in_place.unmoved(moved, self._shown(run, self.target.base))

    def missing_rights(self) -> Iterator[tuple[str, str]]:
        """Give what may not be done to the rows, and to the one column of the operator's that is written."""
        yield from super().missing_rights()
        own = self._own(self.target.base)
        try:
            with self._connected() as run:
                run.execute(update(own).values(destination=own.c.destination).where(false()))
        except InstallError as error:
            yield f"write the destinations of {self.target.base} in", error.why

    def _own(self, name: str) -> TableClause:
        return table(name, column("id"), column("destination"))

    def _change_others(self, run: TimedRun, there: Sequence[Row], content: bytes | None) -> None:
        """Write each row that moves or comes back, if it still is what it was: one that its operator changed is his.

        One that he gave its old text again moves like any other.
        """
        wanted = [] if content is None else self._wanted(content)
        before, after = ({str(old): str(new) for old, new in rows if old != SENTINEL} for rows in (there, wanted))
        own = self._own(self.target.base)
        for name in sorted(before.keys() | after.keys()):
            number, _, old = name.partition(" ")
            was, now = before.get(name, old), after.get(name, old)
            if not number.isdigit():
                continue
            is_written = was == now  # but for a row that was put back by hand
            known = {was, old} - {now} if name in after else {was}
            held = own.c.destination.in_(sorted(known))
            if self.is_mysql:  # its own collations take sip:A and sip:a for one
                held = func.binary(own.c.destination).in_([func.binary(each) for each in sorted(known)])
            done = run.execute(update(own).values(destination=now).where(own.c.id == int(number), held))
            if done.rowcount != 1 and name in after and not is_written:
                why = (
                    f"row {number} of {self.target.base} is not {printable(was, 200)} any more, so nothing was changed"
                )
                raise InstallError(self.where, why, "plan and apply again")


class AorRows(SqlRows):
    """What redirectd has changed of the operator's own `ps_aors`, with the contacts there as its text."""

    alone = False

    def __init__(self, where: str, target: AsteriskAorTable, open_url: Callable[[], str], timeout: float) -> None:
        super().__init__(where, target.sql, open_url, timeout)
        self.target = target
        self._aors: TableClause = table(target.base, column("id"), column("contact"))

    def read_base(self) -> bytes | None:
        """Give the operator's own rows as they were before redirectd's changes."""
        with self._connected() as run:
            return self.target.unmoved((row for _, row in self._rows(run)), self._contacts(run))

    def missing_rights(self) -> Iterator[tuple[str, str]]:
        """The same, and what may not be done to the contacts."""
        yield from super().missing_rights()
        try:
            with self._connected() as run:
                run.execute(update(self._aors).values(contact=self._aors.c.contact).where(false()))
        except InstallError as error:
            yield f"change contacts of {self.target.base}", error.why

    def _take_turn(self, run: TimedRun) -> None:
        """The same, and nobody changes a contact until the end: what is compared is what is changed."""
        super()._take_turn(run)
        self._contacts(run, lock=True)

    def _change_others(self, run: TimedRun, there: Sequence[Row], content: bytes | None) -> None:
        """Bring contacts to those of a text, each by its AOR and by what was read of it."""
        contacts = self._contacts(run, lock=True)
        wanted = contacts_of(content or b"")
        for aor, contact in contacts:
            new = wanted.get(str(aor))
            if new is None or new == contact:
                continue
            row = (self._aors.c.id == aor) & (self._aors.c.contact == contact)
            if run.execute(update(self._aors).values(contact=new).where(row)).rowcount != 1:
                why = f"the contact of {printable(str(aor), 80)} is not one row of {self.target.base}, or was changed"
                raise InstallError(self.where, why, "plan and apply again; 'redirectd check' looks at that table")
        expected = [(aor, wanted.get(str(aor), contact)) for aor, contact in contacts]
        if self._contacts(run) != expected:
            why = f"read back, {self.target.base} is not what was written, so nothing was changed"
            raise InstallError(self.where, why, "'redirectd check' looks at that table")

    def _text(self, run: TimedRun, rows: Sequence[tuple[int, Row]]) -> bytes | None:
        return self.target.text((row for _, row in rows), self._contacts(run))

    def _wanted(self, content: bytes) -> list[Row]:
        return self.target.rows(content)

    def _contacts(self, run: TimedRun, *, lock: bool = False) -> list[Row]:
        query = select(self._aors).order_by(self._aors.c.id)
        return [tuple(row) for row in run.execute(query.with_for_update() if lock else query)]
