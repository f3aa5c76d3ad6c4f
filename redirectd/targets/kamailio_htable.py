"""kamailio-htable: user moves in a hash table of Kamailio, loaded from a db_text table or from a database.

Key: the whole route key (`redirectd.targets.kamailio_key`), so an entry moves no other port, transport or scheme (R41).

Rows of earlier versions have ``user@host`` as their key, and a kamailio.cfg that still has the lines of that time finds
no other. So rows that are in service at an upgrade stay beside the new ones while their remap stays as it is; none
comes in any more, and ``legacy_keys = false`` ends them.

A reload that says Ok proves nothing: db_text re-reads a table only if its mtime, in whole seconds, is later
than the one it knows, and only with ``db_mode=1``. So a sentinel row holds the content's token and is asked for.

With ``live = N`` up to N changes are put into the running table one by one, where a reload would take seconds and three
times the memory; the file is written all the same, since a restart of Kamailio reads that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import ClassVar

from redirectd.plan.entry_file import LineForm
from redirectd.plan.target import (
    NOTHING,
    Command,
    Condition,
    Lines,
    Question,
    Rendered,
    Reply,
    ServerFault,
    TargetError,
    gather,
    sample,
    token_of,
)
from redirectd.sip.uri import SipUri
from redirectd.targets import answers, dbtext
from redirectd.targets.kamailio_key import MAX_KEY, RouteKeyed, uri_of
from redirectd.targets.project import Projection
from redirectd.targets.sqltable import SqlTable
from redirectd.targets.uritext import KAMAILIO, MAX_WRITTEN, write_uri
from redirectd.targets.user_moves import take_token

SENTINEL = "__gen__"
"""Key of the row that names the content. It has no ``@``, so no URI can have it."""

_UNDER_WAY = "-"  # no token: a load that is broken off leaves it behind

_TABLE = dbtext.Table(
    (
        dbtext.Column("id", "int", "auto"),
        dbtext.Column("key_name", "string"),
        dbtext.Column("key_type", "int"),
        dbtext.Column("value_type", "int"),
        dbtext.Column("key_value", "string"),
        dbtext.Column("expires", "int"),
    ),
    {"key_type": 0, "value_type": 0, "expires": 0},  # a plain string entry, for good
)
SQL = SqlTable("redirectd_htable", _TABLE, {"key_name": MAX_KEY, "key_value": MAX_WRITTEN}, ("key_name",), SENTINEL)
"""The table in a database: as long as whatever is written, where kamdbctl's own htable takes keys of 64 characters."""

MAX_LIVE = 10_000
"""Most changes put live: each is a question and an answer, and a reload of the whole table is quicker by then."""

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


