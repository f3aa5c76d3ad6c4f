"""Listens where nodes that share a PostgreSQL hear of decisions, and asks for an apply."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from threading import Event, Thread

import psycopg
import structlog
from psycopg import sql
from sqlalchemy.engine import make_url

from redirectd.service.backpressure import Backoff, Outage
from redirectd.store.states import CHANNEL

_log = structlog.get_logger("redirectd.listener")

GATHER_SECONDS = 0.5
"""Waited for more decisions after the first: a reviewer's next key, the rows of an import."""

PAUSE_SECONDS = 5.0
"""The least time between two wakes, however often decisions are made."""

_JOIN_SECONDS = 5.0

# Who only listens would not notice for hours that the server is gone without a word.
_LIVELY = {"connect_timeout": "10", "keepalives_idle": "60", "keepalives_interval": "10", "keepalives_count": "3"}


class Listener:
    """One thread with a connection of its own. Where that was lost and is back, it wakes for what it missed."""

    def __init__(self, url: str, wake: Callable[[], object]) -> None:
        """`url` is SQLAlchemy's, of a PostgreSQL; `wake` is called from the thread."""
        self.url = url
        self._wake = wake
        self._stopping = Event()
        self._reader, self._writer = socket.socketpair()
        self._listening = False
        self._thread = Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()

    @property
    def listening(self) -> bool:
        """Whether a decision made now would be heard."""
        return self._listening

    def stop(self) -> None:
        """Ends the thread and its connection."""
        self._stopping.set()
        self._writer.send(b"\0")
        self._thread.join(_JOIN_SECONDS)
        if not self._thread.is_alive():  # a connection attempt that hangs ends with the process
            self._reader.close()
            self._writer.close()

    def _run(self) -> None:
        retrying, outage = Backoff(), Outage()
        while not self._stopping.is_set():
            try:
                with psycopg.connect(_conninfo(self.url), autocommit=True) as connection:
                    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                    self._listening = True
                    retrying.reset()
                    if outage.over(time.monotonic()) is not None:
                        _log.info("listening_again")
                        self._wake()
                    self._listen(connection)
            except psycopg.Error as error:
                if outage.failed(time.monotonic()):
                    _log.warning(
                        "not_listening", error=str(error), what_to_do="applies come by schedule until it works"
                    )
                self._stopping.wait(retrying.delay())
            finally:
                self._listening = False

    def _listen(self, connection: psycopg.Connection) -> None:
        """Wakes for each burst of notifications until it is time to stop. Raises psycopg.Error."""
        while not self._stopping.is_set():
            select.select([connection.fileno(), self._reader.fileno()], [], [])
            if self._stopping.wait(GATHER_SECONDS):
                return
            if any(True for _ in connection.notifies(timeout=0)):
                self._wake()
                self._stopping.wait(PAUSE_SECONDS)


def _conninfo(url: str) -> str:
    """What libpq takes, from SQLAlchemy's URL."""
    known = make_url(url).set(drivername="postgresql")
    return known.set(query={**_LIVELY, **known.query}).render_as_string(hide_password=False)
