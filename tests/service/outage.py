"""What the tests of outages share: a service with traffic, and the look at it while its database is away."""

from __future__ import annotations

import random
import urllib.request
from collections import Counter
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from tests.bench.pjsip_traffic import Traffic
from tests.service.service import Service, source, until


class Site:
    """A service on a database of its own, its log's writer, and its metrics page."""

    def __init__(self, folder: Path, url: str, metrics: str) -> None:
        self.url = url
        self.metrics = metrics
        self.service = Service(folder, watchdog=40.0)
        config = self.service.config.read_text().replace("sqlite:///redirectd.db", url)
        config = config.replace("[daemon]\n", f'[daemon]\nmetrics_listen = "{metrics}"\n')
        if "[policy]\n" not in config:
            config += "\n[policy]\n"
        # All that is written must be found again: more moves than one peer may bring in an hour (R46).
        config = config.replace("[policy]\n", "[policy]\nnew_remaps_per_peer = 100000\n")
        self.service.config.write_text(config)
        self.service.log.touch()
        self.traffic = Traffic(self.service.log, random.Random(1))

    def write(self, turns: int) -> None:
        """So much traffic, with its calls ended."""
        for _ in range(turns):
            self.traffic.turn()
        self.traffic.finish()

    def until_blocked(self) -> str:
        """The status text sent to the service manager, once the status, the metrics and the log say it, too."""
        service = self.service
        service.until_status(lambda status: source(status)["state"] == "blocked", "the status says it")
        service.until_status(lambda status: source(status)["lag_bytes"] > 0, "what waits meanwhile is shown")
        until(lambda: 'redirectd_source_blocked{source="full"} 1' in self.page(), "the metrics say it")
        until(lambda: service.records("database_unavailable"), "the log says it")
        blocked = until(
            lambda: next((one for one in service.notifications() if "blocked" in one.get("STATUS", "")), None),
            "STATUS says it",
        )
        fed = sum("WATCHDOG" in message for message in service.notifications())
        service.until_notified("WATCHDOG", times=fed + 1)
        assert service.process.poll() is None
        return str(blocked["STATUS"])

    def until_caught_up(self) -> None:
        """Everything that was written has been counted, once, and the service says that all is well."""
        expected = self.traffic.moves
        until(lambda: self.counted().total() >= expected.total(), "it catches up")
        self.service.until_status(
            lambda status: source(status)["state"] == "reading" and source(status)["lag_bytes"] == 0, "all is read"
        )
        assert self.counted() == expected
        assert self.service.records("database_back")

    def page(self) -> str:
        """The metrics."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    def counted(self) -> Counter[tuple[str, str]]:
        """Calls by old and new URI, as the database has them."""
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                rows = connection.execute(text("SELECT old_uri, new_uri, calls FROM remap"))
                return Counter({(old, new): calls for old, new, calls in rows})
        except SQLAlchemyError:
            return Counter()
        finally:
            engine.dispose()
