"""MariaDB stopped, killed, started again and locked while the service reads: nothing is lost, nothing doubled."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from redirectd.store.database import Database
from redirectd.store.migrate import upgrade
from tests.peers.lab.database import DatabaseServer, start_mariadb
from tests.peers.lab.loopback import free_port, own_address
from tests.service.outage import Site

pytestmark = pytest.mark.peer("mariadb")


@pytest.fixture
def server(short_folder: Path, loopback_address: str) -> Iterator[DatabaseServer]:
    """A server of the test's own, that it may stop."""
    server = start_mariadb(short_folder, loopback_address)
    yield server
    server.stop()


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


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_server_that_goes_and_comes_back(site: Site, server: DatabaseServer, by: signal.Signals) -> None:
    """Its sessions ended in the middle of work, or cut off: told everywhere, then all is counted once."""
    site.write(5)
    server.stop(by=by)
    for _ in range(6):
        site.write(5)
        site.traffic.rotate()
    site.write(5)  # the last rotation may have been copytruncate's, which leaves nothing here
    assert "database mysql" in site.until_blocked()
    server.start_again()
    site.until_caught_up()


def test_a_table_that_another_session_holds(site: Site) -> None:
    """A lock held for long ends the waiting and not the service; when it is given up, all is counted once."""
    engine = create_engine(site.url)
    with engine.connect() as holder:
        holder.execute(text("LOCK TABLES remap READ"))
        site.write(10)
        assert "lock" in site.until_blocked().lower()
        holder.execute(text("UNLOCK TABLES"))
    engine.dispose()
    site.until_caught_up()
