"""R35: the audit is a chain; whatever is changed in it afterwards is found."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from redirectd.store import audit
from redirectd.store.database import Database
from redirectd.store.schema import audit as table
from redirectd.store.schema import metadata
from tests.store.answers import NOW

ENTRIES = [
    audit.AuditEntry(at=NOW, actor="eva", action="approve", remap_id=1, old_state="pending", new_state="approved"),
    audit.AuditEntry(at=NOW, actor="eva", action="approve", remap_id=2, old_state="pending", new_state="approved"),
    audit.AuditEntry(at=NOW + timedelta(microseconds=1), actor="jo", action="note", reason="checked by phone"),
    audit.AuditEntry(at=NOW, actor="jo", action="revoke", remap_id=1, reason="wrong", detail={"force": False}),
]


def chain() -> Database:
    """A database in memory with four entries."""
    database = Database("sqlite://")
    metadata.create_all(database.engine)
    with database.begin() as connection:
        for entry in ENTRIES:
            audit.append(connection, entry)
    return database


def test_r35_entries_come_back_as_they_were_written() -> None:
    """R35: who, what, when, why and the detail are kept whole."""
    with chain().read() as connection:
        assert audit.entries_of(connection, 1) == [ENTRIES[0], ENTRIES[3]]
        assert audit.broken_at(connection) is None


def _other(value: object) -> object:
    if isinstance(value, datetime):
        return value + timedelta(microseconds=1)
    if isinstance(value, int):
        return value + 1_000
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    return 7


@pytest.mark.parametrize("column", [column.name for column in table.columns])
@given(st.integers(1, 4))
def test_r35_every_column_of_every_row_is_bound(column: str, number: int) -> None:
    """R35: a change of any one value is found, at that entry or the one behind it."""
    database = chain()
    with database.begin() as connection:
        known = connection.scalar(select(table.c[column]).where(table.c.id == number))
        connection.execute(update(table).where(table.c.id == number).values({column: _other(known)}))
        found = audit.broken_at(connection)
    assert found is not None
    assert found in {number, number + 1, number + 1_000}
    database.close()


@given(st.integers(1, 3))
def test_r35_a_removed_entry_is_found(number: int) -> None:
    """R35: an entry that is taken out leaves a gap; only the newest ones can go unnoticed."""
    database = chain()
    with database.begin() as connection:
        connection.execute(delete(table).where(table.c.id == number))
        assert audit.broken_at(connection) == number + 1
    database.close()


def test_r35_the_chain_cannot_fork() -> None:
    """R35: the database takes no second entry behind the same one."""
    with chain().engine.connect() as connection:
        row = connection.execute(select(table).where(table.c.id == 4)).one()
        with pytest.raises(IntegrityError):
            connection.execute(table.insert().values({**row._mapping, "id": 5}))


def test_r35_an_entry_is_undone_with_what_it_tells_of() -> None:
    """R35: a transaction that fails takes its entry with it, and the chain goes on whole."""
    database = chain()

    def failing() -> None:
        with database.begin() as connection:
            audit.append(connection, ENTRIES[2])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing()
    with database.begin() as connection:
        audit.append(connection, ENTRIES[1])
        assert audit.broken_at(connection) is None
        assert len(connection.execute(select(table.c.id)).all()) == 5
