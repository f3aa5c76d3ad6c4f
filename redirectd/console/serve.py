"""The API's process: its socket, and the server on it."""

from __future__ import annotations

import signal
import socket
import ssl
import sys
from datetime import UTC, datetime
from types import FrameType

import structlog
import uvicorn

from redirectd.config.console_section import ConsoleSection
from redirectd.config.model import Config
from redirectd.console.access import Access
from redirectd.console.desk import Desk
from redirectd.console.web import application
from redirectd.errors import ConfigError
from redirectd.service.control import listen_at
from redirectd.store.database import Database

MOST_CONNECTIONS = 200
_log = structlog.get_logger("redirectd.console")


def serve(config: Config, database: Database) -> None:
    """Answers until SIGTERM or SIGINT. Raises ConfigError where it can't listen, or there is no `[console]`."""
    section = section_of(config)
    desk = Desk(config, database, _now)
    app = application(desk, Access(section, database, _now))
    listener = _listener(section)
    certificate, key = (
        None if file is None else config.resolve(file) for file in (section.tls_certificate, section.tls_key)
    )
    try:
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # `Access` reads them, from trusted proxies alone
                limit_concurrency=MOST_CONNECTIONS,
                timeout_keep_alive=15,
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
