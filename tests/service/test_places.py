"""A log that comes, goes and is not let be read, by the status of the real service."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.bench.pjsip_traffic import Traffic
from tests.service.service import Service, source, until

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody can reach, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="redirectd-"))
    folder.chmod(0o755)
    (folder / "log").mkdir()
    yield folder
    shutil.rmtree(folder)


def service_of(folder: Path, *, command: list[str] | None = None) -> Service:
    service = Service(folder, command=command)
    service.config.write_text(service.config.read_text().replace("full.log", str(folder / "log" / "full.log")))
    return service


def traffic_at(path: Path, calls: int, seed: int = 1) -> Traffic:
    traffic = Traffic(path, random.Random(seed))
    write(traffic, calls)
    return traffic


def write(traffic: Traffic, turns: int) -> None:
    for _ in range(turns):
        traffic.turn()
    traffic.finish()


def counted(folder: Path) -> Counter[tuple[str, str]]:
    engine = create_engine(f"sqlite:///{folder / 'redirectd.db'}")
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT old_uri, new_uri, calls FROM remap"))
        found = Counter({(old, new): calls for old, new, calls in rows})
    engine.dispose()
    return found


def until_read(service: Service, *written: Traffic) -> dict[str, Any]:
    """The status, once all that was written is counted, once, and the source is well."""
    expected = sum((traffic.moves for traffic in written), Counter[tuple[str, str]]())
    status = service.until_status(
        lambda status: (
            source(status)["state"] == "reading"
            and not source(status)["error"]
            and counted(service.folder).total() >= expected.total()
        ),
        "it is read",
    )
    assert counted(service.folder) == expected
    return status


def test_a_folder_that_comes_later_than_the_service(folder: Path) -> None:
    """Neither the log nor its folder is there: told, waited for; it goes and comes again, and nothing is lost."""
    (folder / "log").rmdir()
    service = service_of(folder)
    with service:
        waiting = service.until_status(lambda status: source(status)["state"] == "waiting", "it waits")
        assert "full.log" in source(waiting)["error"]
        assert source(waiting)["what_to_do"]
        (folder / "log").mkdir()
        first = traffic_at(folder / "log" / "full.log", 5)
        until_read(service, first)
        (folder / "log").rename(folder / "away")
        (folder / "log").mkdir()
        (folder / "away" / "full.log").rename(folder / "log" / "full.log.1")
        write(first, 5)
        status = until_read(service, first)
        assert source(status)["restarts"] == 0
        assert service.stop() == 0


def test_folders_swapped_under_it(folder: Path) -> None:
    """Another folder put in the place of the log's, and the first one back: both logs are read, each once."""
    log, other = folder / "log", folder / "other"
    other.mkdir()
    service = service_of(folder)
    ours = traffic_at(log / "full.log", 5)
    with service:
        until_read(service, ours)
        log.rename(folder / "away")
        other.rename(log)
        theirs = Traffic(log / "full.log", random.Random(2))
        theirs._call = 100_000
        write(theirs, 5)
        until_read(service, ours, theirs)
        log.rename(other)
        (folder / "away").rename(log)
        write(ours, 5)
        until_read(service, ours, theirs)
        assert service.stop() == 0


def test_permission_comes_and_goes(folder: Path) -> None:
    """A log that may not be read is told with what to do; when it may be again, nothing is missing and none doubled."""
    command = [sys.executable, "-m", "redirectd", "--config", str(folder / "redirectd.toml"), "run"]
    if os.geteuid() == 0:
        plain = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--"]
        tried = subprocess.run(
            [*plain, sys.executable, "-c", "import redirectd"], capture_output=True, check=False, cwd="/"
        )
        if tried.returncode:
            pytest.skip("a plain user may not run this Python and redirectd")
        command = [*plain, *command]
        os.chown(folder, NOBODY, NOBODY)
    log = folder / "log" / "full.log"
    service = service_of(folder, command=command)
    traffic = traffic_at(log, 5)
    log.chmod(0)
    with service:
        (folder / "notify").chmod(0o777)
        waiting = service.until_status(lambda status: source(status)["state"] == "waiting", "it waits")
        assert "ermission" in source(waiting)["error"]
        assert "read" in source(waiting)["what_to_do"]
        log.chmod(0o644)
        until_read(service, traffic)
        traffic.rename()
        log.chmod(0)
        write(traffic, 5)
        service.until_status(lambda status: source(status)["state"] == "waiting", "it waits again")
        traffic.rename()
        log.with_name("full.log.1").chmod(0o644)
        log.chmod(0o644)
        write(traffic, 5)
        status = until_read(service, traffic)
        assert source(status)["losses"] == {}
        assert service.stop() == 0
    until(lambda: len(service.records("source_back")) >= 2, "each end of it is told")
