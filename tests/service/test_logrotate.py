"""The logrotate advice, carried out by the real logrotate on logs that the running service follows."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.bench.pjsip_traffic import Traffic
from tests.service.service import ROOT, Service, source, until

EXAMPLES = ROOT / "examples/logrotate"
LOGROTATE = shutil.which("logrotate") or "/usr/sbin/logrotate"


@pytest.fixture(scope="module", autouse=True)
def _program() -> None:
    if not os.access(LOGROTATE, os.X_OK):
        if os.environ.get("CI") == "true":
            pytest.fail("logrotate is not installed; .ci/install-peers installs it", pytrace=False)
        pytest.skip("logrotate is not installed")
    if os.geteuid() != 0:
        pytest.skip("logrotate gives files to other users, which only root may")


class Server(Traffic):
    """Writes as a SIP server or rsyslog does: into the file it has open, whatever its name is by now."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, random.Random(3))
        self.reopen()

    def reopen(self) -> None:
        """Takes the file that has the log's name now, as on `logger reload` or SIGHUP."""
        self._log = self.path.open("ab", buffering=0)

    def _append(self, data: bytes) -> None:
        self._log.write(data)

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            self.turn()


class Site:
    """A log with its logrotate configuration in a folder that the log's owner may write to."""

    def __init__(self, folder: Path, advice: str) -> None:
        self.folder = folder
        self.service = Service(folder)
        self.log = self.service.log
        self.log.touch()
        self._config = folder / "logrotate.conf"
        self._config.write_text(advice)
        self._config.chmod(0o644)
        owner = re.search(r"^ +su (\w+) (\w+)$", advice, re.MULTILINE)
        if owner:
            for path in (folder, self.log):
                shutil.chown(path, owner[1], owner[2])
        self.server = Server(self.log)

    def rotate(self, *, late: bool) -> None:
        """One day: logrotate does what its configuration says, and the server reopens its log, `late` or at once."""
        done = subprocess.run(
            [LOGROTATE, "--force", "--state", str(self.folder / "state"), str(self._config)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        if late:
            self.server.write(2)
        self.server.reopen()

    def counted(self) -> Counter[tuple[str, str]]:
        """Calls by old and new URI, as the database has them."""
        engine = create_engine(f"sqlite:///{self.folder / 'redirectd.db'}")
        try:
            with engine.connect() as connection:
                rows = connection.execute(text("SELECT old_uri, new_uri, calls FROM remap"))
                return Counter({(old, new): calls for old, new, calls in rows})
        finally:
            engine.dispose()

    def until_counted(self) -> None:
        """Everything that was written has been counted, once, and nothing is told as lost."""
        expected = self.server.moves
        self.service.until_status(lambda status: source(status)["lag_bytes"] == 0, "all is read")
        until(lambda: self.counted().total() >= expected.total(), "all is counted")
        assert self.counted() == expected

    def names(self) -> set[str]:
        return {path.name for path in self.folder.glob("full.log*")}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="redirectd-logrotate-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def advice(example: str, log: Path, **changes: str) -> str:
    """A file of the examples for another log, whose postrotate line only notes that it ran."""
    text = (EXAMPLES / example).read_text()
    text, paths = re.subn(r"^/var/log/\S+ \{$", f"{log} {{", text, flags=re.MULTILINE)
    text, scripts = re.subn(r"(postrotate\n).*(\n +endscript)", rf"\1touch {log.parent}/told\2", text, flags=re.DOTALL)
    assert (paths, scripts) == (1, 1)
    for old, new in changes.items():
        text, count = re.subn(rf"^ +{old}\b.*$", f"    {new}", text, flags=re.MULTILINE)
        assert count == 1
    return text


@pytest.mark.parametrize(
    ("example", "owner", "group"), [("kamailio", "root", "adm"), ("asterisk", "asterisk", "asterisk")]
)
def test_the_examples_lose_and_double_nothing(folder: Path, example: str, owner: str, group: str) -> None:
    """Five days under a running service, and three more while it is off: each 301 counts once, and no loss is told."""
    site = Site(folder, advice(example, folder / "full.log"))
    with site.service as service:
        service.until_status(lambda status: source(status)["state"] == "reading", "it has begun with the log")
        for _ in range(5):
            site.server.write(10)
            site.rotate(late=True)
        site.server.finish()
        site.until_counted()
        assert service.stop() == 0
    assert (folder / "told").exists()
    assert (site.log.owner(), site.log.group(), oct(site.log.stat().st_mode)) == (owner, group, "0o100640")
    assert site.names() == {"full.log", "full.log.1", *(f"full.log.{number}.gz" for number in range(2, 6))}
    for _ in range(3):
        site.server.write(10)
        site.rotate(late=True)
    site.server.finish()
    with Service(folder) as again:
        again.until_notified("READY")
        site.service = again
        site.until_counted()
        assert again.until_status(lambda status: not status["losses"], "no loss is told")
        assert again.stop() == 0


@pytest.mark.parametrize(
    "change",
    [
        {"delaycompress": "nodelaycompress"},
        {"create": "copytruncate"},
        {"delaycompress": "dateext\n    dateformat -%Y%m%d-%s"},
    ],
    ids=["compressed at once", "copied and truncated", "dated"],
)
def test_other_ways_are_followed_too(folder: Path, change: dict[str, str]) -> None:
    """Compressed at once, copied and truncated, named by date: while the server rests, nothing is lost or doubled."""
    site = Site(folder, advice("kamailio", folder / "full.log", **change))
    with site.service as service:
        service.until_status(lambda status: source(status)["state"] == "reading", "it has begun with the log")
        for _ in range(3):
            site.server.write(10)
            site.server.finish()
            site.until_counted()
            second = int(time.time())  # logrotate's clock may be some milliseconds behind this one
            until(lambda: time.time() > second + 1.5, "another second, for another name")  # noqa: B023
            site.rotate(late=False)
        site.server.finish()
        site.until_counted()
        assert service.stop() == 0
