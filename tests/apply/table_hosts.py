"""The small host of `tests.apply.apply_host` with its target kept in a table of a real database."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from redirectd.apply.applier import Applier, ApplyRequest, Tools
from redirectd.apply.control import AnswerError
from redirectd.apply.files import Files
from redirectd.apply.operator_rows import AorRows
from redirectd.apply.sql_rows import SqlRows
from redirectd.apply.tables import TableInstaller
from redirectd.errors import PeerError
from redirectd.plan.effective_table import effective
from redirectd.plan.route import Approved
from redirectd.plan.target import Command, Reply, Target
from redirectd.plan.target_spec import TargetSpec
from redirectd.store.database import Database
from redirectd.targets.asterisk_aor_table import SQL as AORS
from redirectd.targets.asterisk_aor_table import AsteriskAorTable
from redirectd.targets.asterisk_odbc import SQL as ODBC
from redirectd.targets.asterisk_odbc import AsteriskOdbc
from redirectd.targets.kamailio_htable import SQL, KamailioHtable
from redirectd.targets.sqltable import SqlTable
from tests.apply.apply_host import NODE, WIDE, ApplyHost, Server, expected, sip


class TableServer(Server):
    """Kamailio's htable loaded from the database: each reload reads the table, and fails where that can't be."""

    url: str = ""

    def _reload(self, table: str) -> Reply:
        self.reloads += 1
        if self.deaf:
            return "Ok. Htable reloaded."
        try:
            rows = dict(query(self.url, f"SELECT key_name, key_value FROM {SQL.name}"))
        except Exception as error:
            raise AnswerError("server", 500, "Failed to open htable db connection") from error
        scratch = self._memory.with_suffix(".new")
        scratch.write_text(json.dumps({table: {"rows": rows}}))
        scratch.replace(self._memory)
        return "Ok. Htable reloaded."


class TableHost(ApplyHost):
    """One target, `users`, in the table of the database at `url`; `timeout` is in seconds."""

    form = SQL
    serving: type[TableServer] = TableServer
    _base: str | None = None

    def __init__(
        self,
        home: Path,
        url: str,
        *,
        files: Files | None = None,
        database: type[Database] = Database,
        hook: Callable[[str], None] = lambda _: None,
        timeout: float = 10.0,
    ) -> None:
        super().__init__(home, files=files, database=database, hook=hook, limits=WIDE)
        self.url = url
        self.paths = {}
        [control] = self.servers
        server = self.serving(home / control.replace(":", "-"), {}, hook=hook)
        server.url = url
        self.servers = {control: server}
        target = self._target("users")
        place = f"{url}#{self.form.name}"
        spec = TargetSpec("users", place, target, self._base, control=control, timeout=timeout, database=url)
        self.rows = self._rows_of(spec, timeout)
        bases = {spec.base: self.rows.read_base} if isinstance(self.rows, AorRows) and spec.base else {}
        installer = TableInstaller(files or Files(), {spec.path: self.rows}, home, bases)
        self.specs = [spec]
        tools = Tools(
            self._open, self.clock, self.clock.monotonic, self.clock.sleep, files or Files(), installer=installer
        )
        self.applier = Applier(self.database, NODE, self.specs, WIDE, home / "apply.lock", tools)

    def _target(self, name: str) -> Target:
        return KamailioHtable(table=name, sql=SQL)

    def _rows_of(self, spec: TargetSpec, timeout: float) -> SqlRows:
        return SqlRows(spec.path, self.form, lambda: self.url, timeout)

    @classmethod
    def make(cls, url: str) -> None:
        """Create what the target is kept in."""
        make_table(url, cls.form)

    @classmethod
    def tables(cls) -> Mapping[str, Sequence[str]]:
        """Give the columns of each table that the target changes."""
        return {cls.form.name: cls.form.columns}

    def expected(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Give the entries that moves mean."""
        return expected(wanted)

    def in_table(self) -> dict[str, str] | None:
        """Give what the table says, None where it has no rows; ValueError for what is not a whole table."""
        content = self.rows.read()
        return None if content is None else dict(self._target("users").parse(content))

    def strays(self) -> list[str]:
        """Give what is beside the database and the server's memory."""
        return sorted(path.name for path in self.home.glob("*redirectd-old*"))


class OdbcServer(TableServer):
    """Asterisk's func_odbc, which asks the database for each call; a deaf one asks an empty table elsewhere."""

    def _answer(self, command: Command) -> Reply:
        if self.down:
            raise PeerError("server", "cannot be reached (Connection refused)", "start it")
        found = re.fullmatch(r"dialplan eval function ODBC_REDIRECTD\(([0-9a-z_]+)\)", command.name)
        assert found, command
        try:
            rows = dict(query(self.url, f"SELECT dialled_hash, new_uri FROM {ODBC.name}"))
        except SQLAlchemyError:
            return "Return Value: Failure (-1)\nResult: \n"
        return f"Return Value: Success (0)\nResult: {'' if self.deaf else rows.get(found[1], '')}\n"

    def served(self, table: str) -> dict[str, str]:
        """Give what a call would be given, by the dialled name."""
        rows = query(self.url, f"SELECT dialled, new_uri FROM {ODBC.name} WHERE dialled <> '__gen__'")
        return {f"user={name}": uri for name, uri in rows}


