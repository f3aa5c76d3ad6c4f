"""The rows of one target's table: read whole, and changed by difference in one transaction that no wait can hold.

Nothing of a person's is overwritten unseen: the table is locked against other writers, compared with what was read, and
read again before the commit. Whatever the columns compare as, what is committed is exactly what was wanted.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Timer
from typing import Any, ClassVar

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Connection,
    CursorResult,
    Engine,
    Executable,
    NullPool,
    TableClause,
    column,
    create_engine,
    delete,
    false,
    func,
    insert,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from redirectd.errors import ChangedMeanwhileError, InstallError
from redirectd.plan.planning import digest
from redirectd.sip.text import printable
from redirectd.store.database import connected, driver_refuses
from redirectd.targets.sqltable import Row, SqlTable

LOCK_SECONDS = 5
"""How long a lock that somebody else holds is waited for."""

_CONNECT_SECONDS = 5
_BATCH = 2000
_FEW = 500  # rows that are written one by one, where the others are known
_SLOWEST = 3  # times the time-out: what a statement may take in all, where rows keep coming
_STRICT = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
"""With an empty sql_mode MariaDB cuts what is too long, without an error."""


@dataclass(frozen=True, slots=True)
class KnownRows:
    """The text of a table, and the `mark` that its database gave for all of its rows: while that is so, so are they."""

    content: bytes
    mark: str


class SqlRows:
    """One table. `open_url` gives the URL with its password when a connection is made; `where` names it for people.

    Methods raise InstallError; each statement has `timeout` seconds. Where what is `known` of the table is true still,
    by its mark, rows that a change is not about are not fetched.
    """

    alone: ClassVar[bool] = True
    """Whether the text is of this table's rows and of nothing else."""

    def __init__(self, where: str, form: SqlTable, open_url: Callable[[], str], timeout: float) -> None:
        self.where = where
        self.form = form
        self._open_url = open_url
        self._timeout = timeout
        self._table: TableClause = table(form.name, column("id"), *map(column, form.columns))

    @property
    def is_mysql(self) -> bool:
        """Say if it is of a MariaDB or MySQL, and not of a PostgreSQL."""
        return self.where.startswith("mysql")

    def quote(self, name: str) -> str:
        """Write a name for a statement: in quotes where it is one of the database's own words."""
        dialects = (make_url(f"{spoken}://").get_dialect()() for spoken in _SPOKEN[self.is_mysql])
        return max((one.identifier_preparer.quote(name) for one in dialects), key=len)

    def read(self, known: KnownRows | None = None) -> bytes | None:
        """Give the table as its target's text; None for a table without rows."""
        with self._connected() as run:
            if known is not None and self._mark(run) == known.mark:
                return known.content
            return self._text(run, self._rows(run))

    def replace(self, content: bytes | None, seen: str, known: KnownRows | None = None) -> KnownRows | None:
        """Bring the table to `content`, all of it or nothing, and give what is known of it then.

        Refused where it is not any more what was read, whose hash is `seen`.
        """
        with self._connected() as run:
            self._take_turn(run)
            few = None if known is None or content is None else _few_lines(known.content, content)
            if few and known and digest(known.content) == seen and self._mark(run) == known.mark:
                mark: str | None = self._replace_few(run, *few, known.mark)
            elif self._replace_all(run, content, seen):
                mark = self._mark(run) if self.alone else None
            else:
                return None  # another redirectd has just written the same
            run.commit()
        return None if mark is None or content is None else KnownRows(content, mark)

    def _replace_all(self, run: TimedRun, content: bytes | None, seen: str) -> bool:
        """Compare all rows, and read all of them back; False where there is nothing to do."""
        wanted = [] if content is None else self._wanted(content)
        there = self._rows(run, lock=True)
        if content is not None and self._text(run, there) == content:
            return False
        if digest(self._text(run, there)) != seen:
            raise ChangedMeanwhileError(self.where)
        gone, new = _difference(there, wanted)
        for begin in range(0, len(gone), _BATCH):
            run.execute(delete(self._table).where(self._table.c.id.in_(gone[begin : begin + _BATCH])))
        for begin in range(0, len(new), _BATCH):
            self._insert(run, new[begin : begin + _BATCH])
        self._change_others(run, [row for _, row in there], content)
        if Counter(row for _, row in self._rows(run, lock=True)) != Counter(wanted):
            raise self._not_as_written()
        return True

    def _replace_few(self, run: TimedRun, gone: bytes, new: bytes, mark: str) -> str:
        """Exchange rows of a table that has this mark, read back what has their keys, and give the mark of now.

        It is reckoned of these rows: what somebody changes in others meanwhile does not go with it.
        """
        old, wanted = self._wanted(gone), self._wanted(new)
        count, total = map(int, mark.split(":"))
        for row in old:
            are = self._are(self.form.columns, row)
            total -= sum(int(found[-1]) for found in run.execute(select(self._mark_of_row).where(*are)))
            if run.execute(delete(self._table).where(*are)).rowcount != 1:
                raise self._not_as_written()
        if wanted:
            self._insert(run, wanted)
        after = {self._key(row): row for row in wanted}
        columns = [self._table.c[name] for name in self.form.columns]
        for key in {self._key(row): None for row in (*old, *wanted)}:
            query = select(*columns, self._mark_of_row).where(*self._are(self.form.key, key))
            found = list(run.execute(query))
            if [tuple(row[:-1]) for row in found] != ([tuple(after[key])] if key in after else []):
                raise self._not_as_written()
            total += sum(int(row[-1]) for row in found)
        return f"{count - len(old) + len(wanted)}:{total}"

    def _key(self, row: Row) -> tuple[object, ...]:
        return tuple(row[self.form.columns.index(name)] for name in self.form.key)

    def _are(self, names: Sequence[str], values: Sequence[object]) -> list[ColumnElement[bool]]:
        return [self._table.c[name] == value for name, value in zip(names, values, strict=True)]

    def _insert(self, run: TimedRun, rows: Sequence[Row]) -> None:
        run.execute(insert(self._table), [dict(zip(self.form.columns, row, strict=True)) for row in rows])

    def _not_as_written(self) -> InstallError:
        return InstallError(
            self.where,
            "read back, its rows are not what was written, so nothing was changed",
            "'redirectd check' compares its columns with those of 'redirectd db-target sql'",
        )

    def _mark(self, run: TimedRun) -> str:
        """Have the database read all rows: none is sent, and a change by anybody alters what comes of it."""
        query = select(func.count(), func.coalesce(func.sum(self._mark_of_row), 0)).select_from(self._table)
        found = tuple(run.execute(query).one())
        return f"{found[0]}:{found[1]}"

    @property
    def _mark_of_row(self) -> ColumnClause[Any]:
        return literal_column(self.form.mark("mysql" if self.is_mysql else "postgresql", self.quote))

    def exists(self) -> bool:
        """Say if there is a table or view of this name."""
        with self._connected() as run:
            return bool(run.execute(text(_EXISTS[self.is_mysql]), {"name": self.form.name}).scalar())

    def make(self, statements: Sequence[str]) -> None:
        """Run statements that make the table, one by one: what a database does for each, it does at once."""
        with self._connected() as run:
            for statement in statements:
                run.execute(text(statement.replace(":", "\\:")))
            run.commit()

    def missing_rights(self) -> Iterator[tuple[str, str]]:
        """Give what may not be done to the rows, each with why, by statements that touch none."""
        columns = [self._table.c[name] for name in self.form.columns]
        nothing = select(*columns).where(false())
        for what, statement in (
            ("read its rows", nothing),
            ("insert its rows", insert(self._table).from_select(columns, nothing)),
            ("delete its rows", delete(self._table).where(false())),
        ):
            try:
                with self._connected() as run:
                    run.execute(statement)
            except InstallError as error:
                yield what, error.why

    def ask(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """Give the rows of a question."""
        with self._connected() as run:
            result = run.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    def _text(self, run: TimedRun, rows: Sequence[tuple[int, Row]]) -> bytes | None:
        """Give the text of the table's rows."""
        return self.form.text(row for _, row in rows)

    def _wanted(self, content: bytes) -> list[Row]:
        """Give the rows that a text means."""
        return list(self.form.form.values(content))

    def _change_others(self, run: TimedRun, there: Sequence[Row], content: bytes | None) -> None:
        """Change what a text, in place of the rows `there`, means for the operator's own; nothing, where it is not
        about them."""

    def _rows(self, run: TimedRun, *, lock: bool = False) -> list[tuple[int, Row]]:
        query = select(self._table)
        if lock and self.is_mysql:
            query = query.with_for_update()
        return [(row[0], tuple(row[1:])) for row in run.execute(query)]

    def _take_turn(self, run: TimedRun) -> None:
        """One writer at a time; and nobody else changes the table, though everybody reads it."""
        turn = {"name": f"redirectd {self.form.name}"[:64]}
        if not self.is_mysql:
            run.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), turn)
            run.execute(text(f"LOCK TABLE {self.quote(self.form.name)} IN SHARE ROW EXCLUSIVE MODE"))
            return
        if not run.execute(text("SELECT GET_LOCK(:name, :seconds)"), {**turn, "seconds": LOCK_SECONDS}).scalar():
            raise self._locked()
        engine = run.execute(text(_ENGINE), {"name": self.form.name}).scalar()
        if engine not in (None, "InnoDB"):
            what_to_do = f"ALTER TABLE {self.quote(self.form.name)} ENGINE=InnoDB"
            raise InstallError(self.where, f"its engine {engine} has no transactions", what_to_do)

    def _locked(self) -> InstallError:
        return InstallError(
            self.where,
            f"another session has held a lock on it for over {LOCK_SECONDS} s, so nothing was changed",
            "see the server's list of sessions for an open transaction, end it and apply again",
        )

    @contextmanager
    def _connected(self) -> Iterator[TimedRun]:
        """One connection, rolled back on anything but a commit."""
        try:
            engine = _engine(self._open_url(), self._timeout)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise InstallError(
                self.where, f"its database can't be used: {error}", "install redirectd[mysql] or redirectd[postgresql]"
            ) from error
        except (TypeError, ValueError) as error:
            raise self._unusable(driver_refuses(error)) from error
        run: TimedRun | None = None
        try:
            with connected(engine, self._unusable) as connection:
                run = TimedRun(connection, self._timeout)
                yield run
        except DBAPIError as error:
            raise self._failed(error, run) from error
        except SQLAlchemyError as error:
            raise InstallError(self.where, printable(str(error), 300), "'redirectd check' looks at it") from error
        finally:
            engine.dispose()

    def _unusable(self, why: str) -> InstallError:
        return InstallError(self.where, why, "correct what follows the ? in the target's `database`")

    def _failed(self, error: DBAPIError, run: TimedRun | None) -> InstallError:
        words = (
            error.orig.args[-1] if error.orig is not None and error.orig.args else error.orig
        )  # PyMySQL: number, text
        said = " ".join(str(words).split())
        if "timed out" in said or (run is not None and run.timed_out):
            return InstallError(
                self.where,
                f"its database gave no answer within {self._timeout:g} s",
                "see that it is not stopped or overloaded; the next apply goes on",
            )
        if any(sign in said.lower() for sign in ("lock wait timeout", "lock timeout", "deadlock")):
            return self._locked()
        return InstallError(self.where, printable(said, 300), _remedy(said.lower(), self.form.name))


