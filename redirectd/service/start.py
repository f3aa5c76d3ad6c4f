"""`redirectd run` and `redirectd status`: what the command line calls."""

from __future__ import annotations

import faulthandler
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from redirectd.errors import ConfigError

if TYPE_CHECKING:
    from redirectd.config.model import Config
    from redirectd.service.status_document import Document
    from redirectd.store.database import Database


def run_service(config_file: Path | None) -> None:
    """Runs until SIGTERM or SIGINT. Raises RedirectdError if it can't start.

    Logging is set up from the configuration, and again at each reload.
    """
    from redirectd.service.daemon import Daemon, Plant
    from redirectd.service.from_config import Site
    from redirectd.service.log_records import configure, enduring

    faulthandler.enable()  # systemd's watchdog kills by SIGABRT: the journal then shows where each thread hung

    def load(previous: Plant | None) -> Plant:
        site = Site.load(config_file, previous if isinstance(previous, Site) else None)
        daemon = site.config.daemon
        json = None if daemon.log_format == "auto" else daemon.log_format == "json"
        configure(daemon.log_level, stream=enduring(sys.stderr), json=json)
        return site

    Daemon(load).run()


def status_document(load: Callable[[], Config], open_database: Callable[[], Database], file: Path | None) -> Document:
    """What the daemon says, or the database where no daemon answers (then `daemon.running` is false).

    The daemon is asked even where `load` fails, since a refused reload is what one looks for then: `file` is searched
    for its socket, and `configuration_faults` says what is wrong. Raises the ConfigError of `load` or `open_database`
    where nobody answers.
    """
    from redirectd.service.control import ask
    from redirectd.service.status_document import fault_part, without_daemon

    broken: ConfigError | None = None
    try:
        config = load()
        socket = config.resolve(config.daemon.socket)
    except ConfigError as error:
        broken, socket = error, _socket_in(file)
    document: Document | None = ask(socket)
    if document is None:
        if broken is not None:
            raise broken
        database = open_database()
        try:
            document = without_daemon(database, config, datetime.now(UTC))
        finally:
            database.close()
    return {**document, "configuration_faults": fault_part(broken)}


def _socket_in(file: Path | None) -> Path:
    """The status socket that a file names which can't be read as a whole; the default one where it names none."""
    from redirectd.config.load import find
    from redirectd.config.model import DaemonSection

    found, named = find(file), None
    with suppress(OSError):
        text = b"" if found is None else found.read_bytes()
        named = re.search(rb"""^[ \t]*socket[ \t]*=[ \t]*["']([^"'\\\n]+)["']""", text, re.MULTILINE)
    if found is None or named is None:
        default: Path = DaemonSection().socket
        return default
    return found.absolute().parent / os.fsdecode(named[1])
