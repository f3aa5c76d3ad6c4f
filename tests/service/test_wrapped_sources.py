"""A followed log of a container: its console is read as if it were alone, over rotations, kills and appends."""

from __future__ import annotations

from pathlib import Path

import pytest

from redirectd.store.database import Database
from redirectd.store.migrate import ensure
from tests.collect.wrapping import WRITERS
from tests.service.test_collector import Site, call, drain


@pytest.mark.parametrize("name", ["docker json-file", "CRI", "journal"])
@pytest.mark.parametrize("kill", [False, True])
def test_wrapped_log_is_followed_through_rotation(tmp_path: Path, name: str, kill: bool) -> None:
    """Each call counts once, whether a rotation divides a message or the service is killed on the way."""
    database = Database(f"sqlite:///{tmp_path / 'redirectd.db'}")
    ensure(database)
    site = Site(tmp_path, database)
    console = b"".join(b"".join(call(number)) for number in range(6))
    lines = WRITERS[name](console, "stdout")
    site.write()
    collector = site.start()
    for at in range(0, len(lines), 7):
        site.write(*lines[at : at + 7])
        drain(collector)
        if at == 49:
            site.rotate()
        if kill and at == 77:
            collector = site.start()
    site.write(*WRITERS[name](b"-- end\n", "stdout"))
    drain(collector)
    assert site.moves() == {f"sip:u{number}@gw.test": 1 for number in range(6)}
    assert site.lost() == {}
    for started in site.opened:
        started.source.close()
    database.close()
