"""kamailio-dispatcher in a database: a table of moved gateways, joined by a view with the operator's own `dispatcher`.

Kamailio reads the view, in which the destination of a moved gateway is the new one, so the operator's rows are never
touched, what he adds and changes comes through, and without a row here everything is as he wrote it.

The text of this target is the view as a dispatcher list, below a comment for each moved gateway. The comments are
what is written; the list is what Kamailio is asked about. A row `__gen__` names the moves: as long as it does, nobody
but redirectd has changed them, whatever the operator did to his own rows meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from string import Template
from typing import Any

from redirectd.plan.route import Route
from redirectd.plan.target import Rendered, Reply, TargetError, token_of
from redirectd.targets.dbtext import Column, Table
from redirectd.targets.dispatcher_list import destinations
from redirectd.targets.kamailio_dispatcher import KamailioDispatcher, place_of, states
from redirectd.targets.sqltable import Row, SqlTable, checked_base, user_name

SENTINEL = "__gen__"
LONGEST = 192
"""Characters of a destination in Kamailio's own table."""

VIEW, IN_PLACE = "view", "in-place"
MODES = (VIEW, IN_PLACE)

SQL = SqlTable(
    "redirectd_gateway",
    Table((Column("id", "int", "auto"), Column("old", "string"), Column("new", "string")), {}),
    {"old": LONGEST, "new": LONGEST},
    ("old",),
)
VERSION = 4
"""Of the table `dispatcher` in Kamailio 5.6 and 6.0; it does not start without a row in `version` for the view."""

_VIEW = Template("""\
CREATE OR REPLACE ${security}VIEW $view AS
  SELECT d.id, d.setid, COALESCE(r.new, d.destination)$cast AS destination, d.flags, d.priority, d.attrs, d.description
  FROM $base d LEFT JOIN $table r ON r.old = d.destination$exact""")
_VERSION_ROW = Template("""\
INSERT INTO version (table_name, table_version) SELECT '$view', $version$dual
  WHERE NOT EXISTS (SELECT 1 FROM version WHERE table_name = '$view')""")
_GENERATION = b"#redirectd "
_MOVED = b"#moved "
_ROW = b"#row "
_BACK = b"#put back by hand "
_ID_DIGITS = 11
_BY_HAND = b"#the moved gateways are not as redirectd left them\n"
_PLACED = re.compile(rb"^#row ([0-9]+)\n[^ \n]+ ([^ \n]+)", re.MULTILINE)
_PLAIN = frozenset(range(0x21, 0x7F)) - {ord("#")}


