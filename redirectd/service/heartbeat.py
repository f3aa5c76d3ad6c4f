"""Who has made progress: the watchdog is fed only when every reader and the scheduler have."""

from __future__ import annotations

from threading import Lock


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
        """`name` has ended as it should and is no longer waited for."""
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
