"""Ctrl-C between two steps instead of within one: what the database has taken must also be reported and be undoable."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


@contextmanager
def held_back() -> Iterator[Event]:
    """Gives an event that the first Ctrl-C sets; the second, for who can't wait, is a KeyboardInterrupt again.

    For the main thread, where Python handles signals.
    """
    asked = Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
