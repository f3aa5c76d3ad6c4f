"""A database that is gone, hangs, restarts, refuses: waits are bounded, rows old or new, and the next run finishes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine
from sqlalchemy.engine import make_url

from tests.apply.apply_host import expected, moves, outcomes
from tests.apply.table_hosts import TableHost, at_statement, make_table, query
from tests.peers.lab.database import DatabaseServer
from tests.store.conftest import SERVERS, mariadb_server, postgresql_server, pytest_runtest_setup

__all__ = ["mariadb_server", "postgresql_server", "pytest_runtest_setup"]

OLD, NEW = moves(3), moves(5, "newer.test")


@dataclass
class Trial:
    """A server, and a host whose table on it holds OLD."""

    server: DatabaseServer
    host: TableHost

    def finishes(self) -> bool:
        """Whether one more apply brings NEW into table and service."""
        result = self.host.apply(NEW)
        assert result.error is None, result.error
        return self.host.in_table() == expected(NEW) == self.host.server.served("users")

    def is_whole(self) -> bool:
        """Whether the table is the old or the new one."""
        return self.host.in_table() in (expected(OLD), expected(NEW))


@pytest.fixture(params=SERVERS)
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trial]:
    """A table on each server; whatever was done to the server is over afterwards."""
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    url = server.new_database()
    make_table(url)
    host = TableHost(tmp_path, url, timeout=4.0)
    host.apply(OLD)
    yield Trial(server, host)
    server.go_on()


def test_a_database_that_is_gone_refuses_its_target(trial: Trial) -> None:
    """Stopped: the apply names the target and changes nothing; started again, the next one goes through."""
    trial.server.stop(by=signal.SIGINT)
    try:
        result = trial.host.apply(NEW)
        assert (outcomes(result), result.exit_code) == ({"users": "refused"}, 1)
    finally:
        trial.server.start_again()
    assert trial.host.in_table() == expected(OLD)
    assert trial.finishes()


@pytest.mark.parametrize("word", ["", "SELECT", "DELETE", "INSERT"])
def test_a_database_that_hangs_is_given_up(trial: Trial, word: str) -> None:
    """Stopped in its tracks before or within the transaction: the apply ends with an error, and the next finishes."""
    if word:
        with at_statement(word, trial.server.hang):
            result = trial.host.apply(NEW)
    else:
        trial.server.hang()
        result = trial.host.apply(NEW)
    assert result.error is not None
    trial.server.go_on()
    assert trial.is_whole()
    assert trial.finishes()


@pytest.mark.parametrize("word", ["DELETE", "INSERT"])
def test_a_database_that_is_restarted_within_the_transaction(trial: Trial, word: str) -> None:
    """Killed in the middle of the transaction: nothing of it is there afterwards, and the next apply finishes."""
    with at_statement(word, lambda: trial.server.stop(by=signal.SIGKILL)):
        result = trial.host.apply(NEW)
    assert result.error is not None
    trial.server.start_again()
    assert trial.host.in_table() == expected(OLD)
    assert trial.finishes()


def test_a_refused_user_changes_nothing(trial: Trial) -> None:
    """A connection limit that is used up is named as that, and over as soon as a connection is free."""
    host = trial.host
    is_mysql = host.url.startswith("mysql")
    if is_mysql:
        query(host.url, "CREATE OR REPLACE USER one@'%' WITH MAX_USER_CONNECTIONS 1", "GRANT ALL ON *.* TO one@'%'")
    else:
        query(host.url, "DROP ROLE IF EXISTS one", "CREATE ROLE one LOGIN CONNECTION LIMIT 1")
        query(host.url, "GRANT SELECT, INSERT, DELETE ON redirectd_htable TO one")
    as_one = make_url(host.url).set(username="one").render_as_string(hide_password=False)
    limited = TableHost(host.home, as_one, timeout=4.0)
    with create_engine(as_one, poolclass=NullPool).connect():
        result = limited.apply(NEW)
        assert (outcomes(result), "connection" in str(result.error)) == ({"users": "refused"}, True)
    assert trial.finishes()
