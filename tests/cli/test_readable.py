"""`check` and the server's right to read what is written for it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from redirectd.cli.checks.as_user import check_readable
from redirectd.plan.target_spec import TargetSpec
from redirectd.targets.asterisk_astdb import AsteriskAstdb
from redirectd.targets.kamailio_htable import KamailioHtable

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the server's socket to another user")


def _warnings(path: Path, control: str, **more: object) -> list[str]:
    spec = TargetSpec("users", str(path), KamailioHtable(), control=control, **more)  # type: ignore[arg-type] # passed on
    return [f"{found.why}; {found.what_to_do}" for found in check_readable("here", path, spec)]


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The socket of a server that runs as the user `nobody`."""
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind("rpc.sock")
    os.chown("rpc.sock", 65534, -1)
    return "jsonrpc:unix:rpc.sock"


@needs_root
def test_a_new_file_that_the_server_cannot_read_is_warned_of(tmp_path: Path, control: str) -> None:
    """Mode 0640 and our own group: the warning names user, mode and what to set; a group or a mode mends it."""
    (warning,) = _warnings(tmp_path / "table", control)
    assert "runs as nobody" in warning
    assert "mode 0640" in warning
    assert 'set group = "nogroup"' in warning
    assert _warnings(tmp_path / "table", control, group="nogroup") == []
    assert _warnings(tmp_path / "table", control, mode=0o644) == []
    assert _warnings(tmp_path / "table", control, owner="nobody") == []


@needs_root
def test_a_file_that_is_there_keeps_its_own_rights(tmp_path: Path, control: str) -> None:
    """What counts is the file in place, and not what the target says of new ones."""
    path = tmp_path / "table"
    path.touch()
    path.chmod(0o640)
    assert len(_warnings(path, control, mode=0o644)) == 1
    path.chmod(0o644)
    assert _warnings(path, control) == []


def test_without_a_server_there_is_nobody_to_read_it(tmp_path: Path) -> None:
    """`reload = "none"` names no server."""
    assert _warnings(tmp_path / "table", "none") == []


def test_a_server_that_reads_no_file_needs_no_right_to(tmp_path: Path) -> None:
    """What is put into AstDB over the manager interface is never read by Asterisk's user."""
    spec = TargetSpec("astdb", str(tmp_path / "astdb"), AsteriskAstdb(), control="ami://me@127.0.0.1", mode=0o600)
    assert list(check_readable("here", tmp_path / "astdb", spec)) == []
