"""The metrics page, in Prometheus' text format: over HTTP, and as a file for node_exporter."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import BoundedSemaphore, Thread, Timer
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, Metric, generate_latest, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from redirectd.errors import ConfigError, InstallError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ASKERS = 16
"""Who is answered at the same time; the next ones are hung up on, and a scraper asks again."""

_ASKER_SECONDS = 5.0


class _Metrics(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return (family for family in self._families() if family.samples)


def _registry(families: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    """What the library serves: the families as they are when somebody asks, those without samples left out."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_Metrics(families))
    return made


def page(families: Iterable[Metric]) -> str:
    """The page as text."""
    return generate_latest(_registry(lambda: families)).decode()


class MetricsServer:
    """Serves `GET /metrics`, each asker in a thread of its own and with a deadline: none keeps the others out."""

    def __init__(self, listen: str, families: Callable[[], Iterable[Metric]]) -> None:
        """Listens at once on `address:port` (IPv6 in brackets), answers from `start` on. Raises ConfigError."""
        self.listen = listen
        host, _, port = listen.rpartition(":")
        host = host.strip("[]")
        try:
            self._server = make_server(
                host, int(port), _application(families), _Server6 if ":" in host else _Server, _Handler
            )
        except OSError as error:
            raise ConfigError(
                f"daemon.metrics_listen {listen}",
                error.strerror or str(error),
                "give an address of this host and a port that nobody else uses",
            ) from error
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def start(self) -> None:
        """Answers from now on; does nothing if it does already."""
        if not self._thread.is_alive():
            self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """No more answers."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(_ASKER_SECONDS)
        self._server.server_close()


class _Server(ThreadingWSGIServer):
    """A thread for each asker, of at most `ASKERS` at a time."""

    _places: BoundedSemaphore

    def server_activate(self) -> None:
        self._places = BoundedSemaphore(ASKERS)
        super().server_activate()

    def verify_request(self, request: object, client_address: object) -> bool:
        return self._places.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's own
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """An asker that hung up is not worth a traceback in the log."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    def handle(self) -> None:
        # The deadline is for the whole request: a byte now and then does not prolong it.
        deadline = Timer(_ASKER_SECONDS, self._hang_up)
        deadline.start()
        try:
            super().handle()
        finally:
            deadline.cancel()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Scrapes are not worth a log line."""


def _application(families: Callable[[], Iterable[Metric]]) -> WSGIApplication:
    serve: WSGIApplication = make_wsgi_app(_registry(families))

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] in {"/metrics", "/"}:
            return serve(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"The metrics are at /metrics.\n"]

    return application


def write_textfile(path: Path, families: Iterable[Metric]) -> None:
    """Puts the page where node_exporter's textfile collector reads it, whole or not at all. Raises InstallError.

    World-readable, since node_exporter is another user; there is no secret in it.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(page(families))
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except OSError:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise InstallError(
            f"daemon.metrics_file {path}",
            error.strerror or str(error),
            f"create {path.parent} and give this user the right to write there",
        ) from error
