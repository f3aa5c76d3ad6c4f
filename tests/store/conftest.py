"""Databases for the tests: SQLite for all, the servers where they are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from redirectd.errors import RedirectdError
from redirectd.store import migrate
from redirectd.store.database import Database
from tests.peers.conftest import (
    mariadb_server,
    mariadb_url,
    postgresql_server,
    postgresql_url,
    pytest_runtest_setup,
)

__all__ = ["mariadb_server", "mariadb_url", "postgresql_server", "postgresql_url", "pytest_runtest_setup"]

SERVERS = [
    pytest.param("postgresql", marks=pytest.mark.peer("postgresql")),
    pytest.param("mariadb", marks=pytest.mark.peer("mariadb")),
]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An SQLite database with its tables."""
    made = Database(f"sqlite:///{tmp_path}/redirectd.db")
    migrate.ensure(made)
    yield made
    made.close()


@pytest.fixture
def server_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database on the server that the test names by indirect parameter."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def server(server_url: str) -> Iterator[Database]:
    """A server's database with its tables."""
    made = Database(server_url)
    migrate.upgrade(made)
    yield made
    made.close()


def at_once(*jobs: Callable[[], object]) -> list[object]:
    """Runs the jobs in threads that start together; gives results, or the errors that they raised."""
    start = Barrier(len(jobs))

    def run(job: Callable[[], object]) -> object:
        start.wait()
        try:
            return job()
        except RedirectdError as error:
            return error

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))
