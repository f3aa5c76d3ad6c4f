"""A log followed through each way of rotating it, on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from redirectd.errors import SourceError
from redirectd.sources.follow import FollowedFile
from redirectd.sources.place import OpenFile, Place, Position
from redirectd.sources.shelf import Shelf
from tests.sources.rotator import STYLES, Reader, Writer, rotate


@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
@pytest.mark.parametrize("rotations", [1, 3])
@pytest.mark.parametrize("style", STYLES)
def test_rotation_loses_nothing(writer: Writer, reader: Reader, style: str, rotations: int, down: bool) -> None:
    """However a log is rotated, and how often between two reads, each line comes once and in order."""
    writer.write(5)
    reader.drain()
    writer.write(5)
    for _ in range(rotations):
        rotate(writer, style)
        writer.write(4)
    if down:
        reader.restart()
    reader.drain()
    assert reader.delivered == list(range(writer.written))
    assert reader.gaps == []


@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
def test_logs_that_begin_alike(writer: Writer, reader: Reader, log: Path, down: bool) -> None:
    """Where every file begins with the same long banner, the bytes before the offset tell them apart."""
    banner = b"#" * 1999 + b"\n"
    log.write_bytes(banner)
    writer.write(5)
    reader.drain()
    writer.write(2)
    writer.copytruncate()
    log.write_bytes(banner)
    writer.write(30)
    if down:
        reader.restart()
    reader.drain()
    assert reader.delivered == list(range(37))
    assert reader.gaps == []


def test_file_of_a_few_bytes_proves_nothing(writer: Writer, reader: Reader, log: Path) -> None:
    """A rotated file of four bytes is not taken for the new one that begins with them."""
    first = writer.line(0)
    log.write_bytes(first[:4])
    reader.drain()
    writer.rename()
    log.write_bytes(first)
    assert reader.drain() == [0]


def test_half_line_lost_while_down(writer: Writer, reader: Reader) -> None:
    """Half a line that was seen, and is gone when reading resumes, is told with its size."""
    writer.write_half()
    reader.drain()
    writer.truncate()
    writer.write(2)
    reader.restart()
    assert reader.drain() == [1, 2]
    assert [gap.at_least for gap in reader.gaps] == [4]


def test_deleted_log_after_a_rotated_one(writer: Writer, reader: Reader) -> None:
    """When the log itself was removed, an older rotated file does not hide that something may be missing."""
    writer.write(2)
    writer.rename()
    writer.write(2)
    assert reader.drain() == [2, 3]
    writer.delete(create=False)
    writer.write(2)
    assert reader.drain() == [4, 5]
    assert [gap.at_least for gap in reader.gaps] == [0]


def test_gap_is_told_until_it_is_committed(writer: Writer, log: Path) -> None:
    """A loss that was told and not confirmed is told again."""
    writer.write(5)
    follower = FollowedFile(log)
    assert follower.poll()
    writer.truncate()
    first = follower.poll()
    again = follower.poll()
    assert first
    assert again
    assert first.gaps == again.gaps
    assert first.gaps[0].at_least > 0
    position = follower.position(again, 0)
    assert position
    follower.advance(position)
    assert follower.poll() is None
    follower.close()


@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
def test_half_a_line_waits(writer: Writer, reader: Reader, down: bool) -> None:
    """Half a line is not consumed, also over a restart, and is whole when its rest is written."""
    writer.write(1)
    writer.write_half()
    assert reader.drain() == [0]
    assert reader.drain() == []
    if down:
        reader.restart()
        assert reader.drain() == []
    writer.write(1)
    assert reader.drain() == [1, 2]


def test_old_file_is_drained_before_the_new_one(writer: Writer, log: Path) -> None:
    """The renamed file is final only when the new one has content, and is read first."""
    writer.write(1)
    follower = FollowedFile(log)
    assert follower.poll()
    writer.rename()
    segment = follower.poll()
    assert segment
    assert not segment.final
    old = segment.log
    writer.write(1)
    segment = follower.poll()
    assert segment
    assert segment.log is old
    assert segment.final
    position = follower.position(segment, old.end())
    assert position
    follower.advance(position)
    segment = follower.poll()
    assert segment
    assert segment.log is not old
    assert not segment.final
    before = segment.log.previous()
    assert before is not None
    assert before.read(0, 100) == writer.line(0)
    follower.close()


def test_writer_that_keeps_the_renamed_file(writer: Writer, reader: Reader, log: Path) -> None:
    """A writer that goes on in the renamed file is followed there, and its late lines are read later too."""
    writer.write(2)
    reader.drain()
    with log.open("ab", buffering=0) as held:
        writer.rename()
        held.write(writer.line(2))
        assert reader.drain() == [2]
        writer.written = 4
        writer.write(1)
        assert reader.drain() == [4]
        held.write(writer.line(3))
        assert reader.drain() == [3]
        reader.restart()
        held.write(writer.line(3))
        writer.write(1)
        assert reader.drain() == [3, 5]
    assert reader.gaps == []


def test_half_line_left_in_a_renamed_file(writer: Writer, reader: Reader, log: Path) -> None:
    """What a renamed file still owes is read to its last byte before the next rotation, and no loss is told."""
    writer.write(2)
    reader.drain()
    with log.open("ab", buffering=0) as held:
        writer.rename()
        writer.write(1)
        assert reader.drain() == [2]
        held.write(b"half a line")
        reader.drain()
        writer.rename()
        writer.write(1)
        assert reader.drain() == [3]
    assert reader.gaps == []


@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
def test_file_renamed_between_looking_and_opening(
    writer: Writer, reader: Reader, monkeypatch: pytest.MonkeyPatch, down: bool
) -> None:
    """A copy that is compressed in the moment it is looked for is looked for again, not told as lost."""
    writer.write(3)
    reader.drain()
    writer.write(2)
    copy = writer.copytruncate()
    writer.write(1)
    opened = Shelf.open

    def packed_before(shelf: Shelf, place: Place) -> OpenFile:
        if place.path == copy and copy.exists():
            writer.pack(copy)
        return opened(shelf, place)

    monkeypatch.setattr(Shelf, "open", packed_before)
    if down:
        reader.restart()
    reader.drain()
    assert not copy.exists()
    assert reader.delivered == list(range(6))
    assert reader.gaps == []


@pytest.mark.parametrize("live", [False, True])
def test_removed_rotated_file_is_a_gap(writer: Writer, reader: Reader, live: bool) -> None:
    """If the file with unread lines is gone when reading resumes, that is told, and what is left is read."""
    writer.write(2)
    reader.drain()
    writer.write(2)
    old = writer.rename()
    writer.write(2)
    if not live:
        reader.restart()
    old.unlink()
    reader.drain()
    assert reader.delivered == [*range(2), *(range(2, 4) if live else ()), 4, 5]
    assert len(reader.gaps) == 1


def test_damaged_gz_is_a_gap(writer: Writer, reader: Reader) -> None:
    """A rotated gz that is cut off gives what it has, and the loss is told."""
    writer.write(2)
    reader.drain()
    writer.write(30_000)
    old = writer.rename(packed=".gz")
    data = old.read_bytes()
    old.write_bytes(data[: len(data) // 2])
    writer.write(1)
    reader.restart()
    found = reader.drain()
    assert found[:10_000] == list(range(2, 10_002))
    assert found[-1] == 30_002
    assert len(reader.gaps) == 1


@pytest.mark.parametrize("name", [".1", ".1.lz4"])
def test_rotated_file_that_cannot_be_unpacked_is_a_gap(writer: Writer, reader: Reader, name: str) -> None:
    """A rotated file compressed in an unknown way is passed over, and the loss names how it is compressed."""
    writer.write(2)
    reader.drain()
    writer.write(2)
    old = writer.rename()
    old.unlink()
    old.with_name(writer.path.name + name).write_bytes(b"\x04\x22\x4d\x18\x64\x40\xa7" + bytes(40))
    writer.write(1)
    reader.restart()
    assert reader.drain() == [4]
    assert any("lz4" in gap.why for gap in reader.gaps)


def test_gz_beside_its_original_is_not_read_twice(writer: Writer, reader: Reader) -> None:
    """While gzip writes `.1.gz` beside `.1`, only the original counts."""
    writer.write(2)
    reader.drain()
    old = writer.rename()
    old.with_name(old.name + ".gz").write_bytes(b"\x1f\x8b\x08")
    writer.write(1)
    reader.restart()
    assert reader.drain() == [2]
    assert reader.gaps == []


def test_asterisk_counts_upwards(writer: Writer, reader: Reader, log: Path) -> None:
    """Asterisk's `rotatestrategy=sequential` gives the newest file the highest number."""
    writer.write(2)
    reader.drain()
    for number in range(3):
        writer.write(2)
        writer.rename(to=log.with_name(f"full.{number}"))
    writer.write(1)
    reader.restart()
    reader.drain()
    assert reader.delivered == list(range(9))


def test_position_survives_json(writer: Writer, reader: Reader) -> None:
    """A position is plain JSON and comes back equal; what is none is refused with what to do."""
    for _ in range(4):
        writer.write(3)
        writer.rename()
        reader.drain()
    stored = reader.commits[-1][2]
    assert stored is not None
    again = json.loads(json.dumps(stored))
    assert Position.from_dict(again).to_dict() == stored
    for broken in ({}, {**again, "offset": -1}, {**again, "head_hash": 3}, {**again, "more": 1}):
        with pytest.raises(SourceError):
            Position.from_dict(broken)