class TimedRun:
    """Runs steps on a connection, each of which ends in time: a connection that gives no answer is cut."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self.timed_out = False

    def execute(self, statement: Executable, values: Any = None) -> CursorResult[Any]:  # noqa: ANN401 - as the driver takes them
        """Run a statement; its rows are here when it ends."""
        with self._in_time():
            return self._connection.execute(statement, values)

    def commit(self) -> None:
        """End the transaction; where this fails nobody knows whether it did."""
        with self._in_time():
            self._connection.commit()

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        timer = Timer(self._seconds * _SLOWEST, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        """No driver bounds every wait: a stopped server's host still confirms what is sent to it."""
        self.timed_out = True
        driver: Any = self._connection.connection.driver_connection
        number = driver.fileno() if hasattr(driver, "fileno") else driver._sock.fileno()  # noqa: SLF001 - PyMySQL has no other way
        with suppress(OSError), socket.socket(fileno=number) as wire:
            try:
                wire.shutdown(socket.SHUT_RDWR)
            finally:
                wire.detach()


_SPOKEN = {True: ("mysql+pymysql", "mariadb+pymysql"), False: ("postgresql+psycopg",)}
"""MySQL and MariaDB differ in what words are their own: one of either is quoted."""

_EXISTS = {
    True: "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = :name",
    False: "SELECT to_regclass(:name) IS NOT NULL",
}
_ENGINE = "SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = :name"


