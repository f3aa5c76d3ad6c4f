"""The API's process: its socket, and the server on it."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import sys
from datetime import UTC, datetime
from types import FrameType

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from redirectd.config.console_section import ConsoleSection
from redirectd.config.model import Config
from redirectd.config.secrets import oidc_secret
from redirectd.console.access import Access
from redirectd.console.desk import Desk
from redirectd.console.oidc import Oidc
from redirectd.console.pages import PAGES
from redirectd.console.sign_in import SignIn
from redirectd.console.web import HEADERS, application
from redirectd.errors import ConfigError
from redirectd.service.control import listen_at
from redirectd.store.database import Database

MOST_CONNECTIONS = 200
HEAD_SECONDS = 15.0
REPLY_SECONDS = 180.0
_log = structlog.get_logger("redirectd.console")


class Connection(H11Protocol):
    """A connection that ends when no whole head of a request comes in time, or a reply is not taken.

    Else a few clients that say nothing, or a byte now and then, would keep everybody out: the server alone waits
    for ever for the first request, and for the rest of one.
    """

    head_seconds, reply_seconds = HEAD_SECONDS, REPLY_SECONDS
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for a request."""
        super().connection_made(transport)
        self._wait(self.head_seconds)

    def handle_events(self) -> None:
        """Gives a request that has come the time to be answered."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and not self.cycle.response_complete:
            self._wait(self.reply_seconds)

    def on_response_complete(self) -> None:
        """Begins to wait for the next request."""
        self._wait(self.head_seconds)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, with the headers that every answer has."""
        more = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
        answer = h11.Response(
            status_code=400, headers=[*HEADERS, *more, (b"connection", b"close")], reason=b"Bad Request"
        )
        for event in (answer, h11.Data(data=msg.encode("ascii")), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        super().connection_lost(exc)
        self._wait(None)

    def _wait(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        """Closes it; what is left of a reply is still sent, for a while."""
        if self.transport.is_closing() or not self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        self.transport.close()
        self._wait(self.reply_seconds)


def serve(config: Config, database: Database) -> None:
    """Answers until SIGTERM or SIGINT. Raises ConfigError where it can't listen, or there is no `[console]`."""
    section = section_of(config)
    desk = Desk(config, database, _now)
    oidc = None if section.oidc is None else Oidc(section.oidc, oidc_secret(config), _now)
    app = application(desk, SignIn(Access(section, database, _now), oidc), PAGES)
    listener = _listener(section)
    certificate, key = (
        None if file is None else config.resolve(file) for file in (section.tls_certificate, section.tls_key)
    )
    try:
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",  # its warnings are of what strangers send, and no lines of our log
                access_log=False,
                server_header=False,
                proxy_headers=False,  # `Access` reads them, from trusted proxies alone
                limit_concurrency=MOST_CONNECTIONS,
                timeout_keep_alive=int(HEAD_SECONDS),
                timeout_graceful_shutdown=10,
                h11_max_incomplete_event_size=32 * 1024,
                ssl_certfile=certificate,
                ssl_keyfile=key,
                ssl_version=ssl.PROTOCOL_TLS_SERVER,
            )
        )
        server.config.load()
    except (OSError, ssl.SSLError) as error:
        listener.close()
        raise ConfigError(
            f"console.tls_certificate {certificate}",
            f"it can't be used with {key}: {error.strerror or error}",
            "name PEM files of a certificate and its key that this user may read",
        ) from error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)  # uvicorn raises it again once all is answered
    _log.info("console_listening", listen=section.listen, url=section.url or "", node=config.node)
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
        if section.path is not None:
            section.path.unlink(missing_ok=True)


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def section_of(config: Config) -> ConsoleSection:
    """The console's section. Raises ConfigError where there is none."""
    if config.console is None:
        why = "the configuration has no table [console]"
        raise ConfigError("console", why, "add [console]; all its keys are optional")
    return config.console


def _listener(section: ConsoleSection) -> socket.socket:
    if section.path is not None:
        return listen_at(section.path, "console.listen")
    host, _, port = section.listen.rpartition(":")
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"console.listen {section.listen}",
            error.strerror or str(error),
            "stop what listens there, or name another address and port",
        ) from error
    return listener


def _now() -> datetime:
    return datetime.now(UTC)
