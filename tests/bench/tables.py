"""A target's table in MariaDB and PostgreSQL: written by redirectd and by bare SQL, and loaded by a real Kamailio.

    python -m tests.bench.tables ROWS [mariadb|postgresql|db_text]

Prints JSON: for each place the seconds of the clock that the rows take to be written (`write_s`; `bare_s` by bare SQL,
the same rows into the same columns in one transaction), that reading them takes (`read_s`), and seeing that they are
what is known (`seen_s`), that one change in them takes (`change_s`), and that `htable.reload` takes from its command to
its answer (`reload_s`). Redirectd's time holds what bare SQL leaves out: the rows are read and compared first, locked,
and read back before the commit. Kamailio loads a db_text table of more than MOST_OF_TEXT rows in more than ten minutes,
so that is left out.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy import NullPool, column, create_engine, insert, select, table, text
from sqlalchemy.engine import make_url

from redirectd.apply.control import open_channel
from redirectd.apply.sql_rows import KnownRows, SqlRows
from redirectd.plan.planning import digest
from redirectd.plan.target import Command
from redirectd.targets.kamailio_htable import SENTINEL, SQL
from tests.peers.lab import database, kamailio
from tests.peers.lab.loopback import own_address

PLACES = {
    "mariadb": (database.mariadb_installed, database.start_mariadb),
    "postgresql": (database.postgresql_installed, database.start_postgresql),
}
MOST_OF_TEXT = 200_000
_SECONDS = 600.0
_BATCH = 2000


def pairs(count: int, last: str = "") -> Iterator[tuple[str, str]]:
    """Key and value of each row, the sentinel's first; `last` makes the last one another."""
    yield SENTINEL, f"{count}{last}"
    for number in range(count):
        host = last if number == count - 1 and last else "new.test"
        yield f"sip:u{number:09}@old.test:;", f"sip:u{number:09}@{host}"


def installed() -> list[str]:
    """Which of the databases there are, with a Kamailio to read them."""
    return [name for name, (there, _) in PLACES.items() if there() and kamailio.installed()]


def seconds(step: Callable[[], object]) -> float:
    """How long a step takes by the clock."""
    begin = time.monotonic()
    step()
    return round(time.monotonic() - begin, 3)


def bare(url: str, name: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Write the rows as a program would that takes care of nothing: one transaction, in the same batches."""
    place = table(name, *map(column, SQL.columns))
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for begin in range(0, len(rows), _BATCH):
            connection.execute(insert(place), rows[begin : begin + _BATCH])
        assert connection.execute(select(text("count(*)")).select_from(place)).scalar() == len(rows)


def on_database(folder: Path, name: str, count: int) -> dict[str, float]:
    """What writing, a change and a load take with one database."""
    server = PLACES[name][1](folder, own_address())
    try:
        url = server.new_database()
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            for made in (SQL.name, "bare"):
                create = SQL.create(make_url(url).get_backend_name(), str)
                connection.execute(text(create.replace(SQL.name, made, 1)))
        rows = SqlRows(url, SQL, lambda: url, _SECONDS)
        content, changed = (SQL.form.write(pairs(count, last)) for last in ("", "other.test"))
        values = [dict(zip(SQL.columns, row, strict=True)) for row in SQL.form.values(content)]
        known: list[KnownRows | None] = []
        return {
            "bare_s": seconds(lambda: bare(url, "bare", values)),
            "write_s": seconds(lambda: known.append(rows.replace(content, digest(rows.read())))),
            "read_s": seconds(rows.read),
            "seen_s": seconds(lambda: rows.read(known[0])),
            "change_s": seconds(lambda: rows.replace(changed, digest(content), known[0])),
            "reload_s": reload(folder, count, _modules(url)),
        }
    finally:
        server.stop()


def on_text(folder: Path, count: int) -> dict[str, float]:
    """What a load from db_text takes."""
    rows = 'modparam("db_text", "max_result_rows", 10000000)\n'
    return {"reload_s": reload(folder, count, rows, SQL.form.write(pairs(count)))}


def _modules(url: str) -> str:
    place = make_url(url)
    module, scheme = ("db_mysql", "mysql") if place.get_backend_name() == "mysql" else ("db_postgres", "postgres")
    there = f"{scheme}://{place.username}@{place.host}:{place.port}/{place.database}"
    return f'loadmodule "{module}.so"\nmodparam("htable", "db_url", "{there}")\n'


def reload(folder: Path, count: int, modules: str, content: bytes | None = None) -> float:
    """Start a Kamailio and have it load its table again; it must hold all of it then."""
    home = folder / "k"
    home.mkdir()
    megabytes = str(128 + count // 250)
    memory = ("-m", megabytes, "-M", megabytes)
    server = kamailio.Kamailio(home, own_address(), kamailio.Script(), modules=modules, memory=memory)
    server.config_file.write_text(server.config_file.read_text().replace("redir=>size=10;", "redir=>size=16;"))
    server.start()
    try:
        if content is not None:
            server.htable_file.write_bytes(content)
            later = time.time() + 2  # db_text reads a file again whose date is a whole second later
            os.utime(server.htable_file, (later, later))
        with closing(open_channel(f"jsonrpc:unix:{server.rpc_socket}", timeout=_SECONDS)) as channel:
            took = seconds(lambda: channel.ask(Command("htable.reload", ("redir",))))
            stats = channel.ask(Command("htable.stats"))
        assert isinstance(stats, list)
        assert stats[0]["all"] == count + 1, stats
        return took
    finally:
        server.stop()


def measure(count: int, only: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """What each place takes, or those of `only`."""
    found = {}
    for name in [*installed(), *(["db_text"] if kamailio.installed() and count <= MOST_OF_TEXT else [])]:
        if not only or name in only:
            with tempfile.TemporaryDirectory(prefix="rdt-") as folder:  # short: unix sockets have their names in it
                Path(folder).chmod(0o755)
                home = Path(folder)
                found[name] = on_text(home, count) if name == "db_text" else on_database(home, name, count)
    return found


def main() -> None:
    """By the command line."""
    sys.stdout.write(json.dumps(measure(int(sys.argv[1]), sys.argv[2:])) + "\n")


if __name__ == "__main__":
    main()
