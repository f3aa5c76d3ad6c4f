"""A followed source with its database: what was found and the position behind it, over crashes, faults and clocks."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.dialects import registry
from redirectd.errors import StoreError
from redirectd.service import collector
from redirectd.service.collector import Collector
from redirectd.service.ingestion import ingest
from redirectd.sources.file import open_log
from redirectd.sources.hep_listener import HepListener
from redirectd.store import settings
from redirectd.store.database import Database
from redirectd.store.migrate import ensure
from tests.collect.logs import MemoryLog, opener, received, request, response, sent
from tests.collect.test_relay import hops

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
NEW = "<sip:new@place.test>"


class Clock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Site:
    """A log, a database, and a collector that can be killed: left alone, without a word to it."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.log = folder / "full.log"
        self.clock = Clock()
        self.database = database
        self.opened: list[Collector] = []

    def start(self, log: Path | None = None, dialect: str = "auto") -> Collector:
        path = log or self.log
        head = path.read_bytes() if path.exists() else b""
        dialects = registry.detect(head) if dialect == "auto" else (registry.by_name(dialect),)
        return self.collector(opener(path), Reading("full", dialects, UTC, Policy()))

    def collector(
        self,
        open_source: Callable[[Mapping[str, Any] | None], Any],
        reading: Reading,
        decided: Callable[[str, bytes], Reading] | None = None,
    ) -> Collector:
        started = Collector(
            open_source,
            reading,
            self.database,
            node="here",
            clock=self.clock,
            on_progress=lambda _progress: None,
            decided=decided,
        )
        self.opened.append(started)
        return started

    def write(self, *messages: bytes) -> None:
        with self.log.open("ab") as log:
            log.write(b"".join(messages))

    def rotate(self) -> None:
        for number in range(8, 0, -1):
            older = self.log.with_name(f"full.log.{number}")
            if older.exists():
                older.rename(self.log.with_name(f"full.log.{number + 1}"))
        self.log.rename(self.log.with_name("full.log.1"))
        self.log.touch()

    def moves(self) -> dict[str, int]:
        with self.database.read() as connection:
            return {str(uri): int(calls) for uri, calls in connection.execute(text("SELECT old_uri, calls FROM remap"))}

    def lost(self) -> dict[str, int]:
        with self.database.read() as connection:
            return {str(kind): int(lost) for kind, lost in connection.execute(text("SELECT kind, count FROM loss"))}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    database = Database(f"sqlite:///{tmp_path / 'redirectd.db'}")
    ensure(database)
    site = Site(tmp_path, database)
    yield site
    for started in site.opened:
        started.source.close()
    database.close()


def drain(collector: Collector) -> int:
    """Pumps until nothing more comes; the sightings."""
    sightings = 0
    while (step := collector.pump()).more:
        sightings += step.sightings
    return sightings + step.sightings


def call(number: int) -> tuple[bytes, bytes]:
    """An INVITE and its 301."""
    name, branch = f"call-{number}", f"z9hG4bKPj{number:012}"
    asked = request(f"sip:u{number}@gw.test", call=name, branch=branch)
    return sent(asked), received(response("301 Moved", NEW, call=name, branch=branch))


def test_a_log_is_begun_on_record(site: Site) -> None:
    """Killed before it found anything, it comes back to the file it began with, though that was rotated meanwhile."""
    site.log.touch()
    assert not site.start().pump().more
    site.write(*call(1))
    site.rotate()
    site.write(*call(2))
    assert drain(site.start()) == 2
    assert site.moves() == {"sip:u1@gw.test": 1, "sip:u2@gw.test": 1}
    assert site.lost() == {}


@pytest.mark.parametrize("rotations", [0, 1, 3])
def test_a_request_before_the_position_is_found(site: Site, rotations: int) -> None:
    """R6: the 301 written after a restart is paired with its request, also some rotated files back."""
    asked, told = call(1)
    site.write(asked)
    first = site.start()
    drain(first)
    first.close()
    for number in range(rotations):
        site.rotate()
        site.write(call(10 + number)[0])
    site.write(told)
    drain(site.start())
    assert site.moves() == {"sip:u1@gw.test": 1}


def test_a_replay_counts_nothing(site: Site) -> None:
    """R8: with a position from before (a restored backup of it) all is read again and every count stays."""
    site.write(*call(1), *call(2), call(2)[1])
    drain(site.start())
    with site.database.begin() as connection:
        connection.execute(text("DELETE FROM position"))
    assert drain(site.start()) == 0
    assert site.moves() == {"sip:u1@gw.test": 1, "sip:u2@gw.test": 1}


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=400), timedelta(days=20_000)])
def test_a_clock_set_back_loses_and_doubles_nothing(site: Site, back: timedelta) -> None:
    """Neither positions nor what was counted go by the clock: set back between reads, restarts and repetitions."""
    site.write(*call(1))
    first = site.start()
    drain(first)
    site.clock.now -= back
    site.write(call(1)[1], *call(2))
    drain(first)
    first.close()
    site.clock.now -= back
    site.write(call(2)[1], *call(3))
    site.rotate()
    site.write(*call(4))
    drain(site.start())
    assert site.moves() == {f"sip:u{number}@gw.test": 1 for number in (1, 2, 3, 4)}
    assert site.lost() == {}


