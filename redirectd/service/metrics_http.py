"""The metrics page over HTTP, for a Prometheus that scrapes us itself."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Event, Thread

from redirectd.errors import ConfigError
from redirectd.service.metrics import CONTENT_TYPE


class MetricsServer:
    """Serves `GET /metrics` in a thread of its own, one asker at a time."""

    def __init__(self, listen: str, page: Callable[[], str]) -> None:
        """Listens at once on `address:port` (IPv6 in brackets), answers from `start` on. Raises ConfigError."""
        self.listen = listen
        host, _, port = listen.rpartition(":")
        host = host.strip("[]")
        kind = _Server6 if ":" in host else HTTPServer
        try:
            self._server = kind((host, int(port)), _handler(page))
        except OSError as error:
            raise ConfigError(
                f"daemon.metrics_listen {listen}",
                error.strerror or str(error),
                "give an address of this host and a port that nobody else uses",
            ) from error
        self._closing = Event()
        self._thread = Thread(target=self._serve, name="metrics", daemon=True)

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
        self._closing.set()
        with suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes the waiting thread
        if self._thread.is_alive():
            self._thread.join(_ASKER_SECONDS)
        self._server.server_close()

    def _serve(self) -> None:
        while not self._closing.is_set():
            self._server.handle_request()  # sleeps until somebody asks: serve_forever would look twice a second


_ASKER_SECONDS = 5.0


class _Server6(HTTPServer):
    address_family = socket.AF_INET6


def _handler(page: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _ASKER_SECONDS  # an asker that says nothing must not keep the others out
        server_version = "redirectd"
        sys_version = ""

        def do_GET(self) -> None:  # the name is the library's
            """The page, or 404 for any other path."""
            if self.path.partition("?")[0] not in {"/metrics", "/"}:
                self.send_error(404)
                return
            body = page().encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Scrapes are not worth a log line."""

    return Handler
