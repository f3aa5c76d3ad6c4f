"""A log that is cut back in its place, by copytruncate or by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from redirectd.sources.follow import FollowedFile
from tests.sources.rotator import Reader, Writer, rotate


@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
def test_copytruncate_grown_past_the_old_offset(writer: Writer, reader: Reader, down: bool) -> None:
    """A truncated log that has grown past the old offset is seen by the bytes before it."""
    writer.write(3)
    reader.drain()
    writer.write(2)
    writer.copytruncate()
    writer.write(50)
    if down:
        reader.restart()
    reader.drain()
    assert reader.delivered == list(range(55))
    assert reader.gaps == []


def test_copytruncate_of_what_was_not_read_at_all(writer: Writer, reader: Reader) -> None:
    """A log that was only looked at, with half a line in it, is found again in its copy."""
    writer.write(3)
    reader.drain()
    rotate(writer, "rename")
    writer.write_half()
    reader.drain()
    writer.write(2)
    writer.copytruncate()
    writer.write(2)
    reader.restart()
    reader.drain()
    assert reader.delivered == list(range(8))
    assert reader.gaps == []


@pytest.mark.parametrize("grown", [0, 1, 50])
@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
def test_truncation_is_a_gap(writer: Writer, reader: Reader, down: bool, grown: int) -> None:
    """Bytes cut away unread are reported, and reading goes on with what was written since."""
    writer.write(5)
    reader.drain()
    writer.write_half()
    reader.drain()
    writer.truncate()
    if grown:
        writer.write(grown)
    if down:
        reader.restart()
    reader.drain()
    assert reader.delivered == [*range(5), *range(6, 6 + grown)]
    assert len(reader.gaps) == 1
    assert reader.gaps[0].at_least == (0 if down else 4)


@pytest.mark.parametrize("grown", [0, 1, 50])
def test_what_waits_behind_a_truncation_counts(writer: Writer, reader: Reader, log: Path, grown: int) -> None:
    """While nothing is polled, all that stands in a file that became shorter is known to wait."""
    writer.write(100)
    reader.drain()
    assert reader.follower.unread() == 0
    writer.truncate()
    writer.write(grown)
    assert reader.follower.unread() == log.stat().st_size


def test_empty_log_that_was_filled_and_copied_away(writer: Writer, reader: Reader) -> None:
    """A log that was empty at the last look, and is again, may have a copy with lines between."""
    writer.write(1)
    reader.drain()
    writer.copytruncate()
    writer.write(1)
    reader.drain()
    writer.truncate()
    reader.drain()
    writer.write(2)
    writer.copytruncate()
    reader.drain()
    assert reader.delivered == list(range(4))


def test_truncation_between_poll_and_position_is_refused(writer: Writer, log: Path) -> None:
    """What was read while the log was truncated under the reader gets no position, and comes again in order."""
    writer.write(5)
    follower = FollowedFile(log)
    segment = follower.poll()
    assert segment
    copy = writer.copytruncate()
    writer.write(30)
    assert follower.position(segment, 20) is None
    segment = follower.poll()
    assert segment
    assert segment.log.name == str(copy)
    follower.close()


@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
def test_cut_back_behind_what_was_read(writer: Writer, reader: Reader, log: Path, down: bool) -> None:
    """A log cut back to a part that was read goes on from there, and the loss is told."""
    writer.write(200)
    reader.drain()
    os.truncate(log, 1500)
    if down:
        reader.restart()
    reader.drain()
    with log.open("ab") as sink:
        sink.write(b"\n" + writer.line(200) + writer.line(201))
    reader.drain()
    assert reader.delivered == list(range(202))
    assert len(reader.gaps) == 1
