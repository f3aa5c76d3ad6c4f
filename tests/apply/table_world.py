"""The small host of `tests.apply.world` with its target kept in a table of a real database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, event, text

from redirectd.apply.applier import Applier, Tools
from redirectd.apply.control import AnswerError
from redirectd.apply.files import Files
from redirectd.apply.sql_rows import SqlRows
from redirectd.apply.tables import TableInstaller
from redirectd.plan.target import Reply
from redirectd.plan.target_spec import TargetSpec
from redirectd.store.database import Database
from redirectd.targets.kamailio_htable import SQL, KamailioHtable
from tests.apply.world import NODE, WIDE, Server, World


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


class TableWorld(World):
    """One target, `users`, in the table of the database at `url`; `timeout` is in seconds."""

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
        server = TableServer(home / control.replace(":", "-"), {}, hook=hook)
        server.url = url
        self.servers = {control: server}
        target = KamailioHtable(table="users", sql=SQL)
        spec = TargetSpec("users", f"{url}#{SQL.name}", target, control=control, timeout=timeout, database=url)
        self.rows = SqlRows(spec.path, SQL, lambda: url, timeout)
        installer = TableInstaller(files or Files(), {spec.path: self.rows}, home)
        self.specs = [spec]
        tools = Tools(
            self._open, self.clock, self.clock.monotonic, self.clock.sleep, files or Files(), installer=installer
        )
        self.applier = Applier(self.database, NODE, self.specs, WIDE, home / "apply.lock", tools)

    def in_table(self) -> dict[str, str] | None:
        """Give what the table says, None where it has no rows; ValueError for what is no whole table."""
        content = self.rows.read()
        return None if content is None else dict(KamailioHtable(table="users").parse(content))

    def strays(self) -> list[str]:
        """Give what is beside the database and the server's memory."""
        return sorted(path.name for path in self.home.glob("*redirectd-old*"))


def query(url: str, *statements: str) -> list[Any]:
    """Run statements in a session of their own; the rows of the last."""
    engine = create_engine(url, poolclass=NullPool)
    rows: list[Any] = []
    with engine.begin() as connection:
        for statement in statements:
            result = connection.execute(text(statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
    return rows


def make_table(url: str) -> None:
    """Create the table as `redirectd db-target create` does."""
    query(url, SQL.create("mysql" if url.startswith("mysql") else "postgresql", str))


def set_table(url: str, rows: Mapping[str, str]) -> None:
    """Give the table these rows and no others, as a person could."""
    values = [f"('{key}', '{value}')".replace(":", "\\:") for key, value in rows.items()]
    inserts = [f"INSERT INTO {SQL.name} (key_name, key_value) VALUES {', '.join(values)}"] if values else []
    query(url, f"DELETE FROM {SQL.name}", *inserts)


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
