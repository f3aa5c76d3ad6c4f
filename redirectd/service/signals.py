"""Signals as values the main thread waits for, asleep until one comes."""

from __future__ import annotations

import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Self

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignalInbox:
    """While entered, SIGTERM, SIGINT and SIGHUP arrive here. Only the main thread may enter it."""

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.settimeout(0)
        self._writer.settimeout(0)
        self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, _seen) for number in HANDLED}
        return self

    def wait(self, seconds: float) -> tuple[signal.Signals, ...]:
        """The signals that came within `seconds`, in order; empty when none did or `wake` was called."""
        ready, _, _ = select.select([self._reader], [], [], max(seconds, 0.0))
        if not ready:
            return ()
        return tuple(signal.Signals(number) for number in self._reader.recv(4096) if number)

    def wake(self) -> None:
        """Ends a `wait` from another thread."""
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            return  # full: the waiter wakes anyway

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        self._reader.close()
        self._writer.close()


def _seen(_number: int, _frame: FrameType | None) -> None:
    """Python's part of a signal; the byte on the socket has already told the waiter."""