class KamailioGatewayTable(KamailioDispatcher):
    """Writes moved gateways; `base` is the operator's own table. `view`, which joins both, is what Kamailio reads."""

    def __init__(self, *, base: str = "dispatcher", sql: SqlTable = SQL) -> None:
        super().__init__(base=base)
        self.base = checked_base(base, "gateways", "dispatcher")
        self.view = f"redirectd_{base}"
        self.sql = sql

    def render(self, routes: Sequence[Route], base: bytes | None) -> Rendered:
        """Write the moves and the view that they make; TargetError where the operator's rows are not sound."""
        if base is None:
            raise TargetError(f"the table {self.base} has no destination")
        plain = super().render(routes, base)
        moved = plain.content.partition(b"\n")[2]
        names = self._names(base)
        pairs = {
            names[at]: new.uri
            for at, (old, new) in enumerate(zip(destinations(base), destinations(moved), strict=True))
            if old.uri != new.uri
        }
        long = [new for new in pairs.values() if len(new) > LONGEST]
        if long:
            raise TargetError(f"a moved destination is longer than {LONGEST} characters: {long[0]}")
        return replace(plain, content=_head(pairs, token_of(pairs)) + moved)

    def _names(self, base: bytes) -> list[str]:
        """Give what names each destination of a list in `redirectd_gateway`: its URI."""
        return [found.uri for found in destinations(base)]

    def listed(self, rows: Iterable[Row]) -> bytes | None:
        """Give rows of the operator's table or of the view, with their ids first, as a list."""
        return listed(row[1:] for row in rows)

    def text(self, rows: Iterable[Row], shown: bytes) -> bytes:
        """Give this target's text for the rows of its table, with the view as a list, by `listed`."""
        found = {str(old): str(new) for old, new in rows}
        token = found.pop(SENTINEL, None)
        if token == token_of(found):
            return _head(found, token) + shown
        return (_BY_HAND if found or token else b"") + _head(found, None) + shown

    def rows(self, content: bytes) -> list[Row]:
        """Give the rows of the table that a text means."""
        pairs = _pairs(content)
        return [*pairs.items(), *([(SENTINEL, token_of(pairs))] if _GENERATION in content else [])]

    def at_run_time(self, shown: Reply, old: Mapping[str, str]) -> dict[tuple[str, str], tuple[int, int, str]]:
        """Give nothing: what is in the list and not in the table may be a row that the operator has removed."""
        return {}

    def skipped(self, shown: Reply, old: Mapping[str, str]) -> Sequence[str]:
        """Give the destinations that Kamailio does not hold: it leaves out a row whose host the DNS does not have.

        Its reload says that it failed then, though all other rows are in force.
        """
        held = states(shown)
        return [key for key, text in old.items() if place_of(key, text) not in held] if held else ()

    def source(self) -> None:
        """Nothing: Kamailio does not say from where its list is; the list itself is asked for."""

    def setup(self, backend: str, writer: str, reader: str, host: str, quote: Callable[[str], str]) -> list[str]:
        """Give the statements that make the table, the view and its version row, with the least rights on them.

        MariaDB's view is the reader's own (INVOKER): one with a definer ends with the definer's account. There the join
        would follow the collation of `dispatcher`, and take gateways that differ in case for one, but for BINARY.
        """
        names = {"view": self.view, "base": quote(self.base), "table": quote(self.sql.name), "version": VERSION}
        is_mysql = backend == "mysql"
        names |= {
            "security": "SQL SECURITY INVOKER " if is_mysql else "",
            "exact": " AND BINARY r.old = BINARY d.destination" if is_mysql else "",
            "cast": "" if is_mysql else f"::varchar({LONGEST})",
            "dual": " FROM DUAL" if is_mysql else "",
        }
        view, version = _VIEW.substitute(names), _VERSION_ROW.substitute(names)
        users = [user_name(backend, name, host) for name in (writer, reader) if name]
        rights = [
            f"GRANT SELECT ON {name} TO {user}" for name in (names["base"], self.view, "version") for user in users
        ]
        return [*self.sql.setup(backend, writer, reader, host, quote), view, version, *rights]

    def rebased(self, content: bytes, base: bytes | None) -> bytes:
        """Give the moves of an earlier text over the operator's rows of now."""
        pairs, parts, at = _pairs(content), list[bytes](), 0
        for name, found in zip(self._names(base or b""), destinations(base or b""), strict=True):
            if name in pairs:
                parts += [(base or b"")[at : found.start], pairs[name].encode("utf-8", "surrogateescape")]
                at = found.end
        token = token_of(pairs) if _GENERATION in content else None
        return b"".join([_head(pairs, token), *parts, (base or b"")[at:]])

    def is_own(self, content: bytes) -> bool:
        """Say if the moves of a text are as redirectd left them; the operator's rows are his, and any are right."""
        return _BY_HAND not in content


