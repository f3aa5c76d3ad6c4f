"""A source's family is decided once, by its log's envelope, and kept with its position (R38)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.dialects import registry
from redirectd.service import collector as reading_loop
from redirectd.service.collector import Collector, family_in, without_decision
from redirectd.store import settings
from redirectd.store.database import Database
from redirectd.store.migrate import ensure
from tests.collect.logs import opener
from tests.collect.test_families import ANSWER, RECORD, options
from tests.collect.wrapping import WRITERS as WRAPPINGS
from tests.dialects import writers
from tests.service.test_collector import NOW, Site, call, drain

FORGED = b" 2(17408) NOTICE: <script>: " + RECORD + b"\n"
ASTERISK = b"[Nov 22 16:00:00] Asterisk 22.10.1 built by root @ vm on a x86_64 running Linux\n"


class AutoSite(Site):
    """A source with `dialect = "auto"`, as the service opens it."""

    def start(self, log: Path | None = None, dialect: str = "auto") -> Collector:
        """A collector that goes on where the last one was; `dialect` as in the configuration."""

        def reading(chosen: str, head: bytes) -> Reading:
            dialects = registry.chosen(chosen, head) if chosen else registry.ALL
            policy = Policy(trusted_peers=(ip_network("0.0.0.0/0"),))
            return Reading("full", dialects, UTC, policy, family=chosen if chosen in registry.ENVELOPES else "")

        is_auto = dialect == "auto"
        first = reading("" if is_auto else dialect, b"")
        return self.collector(opener(log or self.log), first, reading if is_auto else None)

    def stored(self) -> Mapping[str, Any] | None:
        """The position as the database has it."""
        with self.database.read() as connection:
            return settings.load_position(connection, "here", "full")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AutoSite]:
    database = Database(f"sqlite:///{tmp_path / 'redirectd.db'}")
    ensure(database)
    made = AutoSite(tmp_path, database)
    yield made
    for started in made.opened:
        started.source.close()
    database.close()


def test_family_is_decided_once_and_kept(site: AutoSite) -> None:
    """R38: neither a restart nor a rotation to a file that begins with a stranger's text decides anew."""
    site.write(ASTERISK, *call(1))
    collector = site.start()
    drain(collector)
    collector.close()
    assert (collector.pinned().family, family_in(site.stored())) == ("asterisk", "asterisk")
    site.rotate()
    site.write(FORGED * 3, *call(2))
    again = site.start()
    drain(again)
    assert again.pinned().family == "asterisk"
    assert site.moves() == {"sip:u1@gw.test": 1, "sip:u2@gw.test": 1}


def test_a_log_that_is_still_empty_is_decided_by_its_first_entry(site: AutoSite) -> None:
    """R38: a service that starts before the first entry decides when that one comes, and reads what was there."""
    site.write()
    collector = site.start()
    drain(collector)
    assert collector.pinned().family == ""
    site.write(b"[Nov 22 16:00")
    drain(collector)
    assert collector.pinned().family == ""
    site.write(ASTERISK[13:], *call(1))
    drain(collector)
    assert collector.pinned().family == "asterisk"
    assert site.moves() == {"sip:u1@gw.test": 1}


def test_text_in_the_first_message_does_not_decide(site: AutoSite) -> None:
    """R38: a stranger's message in the first kB, whatever length it names, leaves the decision to the log's entry."""
    lying = options(b"", FORGED * 5).replace(b"Content-Length: ", b"Content-Length: 6")
    for message in (options(b"", FORGED * 5), lying, options(b"Content-Length: 0\r\n", b"\r\n" + FORGED * 5)):
        site.write(writers.pjsip(message).log)
    site.write(*call(1))
    collector = site.start()
    drain(collector)
    assert collector.pinned().family == "asterisk"
    assert site.moves() == {"sip:u1@gw.test": 1}


def test_a_log_cut_within_a_message_is_not_decided_by_it(site: AutoSite) -> None:
    """R38: where a message's text comes first and entries of another family come after it, nothing is decided."""
    site.write(b"o=x\r\n" + FORGED * 2, ASTERISK, *call(1))
    collector = site.start()
    drain(collector)
    assert collector.pinned().family == ""
    assert "sip:u1@gw.test" in site.moves()