@pytest.mark.parametrize(
    "name", ["asterisk/ast22-pjsip.full.log", "kamailio/snippet-all-cases.log", "kamailio/xlog-syslog.log"]
)
def test_the_dialect_is_told_later_from_a_log_that_was_empty(site: Site, corpus: Path, name: str) -> None:
    """A log that is empty at the start gives the same as one whose dialect could be told from its beginning."""
    content = (corpus / name).read_bytes()
    site.log.touch()
    collector = site.start()
    drain(collector)
    for at in range(0, len(content), 50_000):
        with site.log.open("ab") as log:
            log.write(content[at : at + 50_000])
        drain(collector)
    with open_log(corpus / name) as log:
        other = Database("sqlite:///" + str(site.log.with_name("other.db")))
        ensure(other)
        reading = Reading("full", registry.detect(content[: 1 << 20]), UTC, Policy())
        expected = ingest(log, reading, other, node="here", clock=site.clock)
        with other.read() as connection:
            rows = connection.execute(text("SELECT old_uri, calls FROM remap"))
            assert site.moves() == {row.old_uri: row.calls for row in rows}
        other.close()
    assert expected.sightings > 0


def test_nothing_lags_when_all_is_read(site: Site) -> None:
    """What the end of the log may still complete is held back, and is not a lag; what comes after it is."""
    begun = call(2)[1][:-20]
    site.write(*call(1), b"the beginning of a line that says nothing")
    collector = site.start()
    drain(collector)
    assert collector.lag_bytes() == 0
    site.write(begun)
    assert collector.lag_bytes() == len(begun)
    drain(collector)
    assert collector.lag_bytes() == 0
    site.write(b"x")
    assert collector.lag_bytes() == 1


def test_a_database_that_does_not_take_it_costs_nothing(site: Site) -> None:
    """A commit that fails is tried again from the same place: what it held is counted once."""
    site.write(*call(1), call(1)[1])
    collector = site.start()
    with site.database.begin() as connection:
        connection.execute(text("ALTER TABLE remap RENAME TO away"))
    for _ in range(3):
        with pytest.raises(StoreError):
            collector.pump()
    assert collector.lag_bytes() == site.log.stat().st_size
    with site.database.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO remap"))
    assert drain(collector) == 1
    assert site.moves() == {"sip:u1@gw.test": 1}


def test_r8_a_relayed_copy_is_taken_back_again_after_a_commit_that_failed() -> None:
    """R8: what a batch took back and could not commit is taken back by the next one."""
    told = hops()
    log = MemoryLog(told["C asks B"] + told["B asks A"] + told["B answers C"])
    reader = LogReader(log, Reading("hep", (registry.by_name("hep"),), UTC, Policy()), clock=lambda: NOW)
    first = Batch("hep")
    while reader.read(first, final=False):
        pass
    reader.confirm()
    begin = reader.offset
    log.grow(told["A answers B"])
    retracted = []
    for _ in range(2):
        batch = Batch("hep")
        while reader.read(batch, final=False):
            pass
        retracted.append(batch.retracted)
        reader.undo(log, begin)
    assert retracted[0]
    assert retracted[1] == retracted[0]


def test_lost_bytes_of_a_log_are_counted(site: Site) -> None:
    """A log cut back unread leaves a gap with its bytes, in the database and for the status."""
    site.write(*call(1))
    collector = site.start()
    drain(collector)
    site.write(b"half of a message" * 10)
    drain(collector)
    with site.log.open("r+b") as log:
        log.truncate(0)
    site.write(*call(2))
    drain(collector)
    assert site.lost()["gap"] == 1
    assert collector.losses() == site.lost()


def test_what_a_hep_listener_turns_away_is_counted(site: Site) -> None:
    """Datagrams that are no HEP are told at once, and stored with the next ones that are."""
    collector = site.collector(
        lambda _stored: HepListener("hep", port=0), Reading("hep", (registry.by_name("hep"),), UTC, Policy())
    )
    listener = collector.source
    assert isinstance(listener, HepListener)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.sendto(b"nonsense", ("127.0.0.1", listener.port))
        _until(lambda: collector.losses() == {"malformed": 1})
        for message in hops().values():
            agent.sendto(message[4:], ("127.0.0.1", listener.port))
        _until(lambda: drain(collector) or site.moves())
    assert site.lost() == {"malformed": 1}


def _until(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def traffic_at(site: Site) -> datetime | None:
    """When the newest message in the node's logs was logged, as far as is known."""
    with site.database.read() as connection:
        return settings.traffic(connection).get("here")


def ringing(at: datetime) -> bytes:
    """A message that makes no remap."""
    return received(response(status="180 Ringing"), stamp=f"{at:%Y-%m-%d %H:%M:%S}")


def test_r45_how_new_the_traffic_is_that_was_read(site: Site) -> None:
    """R45: the time of the newest message is kept, over restarts and archives; future dates and texts are nothing."""
    first, later = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    site.write(b"")
    for read in (ringing(first), b"[2026-11-22 17:59:00] NOTICE[1] pbx.c: none\n", ringing(NOW + timedelta(days=400))):
        collector = site.start()
        site.write(read)
        drain(collector)
        collector.close()
        assert traffic_at(site) == first
    reading = Reading("full", registry.detect(ringing(first)), UTC, Policy())
    for archive in (ringing(later), ringing(first)):
        ingest(MemoryLog(archive), reading, site.database, node="here", clock=site.clock)
        assert traffic_at(site) == later


def test_a_step_ends_after_half_a_second_whatever_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """R25: a log that is slow to read is committed in parts, between which a stop and the watchdog are served."""
    site.log.write_bytes(b"".join(part for number in range(200) for part in call(number)))
    ticks = count(step=collector.STEP_SECONDS / 2)
    monkeypatch.setattr(collector, "monotonic", lambda: float(next(ticks)))
    following = site.start()
    steps = [following.pump()]
    while steps[-1].more:
        steps.append(following.pump())
    assert sum(one.sightings for one in steps) == 200
    assert max(one.sightings for one in steps) < 200