class KamailioGatewaysInPlace(KamailioGatewayTable):
    """Writes moved gateways into the operator's own rows, which Kamailio goes on reading.

    `redirectd_gateway` keeps the old text of each row that is written, named by the row's id, so that it can come back.
    A row that its operator has changed since is his again. The text has the id of each row in a comment above it.
    """

    def __init__(self, *, base: str = "dispatcher", sql: SqlTable = SQL) -> None:
        super().__init__(base=base, sql=replace(sql, lengths={**sql.lengths, "old": LONGEST + _ID_DIGITS}))
        self.view = base

    def listed(self, rows: Iterable[Row]) -> bytes | None:
        """Give rows of the operator's table, with their ids first, as a list with those in comments."""
        return b"".join(_ROW + str(row[0]).encode() + b"\n" + (listed([row[1:]]) or b"") for row in rows) or None

    def text(self, rows: Iterable[Row], shown: bytes) -> bytes:
        """The same; a row that has its old text again is not moved, whatever redirectd's table says of it."""
        found = list(map(_texts, rows))
        there = {b" ".join(each).decode("utf-8", "surrogateescape") for each in _PLACED.findall(shown)}
        moved = {old: new for old, new in found if old != SENTINEL}
        back = {old: new for old, new in moved.items() if old in there}
        if not back or dict(found).get(SENTINEL) != token_of(moved):
            return super().text(found, shown)
        kept = {old: new for old, new in moved.items() if old not in back}
        return _lines(_BACK, back) + _head(kept, token_of(kept)) + shown

    def unmoved(self, moved: Iterable[Row], rows: Iterable[Row]) -> bytes | None:
        """Give the list as it would be without the `moved` rows of redirectd's table."""
        olds = {(name.partition(" ")[0], str(new)): name.partition(" ")[2] for name, new in map(_texts, moved)}
        return self.listed(
            (number, set_id, olds.get((str(number), str(uri)), uri), *rest) for number, set_id, uri, *rest in rows
        )

    def setup(self, backend: str, writer: str, reader: str, host: str, quote: Callable[[str], str]) -> list[str]:
        """Give the statements that make the table, with the right to write one column of the operator's."""
        right = f"GRANT SELECT, UPDATE (destination) ON {quote(self.base)} TO {user_name(backend, writer, host)}"
        return [*self.sql.setup(backend, writer, "", host, quote), right]

    def _names(self, base: bytes) -> list[str]:
        ids = (line.removeprefix(_ROW).decode() for line in base.split(b"\n") if line.startswith(_ROW))
        return [f"{number} {found.uri}" for number, found in zip(ids, destinations(base), strict=True)]


def gateway_table(*, mode: str = VIEW, **options: Any) -> KamailioGatewayTable:  # noqa: ANN401 - the kind's own keys
    """Build the target of `mode`; ValueError for an unknown one."""
    if mode not in MODES:
        raise ValueError(f"mode = {mode!r} is neither {VIEW} nor {IN_PLACE}")
    return (KamailioGatewaysInPlace if mode == IN_PLACE else KamailioGatewayTable)(**options)


def _texts(row: Row) -> tuple[str, str]:
    name, new = row
    return str(name), str(new)


def _pairs(content: bytes) -> dict[str, str]:
    lines = (line.removeprefix(_MOVED) for line in content.split(b"\n") if line.startswith(_MOVED))
    parts = (line.decode("utf-8", "surrogateescape").rpartition(" ") for line in lines)
    return {old: new for old, _, new in parts}


def listed(rows: Iterable[Row]) -> bytes | None:
    """Give rows of `dispatcher`, as setid, destination, flags, priority and attrs, as a list; None for none.

    A row that can't be written as a line of one has its oddity in it, so that reading it names the line.
    """
    lines = [b" ".join(_words(row)) + b"\n" for row in rows]
    return b"".join(lines) or None


def _words(row: Row) -> list[bytes]:
    set_id, destination, flags, priority, attrs = row
    uri = str("" if destination is None else destination).encode("utf-8", "surrogateescape")
    sound = uri and _PLAIN.issuperset(uri)
    words = [str(set_id).encode(), uri if sound else b"<" + repr(destination).encode() + b">"]
    words += [str(flags or 0).encode(), str(priority or 0).encode()]
    return [*words, str(attrs).encode("utf-8", "surrogateescape")] if attrs else words


def _head(pairs: Mapping[str, str], token: str | None) -> bytes:
    return (_GENERATION + token.encode() + b"\n" if token else b"") + _lines(_MOVED, pairs)


def _lines(mark: bytes, pairs: Mapping[str, str]) -> bytes:
    return b"".join(mark + f"{old} {new}\n".encode("utf-8", "surrogateescape") for old, new in sorted(pairs.items()))