class OdbcHost(TableHost):
    """The same for asterisk-odbc."""

    form = ODBC
    serving = OdbcServer

    def _target(self, name: str) -> Target:
        return AsteriskOdbc()

    def expected(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Give the entries that moves mean: user to new URI."""
        return {f"user={sip(old).user}": new for old, new in wanted.items()}


class AorServer(OdbcServer):
    """Asterisk's realtime AORs; a deaf one has others, from a file."""

    def _answer(self, command: Command) -> Reply:
        if self.down:
            raise PeerError("server", "cannot be reached (Connection refused)", "start it")
        if command.name.startswith("sorcery memory cache expire"):
            return "Specified sorcery memory cache 'res_pjsip/aor' does not exist"
        name = command.name.removeprefix("pjsip show aor ")
        [(contact,)] = query(self.url, f"SELECT contact FROM ps_aors WHERE id = '{name}'")
        return f" contact : {'sip:elsewhere.test' if self.deaf else contact.replace('^3B', ';')}\n"

    def served(self, table: str) -> dict[str, str]:
        """Give the contacts that calls would be sent to."""
        return {f"{aor}/1": contact for aor, contact in query(self.url, "SELECT id, contact FROM ps_aors")}


class AorHost(TableHost):
    """The same for asterisk-pjsip-aor: a gateway of its own for each user."""

    form = AORS
    serving = AorServer
    _base = "base#ps_aors"

    def _target(self, name: str) -> Target:
        return AsteriskAorTable()

    def _rows_of(self, spec: TargetSpec, timeout: float) -> SqlRows:
        assert isinstance(spec.target, AsteriskAorTable)
        return AorRows(spec.path, spec.target, lambda: self.url, timeout)

    @classmethod
    def make(cls, url: str) -> None:
        """Create both tables, with more AORs than are moved."""
        super().make(url)
        query(url, "CREATE TABLE ps_aors (id VARCHAR(40) NOT NULL UNIQUE, contact VARCHAR(255))")
        query(url, *(f"INSERT INTO ps_aors VALUES ('u{n}', 'sip:u{n}.old.test')" for n in range(7)))

    @classmethod
    def tables(cls) -> Mapping[str, Sequence[str]]:
        """Name the operator's table, too."""
        return {**super().tables(), "ps_aors": ("id", "contact")}

    def apply(self, wanted: Mapping[str, str], **request: Any) -> Any:
        """Apply the moves of the gateways that the users stand for."""
        gateways = [
            Approved(number, "gateway", sip(_gateway(old)), sip(_gateway(new)))
            for number, (old, new) in enumerate(wanted.items(), 1)
        ]
        return self.applier.apply(lambda: effective(gateways), ApplyRequest(**({"actor": "tester"} | request)))

    def expected(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Give all contacts, the moved ones with their new address."""
        new = {_gateway(old): _gateway(to) for old, to in wanted.items()}
        olds = [f"sip:u{number}.old.test" for number in range(7)]
        return {f"u{number}/1": new.get(old, old) for number, old in enumerate(olds)}

    def in_table(self) -> dict[str, str] | None:
        """The same; ValueError also where the record of what was changed is not that of the contacts."""
        content = self.rows.read()
        if content is not None and not AsteriskAorTable().is_own(content):
            raise ValueError(content.decode())
        return super().in_table()


def _gateway(user: str) -> str:
    """Name the gateway of a user, as sip:u1.old.test for sip:u1@old.test."""
    return user.replace("@", ".")


def query(url: str, *statements: str) -> list[Any]:
    """Run statements in a session of their own; the rows of the last."""
    engine = create_engine(url, poolclass=NullPool)
    rows: list[Any] = []
    with engine.begin() as connection:
        for statement in statements:
            result = connection.execute(text(statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
    return rows


def make_table(url: str, form: SqlTable = SQL) -> None:
    """Create the table as `redirectd db-target create` does."""
    query(url, form.create("mysql" if url.startswith("mysql") else "postgresql", str))


def set_table(url: str, rows: Mapping[str, str]) -> None:
    """Give the table these rows and no others, as a person could."""
    set_rows(url, SQL.name, SQL.columns, [(key, 0, 0, value, 0) for key, value in rows.items()])


def set_rows(url: str, name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """The same for any table; its own numbers, too, may be among the columns."""
    own = "" if url.startswith("mysql") else " OVERRIDING SYSTEM VALUE"
    values = [f"({', '.join(map(repr, row))})".replace(":", "\\:") for row in rows]
    inserts = [f"INSERT INTO {name} ({', '.join(columns)}){own} VALUES {', '.join(values)}"] if values else []
    query(url, f"DELETE FROM {name}", *inserts)


def raw_rows(url: str) -> dict[str, str]:
    """Give all rows, the sentinel's too."""
    return dict(query(url, f"SELECT key_name, key_value FROM {SQL.name}"))


@contextmanager
def at_statement(word: str, act: Callable[[], object]) -> Iterator[None]:
    """Within the block, act once, right before the first statement on a server that begins with `word`."""
    acted = False

    def look(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        nonlocal acted
        if connection.dialect.name != "sqlite" and statement.startswith(word) and not acted:
            acted = True
            act()

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert acted


@contextmanager
def whole_reads() -> Iterator[list[str]]:
    """Within the block, the statements that have a server send all rows of the htable's table."""
    found: list[str] = []

    def look(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        words = " ".join(statement.split())
        sent = words.startswith(f"SELECT {SQL.name}.id,") and "WHERE" not in words
        if connection.dialect.name != "sqlite" and sent:
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", look)


def announce_statements(act: Callable[[str], None]) -> None:
    """Have each statement and commit on a database server announced, in this process from now on."""

    @event.listens_for(Engine, "before_cursor_execute")
    def _statement(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if connection.dialect.name != "sqlite":
            act(statement.split(maxsplit=1)[0])

    @event.listens_for(Engine, "commit")
    def _commit(connection: Any) -> None:
        if connection.dialect.name != "sqlite":
            act("commit")
