"""Who can read what is stored: a new database is not for everybody."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def no_umask() -> Iterator[None]:
    """A umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_umask")
def test_a_new_database_is_not_for_everybody(cli: Cli) -> None:
    """Whatever the umask is, an SQLite file and the logs beside it have mode 0640 or less."""
    cli("ingest", cli.corpus / "kamailio/snippet-all-cases.log")
    files = list(cli.folder.glob("redirectd.db*"))
    assert files
    assert all(file.stat().st_mode & 0o137 == 0 for file in files), files
