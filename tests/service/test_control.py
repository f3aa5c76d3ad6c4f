"""The status socket."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from redirectd.errors import ConfigError, RefusedError
from redirectd.service.control import StatusServer, ask


def test_answers_everybody_who_asks(tmp_path: Path) -> None:
    """Each connection gets the document as it is then."""
    counted: list[int] = []

    def document() -> object:
        counted.append(1)
        return {"asked": len(counted)}

    server = StatusServer(tmp_path / "s", document)
    server.start()
    assert [ask(tmp_path / "s"), ask(tmp_path / "s")] == [{"asked": 1}, {"asked": 2}]
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660
    server.close()
    assert not (tmp_path / "s").exists()


def test_nobody_there_is_none(tmp_path: Path) -> None:
    """No socket, one that a killed daemon left behind, or one that answers nonsense: status goes to the database."""
    assert ask(tmp_path / "none") is None
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    assert ask(tmp_path / "left") is None


def test_takes_over_from_a_killed_daemon_but_not_from_a_living_one(tmp_path: Path) -> None:
    """A stale socket is replaced; a second daemon on the same socket is refused and told why."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    server = StatusServer(tmp_path / "s", dict)
    server.start()
    with pytest.raises(RefusedError, match="another redirectd"):
        StatusServer(tmp_path / "s", dict)
    assert ask(tmp_path / "s") == {}
    server.close()


def test_an_asker_that_says_goodbye_early_does_no_harm(tmp_path: Path) -> None:
    """Somebody who connects and leaves without reading does not end the service for the others."""
    server = StatusServer(tmp_path / "s", lambda: {"much": "x" * 10_000_000})
    server.start()
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(tmp_path / "s"))
    assert ask(tmp_path / "s") is not None
    server.close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """It is named with its key and a remedy."""
    with pytest.raises(ConfigError, match=r"daemon\.socket"):
        StatusServer(tmp_path / "none" / "s", dict)
