"""A database that is locked or full, for real: the reading stops, the service does not, and nothing is lost."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.peers.lab.loopback import free_port, own_address
from tests.service.outage import Site
from tests.service.service import until


@pytest.fixture
def metrics() -> str:
    address = own_address()
    return f"{address}:{free_port(address, start=9400)}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "redirectd-test", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small file system can't be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_the_reading_until_there_is_room(tmp_path: Path, small_disk: Path, metrics: str) -> None:
    """No room for the database: told everywhere with what to do; with room again, all is counted once."""
    site = Site(tmp_path, f"sqlite:///{small_disk / 'redirectd.db'}", metrics)
    with site.service:
        site.write(5)
        site.service.until_status(lambda status: (status["remaps"] or {}).get("pending"), "it reads")
        filler = small_disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free))
        for _ in range(6):  # rotated away meanwhile, too
            site.write(25)
            site.traffic.rename()
        assert "full" in site.until_blocked()
        filler.unlink()
        site.until_caught_up()
        assert site.service.stop() == 0


def test_a_locked_database_is_waited_for_through_rotations(tmp_path: Path, metrics: str) -> None:
    """SQLite held by another process for as long as it takes: told, waited for, and all is counted once."""
    site = Site(tmp_path, f"sqlite:///{tmp_path / 'redirectd.db'}", metrics)
    with site.service:
        site.write(5)
        site.service.until_status(lambda status: (status["remaps"] or {}).get("pending"), "it reads")
        holder = sqlite3.connect(tmp_path / "redirectd.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        for _ in range(6):
            site.write(5)
            site.traffic.rotate()
        site.write(5)  # the last rotation may have been copytruncate's, which leaves nothing here
        assert "locked" in site.until_blocked()
        holder.rollback()
        holder.close()
        site.until_caught_up()
        assert site.service.stop() == 0


def test_a_database_that_is_removed_and_put_back_from_a_backup(tmp_path: Path, metrics: str) -> None:
    """SQLite's file gone is told and waited for; an older one in its place is read on from where it says."""
    file = tmp_path / "redirectd.db"
    site = Site(tmp_path, f"sqlite:///{file}", metrics)
    with site.service:
        site.write(5)
        site.service.until_status(lambda status: (status["remaps"] or {}).get("pending"), "it reads")
        with closing(sqlite3.connect(file)) as connection:
            connection.execute(f"VACUUM INTO '{tmp_path / 'backup'}'")
        site.write(5)  # this is counted in the file that goes
        site.traffic.rename()
        before = site.traffic.moves.total()
        until(lambda: site.counted().total() == before, "it is counted")
        for part in tmp_path.glob("redirectd.db*"):
            part.unlink()
        site.write(5)
        assert "removed" in site.until_blocked()
        (tmp_path / "backup").rename(file)
        site.until_caught_up()
        assert site.service.stop() == 0
