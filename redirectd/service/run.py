"""`redirectd run` and `redirectd status`: what the command line calls."""

from __future__ import annotations

import faulthandler
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redirectd.config.model import Config
    from redirectd.service.stored import Document
    from redirectd.store.database import Database


def run_service(config_file: Path | None) -> None:
    """Runs until SIGTERM or SIGINT. Raises RedirectdError if it can't start.

    Logging is set up from the configuration, and again at each reload.
    """
    from redirectd.service.daemon import Daemon, Plant
    from redirectd.service.log import configure
    from redirectd.service.site import Site

    faulthandler.enable()  # systemd's watchdog kills by SIGABRT: the journal then shows where each thread hung

    def load(previous: Plant | None) -> Plant:
        site = Site.load(config_file, previous if isinstance(previous, Site) else None)
        daemon = site.config.daemon
        configure(daemon.log_level, json=None if daemon.log_format == "auto" else daemon.log_format == "json")
        return site

    Daemon(load).run()


def status_document(config: Config, database: Database) -> Document:
    """What the daemon says, or the database where no daemon answers (then `daemon.running` is false). Never raises."""
    from redirectd.service.control import ask
    from redirectd.service.status import without_daemon

    answer: Document | None = ask(config.resolve(config.daemon.socket))
    return answer if answer is not None else without_daemon(database, config.node, datetime.now(UTC))