def _engine(url: str, timeout: float) -> Engine:
    parsed = make_url(url)
    seconds = max(2, round(min(timeout, _CONNECT_SECONDS)))
    bounds: dict[str, object] = {"connect_timeout": seconds}
    if parsed.get_backend_name() == "mysql":
        wait = f"innodb_lock_wait_timeout = {LOCK_SECONDS}, lock_wait_timeout = {LOCK_SECONDS}"
        whole = f"sql_select_limit = {2**64 - 1}"  # a limit for everybody would hide rows
        bounds["init_command"] = f"SET SESSION sql_mode = '{_STRICT}', {whole}, {wait}"
        bounds["read_timeout"] = bounds["write_timeout"] = timeout
        bounds["charset"] = "utf8mb4"
        isolation = "REPEATABLE READ"  # locks the gaps between rows, too: nobody adds one meanwhile
    else:
        bounds["options"] = f"-c lock_timeout={LOCK_SECONDS * 1000} -c client_encoding=UTF8"
        isolation = "READ COMMITTED"
    connect = {name: bound for name, bound in bounds.items() if name not in parsed.query}
    return create_engine(parsed, poolclass=NullPool, isolation_level=isolation, connect_args=connect)


def _few_lines(old: bytes, new: bytes) -> tuple[bytes, bytes] | None:
    """Give the texts of the rows that go and of those that come; None where they are many, or one is there twice."""
    (head, *before), (same, *after) = old.splitlines(keepends=True), new.splitlines(keepends=True)
    gone, come = set(before).difference(after), set(after).difference(before)
    if head != same or len(gone) + len(come) > _FEW or len(before) - len(gone) != len(after) - len(come):
        return None
    return head + b"".join(sorted(gone)), head + b"".join(sorted(come))


