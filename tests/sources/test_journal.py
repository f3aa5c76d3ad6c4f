"""The journal through the real journalctl, over a journal that a private systemd-journald writes."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redirectd.sources.journald import Journald, JournalPosition
from tests.peers.lab.process import Child, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

JOURNALD = Path("/lib/systemd/systemd-journald")
_numbers = itertools.count()


class PrivateJournal:
    """A journal namespace of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.options = (f"--namespace={name}",)

    @property
    def socket(self) -> Path:
        return Path(f"/run/systemd/journal.{self.name}/socket")

    def write(self, *messages: bytes, identifier: str = "kamailio") -> None:
        """Send entries as sd_journal_send does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(self.socket))
            for message in messages:
                field = b"MESSAGE\n" + struct.pack("<Q", len(message)) + message + b"\n"
                sender.send(b"PRIORITY=5\nSYSLOG_IDENTIFIER=" + identifier.encode() + b"\n" + field)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateJournal]:
    if not JOURNALD.exists() or os.geteuid() != 0 or shutil.which("journalctl") is None:
        if os.environ.get("CI"):
            pytest.fail("needs systemd-journald, journalctl and root")
        pytest.skip("needs systemd-journald, journalctl and root")
    journal = PrivateJournal(f"redirectd{os.getpid()}")
    with Child([str(JOURNALD), journal.name], tmp_path_factory.mktemp("journald") / "output") as child:
        child.wait_until(journal.socket.exists, "the journal's socket")
        yield journal
    machine = Path("/etc/machine-id").read_text("ascii").strip()
    shutil.rmtree(journal.socket.parent, ignore_errors=True)
    for root in ("/var/log/journal", "/run/log/journal"):
        shutil.rmtree(f"{root}/{machine}.{journal.name}", ignore_errors=True)


@pytest.fixture
def tag() -> bytes:
    """Begins the messages of one test."""
    return b"t%d-" % next(_numbers)


class Clock:
    """Counts up a minute at each look, so that no pause is waited for."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 60
        return self.now


def message(line: bytes) -> bytes:
    told = json.loads(line)["MESSAGE"]
    return told.encode() if isinstance(told, str) else bytes(told)


class Reading:
    """Reads the journal as the service does."""

    def __init__(self, daemon: PrivateJournal, tag: bytes, position: JournalPosition | None = None) -> None:
        self.tag = tag
        self.found: list[bytes] = []
        self.position = position
        self.gaps: list[str] = []
        self.journal = Journald("journal", position, options=daemon.options, clock=Clock())

    def turn(self) -> None:
        segment = self.journal.poll()
        if segment is None:
            time.sleep(0.01)
            return
        assert segment.end is not None
        text = segment.log.read(segment.start, segment.end - segment.start)
        assert text.endswith(b"\n") or not text
        self.found += [m for m in map(message, text.splitlines()) if m.startswith(self.tag)]
        self.gaps += [gap.why for gap in segment.gaps]
        position = self.journal.position(segment, segment.end)
        assert position is not None
        self.position = JournalPosition.from_dict(json.loads(json.dumps(position.to_dict())))
        self.journal.advance(position)

    def until(self, count: int) -> list[bytes]:
        def enough() -> bool:
            self.turn()
            return len(self.found) >= count

        wait_until(enough, f"{count} messages, found {len(self.found)}")
        return self.found


def test_reads_what_is_there_and_follows(daemon: PrivateJournal, tag: bytes) -> None:
    """Entries written before and after the start come once, in order: long, with CR LF, and not UTF-8."""
    written = [tag + b"%d " % number + b"x" * (6000 if number % 5 == 0 else 0) + b"\r\n\xff" for number in range(30)]
    daemon.write(*written)
    reading = Reading(daemon, tag)
    assert reading.until(30) == written
    more = [tag + b"later %d" % number for number in range(20)]
    daemon.write(*more)
    assert reading.until(50) == written + more
    assert reading.gaps == []
    reading.journal.close()


def test_waits_for_a_first_entry_without_starting_again(daemon: PrivateJournal, tag: bytes, tmp_path: Path) -> None:
    """Where nothing fits yet, journalctl is started to read to the end and to follow, and not once more each second."""
    started = tmp_path / "started"
    program = tmp_path / "journalctl"
    program.write_text(f'#!/bin/sh\necho x >>"{started}"\nexec journalctl "$@"\n')
    program.chmod(0o755)
    identifier = f"none-{tag.decode()}"
    journal = Journald(
        "journal",
        options=daemon.options,
        matches=[f"SYSLOG_IDENTIFIER={identifier}"],
        program=str(program),
        clock=Clock(),
    )
    wait_until(lambda: journal.poll() is None and journal._following, "it follows")
    for _ in range(50):
        assert journal.poll() is None
        time.sleep(0.01)
    assert started.read_text().split() == ["x", "x"]
    daemon.write(tag + b"first", identifier=identifier)

    def found() -> bool:
        segment = journal.poll()
        return segment is not None and tag + b"first" in segment.log.read(segment.start, segment.end or 0)

    wait_until(found, "the first entry")
    assert started.read_text().split() == ["x", "x"]
    assert not journal.gaps
    journal.close()


