"""A database server stopped, killed, started again and locked while the service reads: nothing is lost or doubled."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from redirectd.store.database import Database
from redirectd.store.migrate import upgrade
from tests.peers.lab.database import DatabaseServer, start_mariadb, start_postgresql
from tests.peers.lab.loopback import free_port, own_address
from tests.service.outage import Site


@dataclass(frozen=True)
class Kind:
    """A server, how it is stopped in good order and at once, how a session holds a table, and what is told of both."""

    start: Callable[[Path, str], DatabaseServer]
    stopped: signal.Signals
    killed: signal.Signals
    away: str
    lock: str
    unlock: str
    waited: str


MARIADB = Kind(
    start=start_mariadb,
    stopped=signal.SIGTERM,
    killed=signal.SIGKILL,
    away="database mysql",
    lock="LOCK TABLES remap READ",
    unlock="UNLOCK TABLES",
    waited="lock",
)
POSTGRESQL = Kind(
    start=start_postgresql,
    stopped=signal.SIGINT,
    killed=signal.SIGQUIT,  # a crash of one session, which ends all
    away="database postgresql",
    lock="LOCK TABLE remap IN SHARE MODE",
    unlock="ROLLBACK",
    waited="lock timeout",
)


@pytest.fixture(
    params=[
        pytest.param(MARIADB, id="mariadb", marks=pytest.mark.peer("mariadb")),
        pytest.param(POSTGRESQL, id="postgresql", marks=pytest.mark.peer("postgresql")),
    ]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each server that can be had."""
    found: Kind = request.param
    return found


@pytest.fixture
def server(kind: Kind, short_folder: Path, loopback_address: str) -> Iterator[DatabaseServer]:
    """A server of the test's own, that it may stop."""
    server = kind.start(short_folder, loopback_address)
    yield server
    server.stop(by=kind.stopped)


@pytest.fixture
def site(tmp_path: Path, server: DatabaseServer) -> Iterator[Site]:
    address = own_address()
    database = Database(server.new_database())
    upgrade(database)
    url = database.engine.url.render_as_string(hide_password=False)
    database.close()
    site = Site(tmp_path, url, f"{address}:{free_port(address, start=9400)}")
    with site.service:
        site.write(5)
        site.service.until_status(lambda status: (status["remaps"] or {}).get("pending"), "it reads")
        yield site
        assert site.service.stop() == 0


@pytest.mark.parametrize("at_once", [False, True], ids=["stopped", "killed"])
def test_a_server_that_goes_and_comes_back(site: Site, server: DatabaseServer, kind: Kind, at_once: bool) -> None:
    """Its sessions ended in the middle of work, or cut off: told everywhere, then all is counted once."""
    site.write(5)
    server.stop(by=kind.killed if at_once else kind.stopped)
    for _ in range(6):
        site.write(5)
        site.traffic.rotate()
    site.write(5)  # the last rotation may have been copytruncate's, which leaves nothing here
    assert kind.away in site.until_blocked()
    server.start_again()
    site.until_caught_up()


def test_a_table_that_another_session_holds(site: Site, kind: Kind) -> None:
    """A lock held for long ends the waiting and not the service; when it is given up, all is counted once."""
    engine = create_engine(site.url)
    with engine.connect() as holder:
        holder.execute(text(kind.lock))
        site.write(10)
        assert kind.waited in site.until_blocked().lower()
        holder.execute(text(kind.unlock))
    engine.dispose()
    site.until_caught_up()