def _difference(there: Sequence[tuple[int, Row]], wanted: Sequence[Row]) -> tuple[list[int], list[Row]]:
    """Give the ids of the rows that go, and the rows that come."""
    missing = Counter(map(tuple, wanted))
    gone = []
    for number, row in there:
        if missing[tuple(row)] > 0:
            missing[tuple(row)] -= 1
        else:
            gone.append(number)
    return gone, list(missing.elements())


def _remedy(said: str, name: str) -> str:
    if "denied" in said or "permission" in said or "password" in said or "authentication" in said:
        return "see user, password and rights; 'redirectd db-target sql NAME' prints the grants"
    if "column" in said:
        return "'redirectd check' compares its columns with those of 'redirectd db-target sql NAME'"
    if "invalid byte sequence" in said:  # a database in SQL_ASCII takes any bytes
        return "correct the row whose text is not UTF-8"
    if "unknown database" in said or ('database "' in said and "does not exist" in said):
        return "create the database, or correct its name in the target's `database`"
    if "exist" in said and name in said:
        return "make the table: redirectd db-target create NAME, or have 'redirectd db-target sql NAME' run"
    if "too many connections" in said or "too many clients" in said:
        return "it has no connection left: raise its limit or end idle sessions; the next apply goes on"
    return "see that the server runs and can be reached; the next apply goes on"
