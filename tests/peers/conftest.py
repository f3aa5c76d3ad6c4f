"""Fixtures that give a test real peers, and the rule for machines without them.

A missing peer is a visible skip with its reason; under CI=true it is a failure, so that a green run there means
that the peers' tests ran. `.ci/install-peers` brings them all.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers.lab import asterisk, database, kamailio, rsyslog, sipp
from tests.peers.lab.asterisk import Asterisk, Setup
from tests.peers.lab.database import DatabaseServer
from tests.peers.lab.kamailio import Kamailio, Script, to_dispatcher_set
from tests.peers.lab.loopback import own_address
from tests.peers.lab.sip_message import Message
from tests.peers.lab.sip_peers import AnsweringSide, Reply
from tests.peers.operator import Operator

INSTALLED: dict[str, Callable[[], bool]] = {
    "kamailio": kamailio.installed,
    "asterisk": asterisk.installed,
    "sipp": sipp.installed,
    "rsyslog": rsyslog.installed,
    "postgresql": database.postgresql_installed,
    "mariadb": database.mariadb_installed,
    "systemd": lambda: shutil.which("systemd-analyze") is not None,
    "ngrep": lambda: shutil.which("ngrep") is not None,
    "sngrep": lambda: shutil.which("sngrep") is not None,
    "odbc": lambda: all(any(Path("/usr/lib").glob(f"*/odbc/{name}")) for name in ("libmaodbc.so", "psqlodbcw.so")),
    "openssl": lambda: shutil.which("openssl") is not None,
}

StartKamailio = Callable[..., Kamailio]
StartKeyed = Callable[..., tuple[Kamailio, str]]
StartAsterisk = Callable[..., Asterisk]
Answer = Callable[..., AnsweringSide]


def require_peer(name: str) -> None:
    """Skip the running test, or fail it under CI=true, where this machine does not have the peer *name*."""
    if INSTALLED[name]():
        return
    reason = f"no {name} that the tests could use: .ci/install-peers installs it (Debian 12, as root)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Apply the rule to each `peer` mark before any fixture starts a server."""
    for mark in item.iter_markers("peer"):
        for name in mark.args:
            require_peer(name)


def _short_folder() -> Iterator[Path]:
    """Yield a folder whose path is short enough for unix sockets (107 bytes), which pytest's tmp_path is not."""
    folder = Path(tempfile.mkdtemp(prefix="rdlab-"))
    folder.chmod(0o755)  # PostgreSQL and MariaDB run as users of their own
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Give an empty folder with a short path, removed afterwards."""
    yield from _short_folder()


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """Give an operator with an empty folder."""
    return Operator(tmp_path)


@pytest.fixture
def loopback_address() -> str:
    """Give a loopback address that no other test uses, for example for a caller."""
    return own_address()


@pytest.fixture
def start_kamailio(short_folder: Path) -> Iterator[StartKamailio]:
    """Give a function that starts a Kamailio: it takes `Kamailio`'s arguments from the script on."""
    require_peer("kamailio")
    started: list[Kamailio] = []

    def start(script: Script, **options: object) -> Kamailio:
        if options.get("log") == "rsyslog":
            require_peer("rsyslog")
        folder = short_folder / f"k{len(started)}"
        folder.mkdir()
        server = Kamailio(folder, own_address(), script, **options)  # type: ignore[arg-type] # passed through
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()
        _show(server.log_file)


@pytest.fixture
def start_keyed(start_kamailio: StartKamailio, operator: Operator, short_folder: Path) -> StartKeyed:
    """Give a function that starts a Kamailio whose records have the key `record.key`; its log is the operator's source.

    It takes the gateway, what comes after the printed lines, the log and parts of the script; it gives the server and
    the table of the source.
    """

    def start(gateway: AnsweringSide, *, more: str = "", log: str = "stderr", **parts: str) -> tuple[Kamailio, str]:
        operator.configure()
        record, key = operator.keyed_record_snippet(short_folder)
        script = to_dispatcher_set(1, extra=record + more, **parts)
        server = start_kamailio(script, dispatcher=f"1 sip:{gateway.address}:{gateway.port}\n", log=log)
        source = f'[[source]]\nname = "kamailio"\npath = "{server.log_file}"\nrecord_keys = ["{key}"]\n'
        operator.configure(source)
        return server, source

    return start


@pytest.fixture
def start_asterisk(short_folder: Path) -> Iterator[StartAsterisk]:
    """Give a function that starts an Asterisk with a `Setup`, or leaves that to the test, which changes its files."""
    require_peer("asterisk")
    started: list[Asterisk] = []

    def begin(setup: Setup, port: int | None = None, *, start: bool = True) -> Asterisk:
        folder = short_folder / f"a{len(started)}"
        folder.mkdir()
        server = Asterisk(folder, own_address(), setup, port=port)
        started.append(server)
        if start:
            server.start()
        return server

    yield begin
    for server in started:
        server.stop()
        _show(server.full_log)


@pytest.fixture
def answering_side() -> Iterator[Answer]:
    """Give a function that opens an answering side; it takes a list of replies, or a function of the request."""
    opened: list[AnsweringSide] = []

    def answer(replies: list[Reply] | Callable[[Message], list[Reply]]) -> AnsweringSide:
        side = AnsweringSide(own_address(), replies if callable(replies) else lambda _: replies)
        opened.append(side.__enter__())
        return side

    yield answer
    for side in opened:
        side.__exit__(None, None, None)


def _show(log: Path) -> None:
    """Print the end of a server's log: pytest shows it with a failed test."""
    if log.exists():
        print(f"--- {log.name}\n{log.read_bytes()[-6000:].decode(errors='backslashreplace')}")  # noqa: T201


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[DatabaseServer]:
    """Give a PostgreSQL server of this test process."""
    require_peer("postgresql")
    yield from _database(database.start_postgresql)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[DatabaseServer]:
    """Give a MariaDB server of this test process."""
    require_peer("mariadb")
    yield from _database(database.start_mariadb)


def _database(start: Callable[[Path, str], DatabaseServer]) -> Iterator[DatabaseServer]:
    for folder in _short_folder():
        server = start(folder, own_address())
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def postgresql_url(postgresql_server: DatabaseServer) -> str:
    """Give the SQLAlchemy URL of an empty PostgreSQL database."""
    return postgresql_server.new_database()


@pytest.fixture
def mariadb_url(mariadb_server: DatabaseServer) -> str:
    """Give the SQLAlchemy URL of an empty MariaDB database."""
    return mariadb_server.new_database()