def test_goes_on_after_the_last_boot(daemon: PrivateJournal, tag: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the last entry is of an earlier boot, this boot is followed from its beginning, by no cursor."""
    daemon.write(tag + b"before")
    reading = Reading(daemon, tag)
    reading.until(1)
    reading.journal.close()
    # The entry's boot is no longer the present one; what journalctl follows is, so what stands there is new.
    monkeypatch.setattr("redirectd.sources.journald._this_boot", lambda: "0" * 32)
    again = Reading(daemon, tag + b"x", reading.position)
    wait_until(lambda: again.turn() or again.journal._following, "it follows")  # type: ignore[func-returns-value]
    assert "--cursor" not in " ".join(map(str, again.journal._child.args))  # type: ignore[union-attr,arg-type]
    daemon.write(tag + b"x0")
    assert again.until(1) == [tag + b"x0"]
    assert again.gaps == []
    again.journal.close()


def test_goes_on_after_the_cursor(daemon: PrivateJournal, tag: bytes) -> None:
    """After a restart only what came since the confirmed entry is read, more than the ten lines of a tail."""
    daemon.write(tag + b"first")
    reading = Reading(daemon, tag)
    reading.until(1)
    reading.journal.close()
    written = [tag + b"%d" % number for number in range(25)]
    daemon.write(*written)
    again = Reading(daemon, tag, reading.position)
    assert again.until(25) == written
    assert again.gaps == []
    again.journal.close()


def test_unconfirmed_entries_come_again(daemon: PrivateJournal, tag: bytes) -> None:
    """Positions lie between entries: what stands behind the confirmed one comes again after a crash."""
    daemon.write(*(tag + b"%d" % number for number in range(4)))
    journal = Journald("journal", options=daemon.options, clock=Clock())
    reading = Reading(daemon, tag)
    reading.until(4)

    def all_there() -> bool:
        segment = journal.poll()
        return segment is not None and tag + b"3" in segment.log.read(segment.start, segment.end or 0)

    wait_until(all_there, "the last entry")
    segment = journal.poll()
    assert segment is not None
    text = segment.log.read(segment.start, segment.end or 0)
    third = text.index(tag + b"2")
    end_of_second = text.rindex(b"\n", 0, third) + 1
    position = journal.position(segment, third)
    assert position == JournalPosition.of(text[text.rindex(b"\n", 0, end_of_second - 1) + 1 : end_of_second])
    journal.close()
    reading.journal.close()
    again = Reading(daemon, tag, position)
    assert again.until(2) == [tag + b"2", tag + b"3"]
    again.journal.close()


def test_foreign_cursor_goes_by_time_and_is_told(daemon: PrivateJournal, tag: bytes) -> None:
    """A well-formed cursor of another journal is noticed; reading goes on from the kept time, with a gap told."""
    daemon.write(tag + b"0")
    reading = Reading(daemon, tag)
    reading.until(1)
    reading.journal.close()
    assert reading.position is not None
    daemon.write(tag + b"1", tag + b"2")
    foreign = reading.position.cursor.replace("s=", "s=dead", 1)[:-1] + "0"
    foreign = foreign.replace("s=dead" + reading.position.cursor[2:6], "s=dead", 1)
    again = Reading(daemon, tag, JournalPosition(foreign, reading.position.realtime))
    assert again.until(3) == [tag + b"0", tag + b"1", tag + b"2"]
    assert len(again.gaps) == 1
    again.journal.close()


def test_killed_journalctl_is_started_again(daemon: PrivateJournal, tag: bytes) -> None:
    """When journalctl dies, another goes on behind the last entry."""
    daemon.write(tag + b"0")
    reading = Reading(daemon, tag)
    reading.until(1)
    for number in range(1, 4):

        def has_child() -> bool:
            reading.turn()
            return reading.journal._child is not None

        wait_until(has_child, "a child")
        assert reading.journal._child is not None
        reading.journal._child.kill()
        daemon.write(tag + b"%d" % number)
        reading.until(number + 1)
    assert reading.found == [tag + b"%d" % number for number in range(4)]
    assert reading.gaps == []
    reading.journal.close()


def test_back_pressure(daemon: PrivateJournal, tag: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not confirmed is not read beyond the bound; confirmed, the rest follows without loss."""
    monkeypatch.setattr("redirectd.sources.journald.AHEAD", 100_000)
    daemon.write(*(tag + b"%d " % number + b"x" * 2000 for number in range(300)))
    journal = Journald("journal", options=daemon.options, clock=Clock())
    wait_until(lambda: (journal.poll() and journal.unread() >= 100_000) or False, "the bound")
    for _ in range(50):
        journal.poll()
    assert journal.unread() < 100_000 + (512 << 10)
    journal.close()
    reading = Reading(daemon, tag)
    assert len(reading.until(300)) == 300
    reading.journal.close()


def test_trouble_is_told() -> None:
    """A journalctl that is missing or fails is trouble with its own words, and is tried again."""
    missing = Journald("journal", program="/nonexistent/journalctl", clock=Clock())
    assert missing.poll() is None
    assert missing.trouble is not None
    failing = Journald("journal", options=("--directory=/nonexistent",), clock=Clock())
    if shutil.which("journalctl"):
        wait_until(lambda: failing.poll() is None and failing.trouble is not None, "the failure")
        assert failing.trouble is not None
        assert "/nonexistent" in failing.trouble.why
    failing.close()