class KamailioHtable(RouteKeyed):
    """Writes one table; `htable` is its name in kamailio.cfg, `live` how many changes need no reload.

    `table` is the name of `htable` in configurations of earlier versions.
    """

    kind: ClassVar[str] = "kamailio-htable"
    mtime_step: ClassVar[bool] = True
    OLD_ROW = re.compile(rb"^[0-9]+:(?!__gen__:|sips?\\:)", re.MULTILINE)

    def __init__(
        self,
        *,
        match: str = "request-uri",
        htable: str = "",
        table: str = "redir",
        live: int = 0,
        legacy_keys: bool = True,
        sql: SqlTable | None = None,
    ) -> None:
        super().__init__(match, legacy_keys=legacy_keys)
        table = htable or table
        if not _NAME.fullmatch(table):
            raise ValueError(f"{table!r} is not a name of an htable")
        if not 0 <= live <= MAX_LIVE:
            raise ValueError(f"live = {live} is not from 0 to {MAX_LIVE}")
        self._table = table
        self._live = live
        self.sql = sql

    @property
    def own_place(self) -> tuple[str, str]:
        """Name the htable."""
        return "htable", f"the htable {self._table}"

    def lines(self) -> Lines:
        """Give the lookup and the routes that make the key."""
        found = f"$sht({self._table}=>$var(rd_key))"
        return self._lines_around(f"if ({found} != $null) {{ $ru = {found}; $du = $null; }}\n")

    def _value(self, new: SipUri) -> str:
        return write_uri(new, KAMAILIO)

    @property
    def line_form(self) -> LineForm:
        """Give how a row is written."""
        return _LINES

    def _write(self, found: Projection, base: bytes | None) -> Rendered:
        """Write the table: sentinel first, then the moves in key order."""
        token = token_of(found.entries)
        content = _TABLE.write(chain([(SENTINEL, token)], found.entries.items()))
        return found.rendered(content, token)

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """Read a table as htable loads it: string keys and values, none twice, the sentinel true."""
        rows = ((number, key, value) for number, (key, value) in _TABLE.read(content))
        entries = gather(rows, like, "key")
        return take_token(entries, SENTINEL, "row")

    def reload(self) -> Sequence[Command]:
        """Load the table again."""
        return (Command("htable.reload", (self._table,)),)

    def standing(self, token: str) -> Question:
        """Ask for the token."""
        return self._get(SENTINEL, token)

    def load(self, entries: Mapping[str, str], changed: Sequence[str]) -> Sequence[Command] | None:
        """Put and delete up to `live` changed keys; no token is present meanwhile.

        Deleting what isn't there is an error, and somebody may have deleted it by hand: so it is put first, as the old
        URI itself, by which a call goes where it will go without the entry.
        """
        if not 0 < len(changed) <= self._live:
            return None
        commands = [Command("htable.sets", (self._table, SENTINEL, _UNDER_WAY))]
        for key in changed:
            commands.append(Command("htable.sets", (self._table, key, entries.get(key, uri_of(key)))))
            if key not in entries:
                commands.append(Command("htable.delete", (self._table, key)))
        commands.append(Command("htable.sets", (self._table, SENTINEL, token_of(entries))))
        return commands

    def listing(self) -> None:
        """Nothing: Kamailio reads the file."""

    def replace(self, entries: Mapping[str, str], shown: Reply) -> Sequence[Command]:
        """Load the table again."""
        return self.reload()

    def questions(self, rendered: Rendered, changed: Sequence[str]) -> Sequence[Question]:
        """Ask for the sentinel, the number of entries, and changed entries one by one (all, or 200 of them)."""
        wanted = rendered.entries
        count = Question(Command("htable.stats"), lambda reply: self._judge_count(reply, len(wanted) + 1))
        changes = [self._get(key, wanted.get(key)) for key in sample(changed)]
        return (self._get(SENTINEL, rendered.token), count, *changes)

    def conditions(self) -> Sequence[Condition]:
        """Ask for the table's dbmode: with 1 Kamailio writes its memory over the table when it stops."""
        what_to_do = f"take dbmode out of the modparam of htable {self._table} in kamailio.cfg, and restart Kamailio"
        return (Condition(Question(Command("htable.listTables"), self._judge_mode), what_to_do),)

    def _judge_mode(self, reply: Reply | ServerFault) -> str | None:
        modes = (table.get("dbmode") for table in answers.structs(reply) if table.get("name") == self._table)
        if all(str(mode) in {"0", "None"} for mode in modes):
            return None
        return f"htable {self._table} has dbmode=1: when Kamailio stops, it writes its memory over the table"

    def usual_cause(self, doubt: str) -> str | None:
        """Name the parameters that make Kamailio read another table, or none."""
        if "has no htable" in doubt or "no such htable" in doubt.lower():
            return f"an htable {self._table} is missing in kamailio.cfg's modparams, or has another name there"
        if SENTINEL in doubt or "instead of" in doubt:
            what = "file" if self.sql is None else "table"
            mode = ', and modparam("db_text", "db_mode", 1)' if self.sql is None else ""
            return (
                f'Kamailio did not read this {what}: see in kamailio.cfg that "db_url" and "dbtable" of htable '
                f"{self._table} name it{mode}"
            )
        return None

    def is_own(self, content: bytes) -> bool:
        """Say if the sentinel names the content: any change by hand makes it untrue."""
        try:
            self.parse(content)
        except TargetError:
            return False
        return self.sql is not None

    def source(self) -> Question:
        """Ask for the name of the table that the htable is loaded from."""
        return Question(Command("htable.listTables"), self._judge_source)

    def _judge_source(self, reply: Reply | ServerFault) -> str | None:
        for table in answers.structs(reply):
            if table.get("name") == self._table:
                read = table.get("dbtable")
                if self.sql is not None and read != self.sql.name:
                    return f"htable {self._table} is loaded from the table {read}, not from {self.sql.name}"
                return None
        return f"Kamailio has no htable {self._table}"

    def _get(self, key: str, wanted: str | None) -> Question:
        return Question(Command("htable.get", (self._table, key)), _judge(key, wanted))

    def _judge_count(self, reply: Reply, wanted: int) -> str | None:
        for table in answers.structs(reply):
            if table.get("name") == self._table:
                held = table.get("all")
                if str(held) == str(wanted):
                    return None
                return f"htable {self._table} holds {held} entries instead of {wanted}"
        return f"Kamailio has no htable {self._table}"


def _around(token: str) -> tuple[bytes, bytes]:
    return _TABLE.write([(SENTINEL, token)]), b""


def _row(key: str, value: str) -> bytes:
    return _TABLE.write([(key, value)]).split(b"\n")[1]


def _entry(line: bytes) -> tuple[str, str]:
    fields = line.decode("ascii").replace("\\:", "\0").split(":")
    return fields[1].replace("\0", ":"), fields[4].replace("\0", ":")


def _plain(lines: bytes) -> bytes | None:
    """Make ``KEY NUL VALUE`` of rows, whose fields hold no colon but an escaped one."""
    if not lines:
        return b""
    if b"\\\\" in lines or b"\0" in lines or b"\1" in lines or not lines.startswith(b"0:"):
        return None
    rows = lines[2:].replace(b"\\:", b"\1").replace(b":0\n0:", b"\n").removesuffix(b":0\n") + b"\n"
    plain = rows.replace(b":0:0:", b"\0")
    return None if b":" in plain else plain.replace(b"\1", b":")


_LINES = LineForm(_around, _row, _entry, _plain)


def _judge(key: str, wanted: str | None) -> Callable[[Reply | ServerFault], str | None]:
    def judge(reply: Reply | ServerFault) -> str | None:
        if isinstance(reply, ServerFault):
            gone = "doesn't exist in htable" in reply.text
            return None if wanted is None and gone else f"{key}: Kamailio says {reply.text}"
        item = answers.field(reply, "item")
        held = answers.field(item, "value")
        if wanted is None:
            return f"{key} is still there, with {held!s}"
        return None if held == wanted else f"{key} gives {held!s} instead of {wanted}"

    return judge
