"""Commands of the documentation that an administrator gives once: to the database's server, and for a secret."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from sqlalchemy import create_engine, text

from tests.docs.page import ROOT, blocks, commands
from tests.peers.conftest import loopback_address, short_folder  # noqa: F401 - fixtures
from tests.peers.lab.database import start_postgresql

PATIENCE = 60


def found(page: str, program: str) -> list[str]:
    """The one command of a page that begins with `program`, in words."""
    consoles = [block for block in blocks(ROOT / "docs" / page) if block.language == "console"]
    every = [command.text for block in consoles for command in commands(block)]
    [line] = [one for one in every if one.startswith(f"{program} ")]
    return shlex.split(line)


@pytest.mark.peer("postgresql")
def test_a_database_is_made_upgraded_and_saved(
    short_folder: Path,  # noqa: F811 - the fixture
    loopback_address: str,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The user and its database are made as the page says, hold redirectd's tables, and the backup holds those."""
    server = start_postgresql(short_folder, loopback_address)
    try:
        url = server.new_database().rpartition("/")[0]
        address = _as_delivered(url)
        for name, value in {"PGHOST": address[0], "PGPORT": address[1], "PGUSER": "postgres"}.items():
            monkeypatch.setenv(name, value)
        page = "howto-several-nodes.md"
        asking = pexpect.spawn(shlex.join(found(page, "createuser")), timeout=PATIENCE)
        for _ in range(2):
            asking.expect("[Pp]assword|again")
            asking.sendline("of-the-database")
        asking.expect(pexpect.EOF)
        asking.close()
        assert asking.exitstatus == 0
        subprocess.run(found(page, "createdb"), check=True, timeout=PATIENCE)
        environment = os.environ | {"REDIRECTD_DATABASE_URL": f"{url}/redirectd"}
        config = tmp_path / "redirectd.toml"
        config.touch()
        upgrade = [sys.executable, "-m", "redirectd", "--config", str(config), "db", "upgrade"]
        subprocess.run(upgrade, check=True, timeout=PATIENCE, env=environment, cwd=tmp_path)
        subprocess.run(found(page, "pg_dump"), check=True, timeout=PATIENCE, cwd=tmp_path)
        saved = subprocess.run(
            ["pg_restore", "--list", "redirectd.before"], check=True, capture_output=True, text=True, cwd=tmp_path
        ).stdout
        assert "TABLE DATA public remap redirectd" in saved
    finally:
        server.stop()


def _as_delivered(url: str) -> tuple[str, str]:
    """Gives the server an administrator of the usual name in the place of the laboratory's; its address and port."""
    for name, statement in (
        ("redirectd", "CREATE ROLE postgres SUPERUSER LOGIN"),
        ("postgres", "ALTER ROLE redirectd RENAME TO laboratory"),
    ):
        engine = create_engine(f"{url}/postgres".replace("redirectd@", f"{name}@"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()
    host, _, port = url.rpartition("@")[2].partition(":")
    return host, port


def test_a_secret_is_typed_into_a_file_of_roots(tmp_path: Path) -> None:
    """The file holds what was typed, and only its owner can read it."""
    words = found("howto-secrets.md", "install -m 0600 /dev/stdin")
    words[-1] = str(tmp_path / Path(words[-1]).name)
    subprocess.run(words, check=True, input=b"secret\n", timeout=PATIENCE)
    written = Path(words[-1])
    assert written.read_bytes() == b"secret\n"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
