"""The service with one source that the test can hang, break or cut off from the database, by files in its folder.

Run as `python -m tests.service.rigged_service FOLDER`. Everything else is the real service.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from threading import Event

from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.errors import RedirectdError, StoreError
from redirectd.service.collector import CollectStep, Pinned
from redirectd.service.daemon import Daemon
from redirectd.service.from_config import Site
from redirectd.service.log_records import configure
from redirectd.service.source_threads import Feed, ReaderSpec


class IdleFeed:
    """A feed with nothing to read, of no family unless one is given."""

    def __init__(self, name: str, *, family: str = "") -> None:
        self._pinned = Pinned(Reading(name, (), UTC, Policy(), family=family), None, None)
        self._interrupted = Event()

    def pump(self) -> CollectStep:
        """Finds nothing."""
        return CollectStep(more=False)

    def wait(self, seconds: float) -> None:
        """Sleeps."""
        self._interrupted.wait(seconds)

    def interrupt(self) -> None:
        """Ends the sleep."""
        self._interrupted.set()

    def trouble(self) -> RedirectdError | None:
        """None."""
        return None

    def lag_bytes(self) -> int | None:
        """Not known."""
        return None

    def losses(self) -> Mapping[str, int]:
        """None."""
        return {}

    def pinned(self) -> Pinned:
        """As it was given."""
        return self._pinned

    def close(self) -> None:
        """Nothing to let go of."""


class RiggedFeed(IdleFeed):
    """Does what the files `stuck`, `broken` and `gone` in its folder say."""

    def __init__(self, folder: Path) -> None:
        super().__init__("rigged")
        self._folder = folder

    def pump(self) -> CollectStep:
        """Hangs, dies, or finds no database."""
        while (self._folder / "stuck").exists():
            time.sleep(0.02)
        if (self._folder / "broken").exists():
            raise RuntimeError("a defect in a dialect")
        if (self._folder / "gone").exists():
            raise StoreError("database x", "the server closed the connection", "start it")
        return super().pump()


class RiggedSite(Site):
    """A site whose configured sources are read, and the rigged one beside them."""

    folder: Path

    def readers(self) -> Sequence[ReaderSpec]:
        """One more."""

        def open_feed() -> Feed:
            return RiggedFeed(self.folder)

        return [*super().readers(), ReaderSpec("rigged", "rigged", open_feed)]


def main() -> None:
    """Runs until SIGTERM."""
    folder = Path(sys.argv[1])
    RiggedSite.folder = folder
    configure(json=True)
    Daemon(lambda _previous: RiggedSite.load(folder / "redirectd.toml")).run()


if __name__ == "__main__":
    main()
