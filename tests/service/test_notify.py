"""The sd_notify protocol, received by a socket as systemd has one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from redirectd.service.watchdog import Notifier, watchdog_seconds


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.settimeout(5)
    channel.bind(str(tmp_path / "notify"))
    return channel


def test_sends_one_datagram_with_a_line_for_each_field(manager: socket.socket, tmp_path: Path) -> None:
    """READY and STATUS arrive together, as sd_notify(3) wants it."""
    assert Notifier(str(tmp_path / "notify")).send(READY=1, STATUS="reading 2 of 2 sources")
    assert manager.recv(4096) == b"READY=1\nSTATUS=reading 2 of 2 sources"


def test_status_text_from_the_network_cannot_add_a_field(manager: socket.socket, tmp_path: Path) -> None:
    """A line end in a status text does not become another field of the message."""
    assert Notifier(str(tmp_path / "notify")).send(STATUS="bad\nMAINPID=1")
    assert manager.recv(4096) == rb"STATUS=bad\x0aMAINPID=1"


def test_abstract_socket() -> None:
    """An address behind an @ is a name of the abstract space."""
    name = f"redirectd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(5)
        channel.bind(f"\0{name}")
        assert Notifier(f"@{name}").send(WATCHDOG=1)
        assert channel.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "/does/not/exist"])
def test_without_a_listener_nothing_happens(address: str | None) -> None:
    """Run by hand, or with the manager gone, sending says False and does no harm."""
    assert not Notifier(address).send(READY=1)


def test_environment_is_used_up() -> None:
    """Commands started later don't inherit the right to speak for the service."""
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    Notifier.from_environ(environ)
    assert watchdog_seconds(environ) == 3.0
    assert environ == {}


@pytest.mark.parametrize(
    "environ", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}]
)
def test_no_watchdog_for_us(environ: dict[str, str]) -> None:
    """No watchdog asked for, or one for another process."""
    assert watchdog_seconds(environ) is None
