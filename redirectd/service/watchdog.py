"""The watchdog, fed only while every reader and the scheduler make progress, and systemd's notify socket."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from threading import Lock

from redirectd.sip.text import printable


class Heartbeats:
    """Counts beats by name. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._beats: dict[str, int] = {}

    def expect(self, name: str) -> None:
        """From now on nothing is well unless `name` beats."""
        with self._lock:
            self._beats.setdefault(name, 0)

    def forget(self, name: str) -> None:
        """`name` has ended as it should and is not waited for any more."""
        with self._lock:
            self._beats.pop(name, None)

    def beat(self, name: str) -> None:
        """`name` has come through its loop once more. Ignored for a name nobody expects any longer."""
        with self._lock:
            if name in self._beats:
                self._beats[name] += 1

    def take(self) -> tuple[str, ...]:
        """Who has been silent since all were last heard. If nobody was, the count begins anew and all is well."""
        with self._lock:
            silent = tuple(sorted(name for name, count in self._beats.items() if count == 0))
            if not silent:
                self._beats = dict.fromkeys(self._beats, 0)
            return silent


_SEND_SECONDS = 1.0


class Notifier:
    """Sends state to the socket systemd named; without one every call does nothing, as when run by hand."""

    def __init__(self, address: str | None) -> None:
        """`address` is a path, or a name of the abstract space behind an `@`; None for no service manager."""
        self._address = _native(address) if address else None

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Takes NOTIFY_SOCKET out of `environ`, so that commands started later don't speak for the service."""
        return cls(environ.pop("NOTIFY_SOCKET", None))

    def send(self, **fields: str | int) -> bool:
        """Sends `NAME=value` lines in one message; False if nobody took it, which does not stop the service."""
        if self._address is None:
            return False
        lines = "\n".join(f"{name}={printable(str(value), 500)}" for name, value in fields.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(_SEND_SECONDS)
            try:
                channel.sendto(lines.encode(), self._address)
            except OSError:
                return False
        return True


def watchdog_seconds(environ: MutableMapping[str, str]) -> float | None:
    """Within how many seconds systemd wants to hear of us (sd_watchdog_enabled(3)); None where it does not."""
    microseconds = environ.pop("WATCHDOG_USEC", "")
    meant_for = environ.pop("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdigit() or int(microseconds) == 0 or meant_for != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000


def _native(address: str) -> str | None:
    """The address as the kernel takes it; None for kinds this program does not speak (vsock)."""
    if address.startswith("@"):
        return "\0" + address[1:]
    return address if address.startswith("/") else None