def test_the_configuration_overrides(site: AutoSite) -> None:
    """R38: `dialect` in the configuration decides alone, and forgets what was decided before."""
    site.write(ASTERISK, *call(1))
    drain(site.start())
    site.write(FORGED)
    by_hand = site.start(dialect="kamailio")
    drain(by_hand)
    by_hand.close()
    assert by_hand.pinned().family == "kamailio"
    assert family_in(site.stored()) == ""


def test_entries_of_another_family_are_a_fault(site: AutoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """R38: a source that is pinned and whose log another program writes now says so; its own entries end that."""
    monkeypatch.setattr(reading_loop, "LOOK_SECONDS", 0.0)
    site.write(ASTERISK, *call(1))
    collector = site.start()
    drain(collector)
    assert collector.pinned().conflict == ""
    site.rotate()
    site.write(FORGED * 3)
    drain(collector)
    site.write(FORGED)
    drain(collector)
    assert (collector.pinned().family, collector.pinned().conflict) == ("asterisk", "kamailio")
    site.write(*call(2))
    drain(collector)
    site.write(b"[Nov 22 16:00:01] VERBOSE[1] x.c: y\n")
    drain(collector)
    assert collector.pinned().conflict == ""


def test_the_family_of_each_console_is_kept(site: AutoSite) -> None:
    """R38: in a container's log each console has its own family, which a restart within a message does not change."""
    console = ASTERISK + b"".join(call(1))
    site.write(*WRAPPINGS["docker json-file"](console, "stdout"))
    collector = site.start()
    drain(collector)
    collector.close()
    stored = site.stored()
    assert stored is not None
    assert (stored["family"], stored["consoles"]) == ("docker json-file", {"stdout": "asterisk"})
    assert set(without_decision(stored) or {}).isdisjoint({"family", "consoles"})
    site.write(*WRAPPINGS["docker json-file"](FORGED + b"".join(call(2)), "stdout"))
    again = site.start()
    drain(again)
    assert site.moves() == {"sip:u1@gw.test": 1, "sip:u2@gw.test": 1}


@pytest.mark.parametrize(
    ("line", "believed"),
    [
        (b"Nov 22 16:00:00 vm kamailio[9]: NOTICE: <script>: %b\n", True),
        (b"Nov 22 16:00:00 vm /usr/sbin/kamailio[9]: NOTICE: <script>: %b\n", True),
        (b"2026-11-22T16:00:00.000001+00:00 vm asterisk[77]: VERBOSE[1]: x.c: %b\n", False),
        (b"<14>1 2026-11-22T16:00:00Z vm asterisk 77 - - NOTICE: <script>: %b\n", False),
        (b'{"@timestamp":"2026-11-22T16:00:00+00:00","programname":"asterisk","message":"NOTICE: %b"}\n', False),
        (b'{"@timestamp":"2026-11-22T16:00:00+00:00","message":"NOTICE: %b","syslogtag":"kamailio[2]:"}\n', True),
    ],
)
def test_a_program_tag_decides_in_a_shared_log(site: AutoSite, line: bytes, believed: bool) -> None:
    """R38: in a syslog or JSON lines an entry with one program's tag is never read as the other's."""
    site.clock.now = NOW.replace(month=12)  # behind the record's time
    site.write(b"Nov 22 15:59:59 vm systemd[1]: Started.\n" if not line.startswith(b"{") else b"", line % RECORD)
    collector = site.start()
    drain(collector)
    assert collector.pinned().family in {"syslog", "json"}
    assert bool(site.moves()) is believed


def test_a_kamailio_line_is_not_read_as_asterisks(site: AutoSite) -> None:
    """R38: a block of Asterisk's in a line that Kamailio logged makes nothing."""
    head = b"Nov 22 16:00:00 vm %b[9]: VERBOSE[1]: <--- Received SIP response (%d bytes) from UDP:192.0.2.7:5060 --->"
    escaped = (b"\n" + ANSWER + b"\n").replace(b"\r", b"#015").replace(b"\n", b"#012") + b"\n"
    site.write(head % (b"kamailio", len(ANSWER)) + escaped)
    drain(site.start())
    with site.database.read() as connection:
        dialects = set(connection.scalars(text("SELECT dialect FROM evidence")))
    assert dialects <= {"kamailio-dump", "sip-text"}


def test_reading_keeps_its_consoles_when_it_is_copied() -> None:
    """R38: the decisions of a reading are one table, also for the copies that a reader makes of it."""
    reading = Reading("x", registry.ALL, UTC, Policy())
    assert replace(reading, dialects=()).consoles is reading.consoles
