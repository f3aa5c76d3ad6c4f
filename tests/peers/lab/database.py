"""Real PostgreSQL and MariaDB servers in a folder of their own, on loopback."""

import contextlib
import importlib.util
import itertools
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from tests.peers.lab.loopback import free_port
from tests.peers.lab.process import SEARCH_PATH, Child, LabError, as_user, give_to, has_programs, run

_database_numbers = itertools.count(1)


class DatabaseServer:
    """A running server; `new_database` gives each test an empty database of its own."""

    def __init__(self, start: Callable[[], Child], url: str) -> None:
        """Start the server; *url* is a SQLAlchemy URL up to and including the last slash."""
        self._start = start
        self._child = start()
        self._url = url

    def new_database(self) -> str:
        """Create an empty database and return its SQLAlchemy URL."""
        name = f"lab{next(_database_numbers)}"
        self._run(f"CREATE DATABASE {name}")
        return self._url + name

    def stop(self, *, by: signal.Signals = signal.SIGTERM) -> None:
        """Stop the server at once. PostgreSQL waits for its clients on SIGTERM, and throws them out on SIGINT."""
        self._child.stop(by=by)

    def start_again(self) -> None:
        """Start the stopped server on what it left in its folder, at the same address."""
        self._child = self._start()
        self.wait()

    def hang(self) -> None:
        """Stop all its processes where they are: what is sent to them is still confirmed, and never answered."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        code, found = run(["pgrep", "-P", str(self._child.pid)])
        for pid in (self._child.pid, *map(int, found.split() if code == 0 else ())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self) -> None:
        """Return when the server takes a connection."""
        self._child.wait_until(self._answers, "the database server takes a connection")

    def _answers(self) -> bool:
        try:
            self._run("SELECT 1")
        except OperationalError:
            return False
        return True

    def _run(self, statement: str) -> None:
        maintenance = "postgres" if self._url.startswith("postgresql") else "mysql"
        engine = create_engine(self._url + maintenance, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()


def start_postgresql(folder: Path, address: str, **settings: str) -> DatabaseServer:
    """Create a cluster in *folder* and start it with *settings*, as the user postgres where the tests are root."""
    programs = _postgresql_programs()
    if programs is None:
        raise LabError("no initdb on this machine")
    data, port = folder / "data", free_port(address, start=15432)
    data.mkdir()
    give_to("postgres", folder, data)
    # Nothing in the laboratory has to survive a power failure, so nothing is synced.
    command = [str(programs / "initdb"), "-D", str(data), "-U", "redirectd", "-A", "trust", "-E", "UTF8", "--locale=C"]
    _prepare([*command, "--no-sync"], "postgres", folder)
    options = {"listen_addresses": address, "port": str(port), "unix_socket_directories": str(folder), "fsync": "off"}
    command = [str(programs / "postgres"), "-D", str(data)]
    for name, value in {**options, **settings}.items():
        command += ["-c", f"{name}={value}"]
    server = DatabaseServer(
        lambda: Child(command, folder / "postgres.out", user="postgres"),
        f"postgresql+psycopg://redirectd@{address}:{port}/",
    )
    server.wait()
    return server


def start_mariadb(folder: Path, address: str) -> DatabaseServer:
    """Create a data directory in *folder* and start the server, as the user mysql where the tests are root."""
    data, port, init = folder / "data", free_port(address, start=13306), folder / "init.sql"
    data.mkdir()
    init.write_text("CREATE USER redirectd@'%';\nGRANT ALL ON *.* TO redirectd@'%' WITH GRANT OPTION;\n")
    give_to("mysql", folder, data, init)
    who = [f"--user={'mysql' if os.geteuid() == 0 else os.environ['USER']}"]
    create = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", *who, "--skip-test-db", "--skip-name-resolve"]
    create.append(f"--tmpdir={data}")  # two that are made at once take each other's temporary tables for theirs
    _prepare(create, None, folder)
    command = ["mariadbd", "--no-defaults", f"--datadir={data}", *who, f"--bind-address={address}", f"--port={port}"]
    command += [f"--socket={folder}/s", f"--init-file={init}", "--skip-name-resolve", "--character-set-server=utf8mb4"]
    command += ["--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=16M", "--skip-log-bin"]
    url = f"mysql+pymysql://redirectd@{address}:{port}/"
    server = DatabaseServer(lambda: Child(command, folder / "mariadb.out"), url)
    server.wait()
    return server


def _prepare(command: list[str], user: str | None, folder: Path) -> None:
    prefix = ["setpriv", *as_user(user), "--"] if as_user(user) else []
    code, output = run([*prefix, *command], folder=folder, seconds=120)
    if code:
        raise LabError(f"{command[0]} ended with {code}: {output[-2000:]}")


def _postgresql_programs() -> Path | None:
    """Return the folder of initdb and postgres: Debian keeps them off the search path, one folder a version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb", path=SEARCH_PATH)
    return Path(on_path).resolve().parent if on_path else None


def postgresql_installed() -> bool:
    """Tell whether this machine has the PostgreSQL server and this Python its driver."""
    return has_programs() and _postgresql_programs() is not None and importlib.util.find_spec("psycopg") is not None


def mariadb_installed() -> bool:
    """Tell whether this machine has the MariaDB server and this Python its driver."""
    return has_programs("mariadbd", "mariadb-install-db") and importlib.util.find_spec("pymysql") is not None
