"""asterisk-odbc: user moves in a table that Asterisk asks for each call, through its func_odbc.

A row holds the MD5 of the dialled name, by which it is looked up, the name for people, and the new URI. So nothing of
a caller comes into a statement but 32 hex digits; and the printed function lets no other characters through, whoever
calls it with what. The row `__gen__` names the content.

Nothing is reloaded: a change is in force with its commit. Asterisk says of a lookup whether its database answered, so
that "no such entry" and "no database" are two answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from string import Template
from typing import ClassVar

from redirectd.plan.target import (
    NOTHING,
    Command,
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
from redirectd.targets import dbtext
from redirectd.targets.asterisk_name import EXACT, LOOKUP, MAX_VALUE, NAME, WIDTH, DialledNames, digest_of, lines_of
from redirectd.targets.project import Projection
from redirectd.targets.sqltable import SqlTable

SENTINEL = "__gen__"
"""The row that names the content; no MD5 is written so."""

_MAX_NAME = 240  # characters of a name with escapes
_TABLE = dbtext.Table(
    (
        dbtext.Column("id", "int", "auto"),
        dbtext.Column("dialled_hash", "string"),
        dbtext.Column("dialled", "string"),
        dbtext.Column("new_uri", "string"),
    ),
    {},
)
SQL = SqlTable(
    "redirectd_map",
    _TABLE,
    {"dialled_hash": 32, "dialled": _MAX_NAME, "new_uri": MAX_VALUE},
    ("dialled_hash",),
    SENTINEL,
)
"""The table in a database."""

USUAL_FUNCTION = "REDIRECTD"
"""The section of func_odbc.conf where the configuration names no other."""

_STATEMENT = Template("SELECT new_uri FROM $table WHERE dialled_hash='$asked'")
_ASKED = "${FILTER(0-9a-z_,${ARG1})}"
_FUNCTION = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_EVALUATED = re.compile(r"^Return Value: Success \(0\)\r?\nResult: ?([^\r\n]*)", re.MULTILINE)


class AsteriskOdbc(DialledNames):
    """Keeps a table that ``ODBC_<function>`` reads. `hosts` are the old hosts it speaks for (all if empty)."""

    kind: ClassVar[str] = "asterisk-odbc"
    mtime_step: ClassVar[bool] = False

    def __init__(
        self,
        *,
        match: str = "request-uri",
        function: str = USUAL_FUNCTION,
        hosts: Collection[str] = (),
        width: str = WIDTH,
        sql: SqlTable = SQL,
    ) -> None:
        super().__init__(match, hosts, width=width, legacy_keys=False)
        if not _FUNCTION.fullmatch(function):
            raise ValueError(f"function {function!r} is not a name of up to 40 capitals, digits and _")
        self.function = function
        self.sql = sql

    @property
    def own_place(self) -> tuple[str, str]:
        """Name what its function reads."""
        return "function", f"what the function ODBC_{self.function} reads"

    def statement(self, quoted: str = "") -> str:
        """Give what func_odbc.conf has as `readsql`: an allow-list for whatever it is called with.

        `quoted` is the table's name as the database wants it, where that is one of its own words.
        """
        return _STATEMENT.substitute(table=quoted or self.sql.name, asked=_ASKED)

    def lines(self) -> Lines:
        """Give the context that looks up, and its call.

        A second question, since the first on a connection that the database has closed gets no answer.
        """
        call = f"ODBC_{self.function}(${{MD5(${{REDIRECTD_USER}})}})"
        ask = f" same => n,Set(LOCAL(uri)=${{{call}}})\n"
        steps = (
            f" same => n,Set(ODBCSTATUS=)\n{ask} same => n,GotoIf($[${{LEN(${{ODBCSTATUS}})}} > 0]?done)\n{ask}"
            " same => n(done),Return(${uri})\n"
        )
        name = self.function.lower().replace("_", "-")
        return lines_of(LOOKUP if self.function == USUAL_FUNCTION else f"{name}-lookup", steps, call)

    def _write(self, found: Projection, base: bytes | None) -> Rendered:
        """Write the table: sentinel first, then the moves in the order of their MD5."""
        token = token_of(found.entries)
        rows = sorted((digest_of(name := key.removeprefix(EXACT)), name, to) for key, to in found.entries.items())
        content = _TABLE.write([(SENTINEL, SENTINEL, token), *rows])
        return found.rendered(content, token)

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """Read a table as the function does: each name beside its MD5, none twice, the sentinel true."""
        tokens: list[str] = []
        entries = gather(_rows(content, tokens), like, "user")
        if tokens != [token_of(entries)] and (entries or tokens):  # an operator's new table has no row at all
            raise TargetError(f"the row {SENTINEL} does not name this content")
        return entries

    def reload(self) -> Sequence[Command]:
        """Nothing: Asterisk asks the database for each call."""
        return ()

    def questions(self, rendered: Rendered, changed: Sequence[str]) -> Sequence[Question]:
        """Have Asterisk evaluate its function for the sentinel and for changed users (all, or 200 of them)."""
        asked = [(SENTINEL, SENTINEL, rendered.token)]
        asked += [(key, digest_of(key.removeprefix(EXACT)), rendered.entries.get(key, "")) for key in sample(changed)]
        return [
            Question(Command(f"dialplan eval function ODBC_{self.function}({argument})"), _judge(key, wanted))
            for key, argument, wanted in asked
        ]

    def usual_cause(self, doubt: str) -> str | None:
        """Name what keeps Asterisk from reading the table."""
        if doubt.startswith(f"{SENTINEL}:"):
            return (
                f"see that func_odbc.conf has [{self.function}] as 'redirectd snippet asterisk' prints it, that "
                "'odbc show' lists its dsn, and that Asterisk's user may SELECT the table"
            )
        if doubt.startswith(f"{SENTINEL} gives"):
            return f"Asterisk asks another database or table: see the dsn of [{self.function}] in func_odbc.conf"
        return None

    def is_own(self, content: bytes) -> bool:
        """Say if the sentinel names the content: any change by hand makes it untrue."""
        try:
            self.parse(content)
        except TargetError:
            return False
        return True

    def source(self) -> Question:
        """Ask for the statement that the function sends."""
        return Question(Command(f"odbc read ODBC_{self.function} {SENTINEL}"), self._judge_source)

    def _judge_source(self, reply: Reply | ServerFault) -> str | None:
        text = reply.text if isinstance(reply, ServerFault) else str(reply)
        name = self.sql.name
        ways = [_STATEMENT.substitute(table=way, asked=SENTINEL) for way in (name, f"`{name}`", f'"{name}"')]
        if not set(ways).isdisjoint(text.splitlines()):
            return None
        if "No such query" in text:
            return f"it has no function ODBC_{self.function}: func_odbc.conf has no section [{self.function}]"
        return f"its function ODBC_{self.function} does not send {ways[0]}"


def _rows(content: bytes, tokens: list[str]) -> Iterator[tuple[int, str, str]]:
    """Give line, key and value; the sentinel's value goes to `tokens`."""
    for line, (digest, name, value) in _TABLE.read(content):
        if digest == SENTINEL:
            tokens.append(value)
        elif NAME.fullmatch(name) and digest_of(name) == digest:
            yield line, f"{EXACT}{name}", value
        else:
            raise TargetError(f"line {line}: dialled_hash is not the MD5 of the user beside it")


def _judge(key: str, wanted: str) -> Callable[[Reply | ServerFault], str | None]:
    def judge(reply: Reply | ServerFault) -> str | None:
        found = _EVALUATED.search(reply.text if isinstance(reply, ServerFault) else str(reply))
        if found is None:
            return f"{key}: Asterisk has no such function, or its database gives it no answer"
        if found[1] == wanted:
            return None
        return f"{key} gives {found[1] or 'nothing'} instead of {wanted or 'nothing'}"

    return judge
