"""Tables in a database that hold what a db_text file would: a row for each line, the same text for both.

So a target renders, reads back, compares and keeps generations of one text, wherever it is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from redirectd.plan.target import Question
from redirectd.targets.dbtext import Table

Row = Sequence[object]


@dataclass(frozen=True, slots=True)
class SqlTable:
    """One table: its `name`, its columns, how long each text may be, and the `key`, once in the table.

    `sentinel` is the key of the row that comes first in the text.
    """

    name: str
    form: Table
    lengths: Mapping[str, int]
    key: tuple[str, ...]
    sentinel: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read and written, in the order of a row."""
        return self.form.stored

    def text(self, rows: Iterable[Row]) -> bytes | None:
        """Give the text of a table's rows, in the order in which a target writes them.

        None for a table without rows, where a target without entries writes its sentinel. Rows that no target would
        write come through as well: nothing of a table is hidden or lost.
        """
        places = [self.columns.index(name) for name in self.key]

        def place(row: Row) -> tuple[bool, str, str]:
            key = "@".join(str(row[at]) for at in places)
            return key != self.sentinel, key, repr(row)

        ordered = sorted(rows, key=place)
        return self.form.text(ordered) if ordered or not self.sentinel else None

    def create(self, backend: str, quote: Callable[[str], str]) -> str:
        """Give the statement that makes the table, for `mysql` or `postgresql`; `quote` writes names as it wants them.

        MariaDB's own collations take `bob`, `BOB` and `bob ` for one text; ascii_nopad_bin is exact.
        """
        is_mysql = backend == "mysql"
        exact = " CHARACTER SET ascii COLLATE ascii_nopad_bin" if is_mysql else ""
        number = "INT UNSIGNED AUTO_INCREMENT" if is_mysql else "INT GENERATED ALWAYS AS IDENTITY"
        lines = [f"  id {number} PRIMARY KEY"]
        for name in self.columns:
            if name in self.lengths:
                lines.append(f"  {name} VARCHAR({self.lengths[name]}){exact} NOT NULL")
            else:
                lines.append(f"  {name} INT NOT NULL DEFAULT {self.form.same[name]}")
        lines.append(f"  UNIQUE ({', '.join(self.key)})")
        return (
            f"CREATE TABLE {quote(self.name)} (\n" + ",\n".join(lines) + "\n)" + (" ENGINE=InnoDB" if is_mysql else "")
        )

    def mark(self, backend: str, quote: Callable[[str], str]) -> str:
        """Give the expression for a number made of all in a row; the sum over all rows says what is in them."""
        if backend == "mysql":
            size, text, number = "LENGTH(%s)", "%s", "CAST(CONV(LEFT(MD5(%s), 15), 16, 10) AS UNSIGNED)"
        else:
            size, text, number = "length(%s::text)", "%s::text", "('x' || left(md5(%s), 15))::bit(60)::bigint"
        parts = ["id"]
        for name in map(quote, self.columns):
            parts += [f"COALESCE({size % name}, -1)", f"COALESCE({text % name}, '')"]
        return number % f"CONCAT_WS('|', {', '.join(parts)})"

    def setup(self, backend: str, writer: str, reader: str, host: str, quote: Callable[[str], str]) -> list[str]:
        """Give the statements of the table and of the least rights on it: no right to alter it, or on any other.

        `writer` is redirectd's user and `reader` the server's, both from `host` where the backend is `mysql`; the users
        themselves are the administrator's to create. An empty `reader` is given nothing; `quote` is as for `create`.
        """
        rights = [("SELECT, INSERT, DELETE", writer), *([("SELECT", reader)] if reader else [])]
        return [
            self.create(backend, quote),
            *(f"GRANT {what} ON {quote(self.name)} TO {user_name(backend, name, host)}" for what, name in rights),
        ]


_NAME = re.compile(r"[a-z_][a-z0-9_]{0,50}")


def checked_base(name: str, of: str, usual: str) -> str:
    """Give the name of the operator's own table, `of` something; ValueError where it could not be one as `usual` is."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"base = {name!r} is not the name of your table of {of}, such as {usual}")
    return name


def user_name(backend: str, name: str, host: str) -> str:
    """Write a user as a GRANT has it."""
    return f"{_quoted(name)}@{_quoted(host)}" if backend == "mysql" else _identifier(name)


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _identifier(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


@runtime_checkable
class InDatabase(Protocol):
    """A target that is kept in a database; one whose `sql` is None is kept in a file."""

    sql: SqlTable | None

    def is_own(self, content: bytes) -> bool:
        """Say if a text names itself as some redirectd's, whichever node's, so that no person has changed it."""
        ...

    def source(self) -> Question | None:
        """What shows that the server reads this table and does not write it; None where it can't be asked."""
        ...
