"""Whether the servers have room for what is approved."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from sqlalchemy import func, select

from redirectd.cli.checks.database_check import from_database
from redirectd.cli.checks.finding import Finding, Level
from redirectd.config.model import Config
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import remap

DEFAULT_ROWS = 20_000
"""Rows of a db_text table that a Kamailio with its default memory (-m 64 -M 8) has been seen to load; not 40,000."""

_SHARED_PER_ROW = 600
"""Bytes of shared memory (60 MB at 100,000 rows); a reload holds up to three times that."""


_TABLE_ROWS = 100_000
"""Rows from which db_text refuses a table ("Truncated table"), unless its max_result_rows says otherwise."""


def check_capacity(config: Config) -> Iterator[Finding]:
    """Compares the approved user moves with what a Kamailio of default size can load into an htable."""
    names = [target.name for target in config.target if target.kind == "kamailio-htable" and target.path]
    rows = _approved_users(config) if names else 0
    if rows > DEFAULT_ROWS:
        shared = 64 + ceil(rows * _SHARED_PER_ROW * 3 / 1e6)
        private = 8 * ceil(rows / DEFAULT_ROWS) + 8
        yield Finding(
            f"target {', '.join(names)}",
            Level.WARNING,
            f"{rows:,} user moves are approved, and Kamailio as it comes (-m 64 -M 8) loads about {DEFAULT_ROWS:,}",
            f"start Kamailio with at least -m {shared} -M {private} (Debian: /etc/default/kamailio)"
            + _table_rows(rows),
        )


def _table_rows(rows: int) -> str:
    """What kamailio.cfg has to say besides, where db_text would refuse the table as it comes."""
    return f', with modparam("db_text", "max_result_rows", {rows * 2}) or more' if rows >= _TABLE_ROWS else ""


def _approved_users(config: Config) -> int:
    """How many; 0 where the database can't say."""

    def ask(database: Database) -> int:
        with database.read() as connection:
            query = select(func.count()).where(remap.c.state == State.APPROVED.value, remap.c.kind == "user")
            return int(connection.execute(query).scalar_one())

    return from_database(config, ask, 0)
