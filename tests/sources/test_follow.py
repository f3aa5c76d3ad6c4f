"""A log followed through each way of rotating it, on real files."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redirectd.errors import SourceError
from redirectd.sources.follow import FollowedFile
from redirectd.sources.place import OpenFile, Place
from redirectd.sources.position import Position
from redirectd.sources.shelf import Shelf
from tests.sources.rotator import Reader, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
STYLES = ["rename", "rename-gz", "rename-nocreate", "dateext", "dateext-gz", "copytruncate", "copytruncate-gz"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder / "full"


@pytest.fixture
def writer(log: Path) -> Writer:
    return Writer(log)


@pytest.fixture
def reader(log: Path) -> Iterator[Reader]:
    reader = Reader(log)
    yield reader
    reader.follower.close()


def rotate(writer: Writer, style: str) -> Path:
    to = writer.dated() if style.startswith("dateext") else None
    if style.startswith("copytruncate"):
        return writer.copytruncate(packed=style.endswith("gz"))
    return writer.rename(to=to, create=not style.endswith("nocreate"), packed=style.endswith("gz"))


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


def test_missing_log_and_its_coming(writer: Writer, reader: Reader, log: Path) -> None:
    """A log that does not exist yet is waited for, with the reason shown, and read from its start."""
    log.parent.rmdir()
    assert reader.drain() == []
    assert reader.follower.trouble is not None
    log.parent.mkdir()
    writer.write(2)
    assert reader.drain() == [0, 1]
    assert reader.follower.trouble is None


def test_older_rotated_files_are_not_read_at_first(writer: Writer, reader: Reader) -> None:
    """At first sight only the log itself is read; later rotations do not bring back the older files."""
    writer.write(2)
    rotate(writer, "rename-gz")
    writer.write(2)
    rotate(writer, "rename")
    writer.write(2)
    assert reader.drain() == [4, 5]
    rotate(writer, "rename-gz")
    reader.restart()
    writer.write(1)
    assert reader.drain() == [6]


@pytest.mark.parametrize("older", [False, True], ids=["alone", "older"])
@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
@pytest.mark.parametrize("style", STYLES)
def test_log_that_came_and_was_rotated_before_it_was_read(
    writer: Writer, reader: Reader, style: str, down: bool, older: bool
) -> None:
    """Once it was looked for, a log that comes and is rotated is read, also over a restart; older ones are not."""
    if older:
        writer.write(3)
        rotate(writer, "rename-nocreate")
    before = writer.written
    assert reader.drain() == []
    if down:
        reader.restart()
    for _ in range(2):
        writer.write(4)
        rotate(writer, style)
    writer.write(1)
    if down:
        reader.restart()
    reader.drain()
    assert reader.delivered == list(range(before, writer.written))
    assert reader.gaps == []


@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
def test_log_closed_to_us_and_rotated_before_it_was_read(plain_user: Path, down: bool) -> None:
    """A log that could not be opened at the first start is read when it can, though it was rotated meanwhile."""
    log = plain_user / "full"
    writer, reader = Writer(log), Reader(log)
    writer.write(2)
    log.chmod(0)
    assert reader.drain() == []
    assert reader.follower.trouble is not None
    old = writer.rename()
    writer.write(1)
    if down:
        reader.restart()
    old.chmod(0o600)
    assert reader.drain() == [0, 1, 2]
    assert reader.gaps == []
    reader.follower.close()


def test_from_end(writer: Writer, log: Path) -> None:
    """With `from_end` what stands there already is not read."""
    writer.write(3)
    reader = Reader(log, from_end=True)
    assert reader.drain() == []
    writer.write(2)
    assert reader.drain() == [3, 4]
    reader.follower.close()


@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
def test_inode_reuse(writer: Writer, reader: Reader, log: Path, down: bool) -> None:
    """A new log in the same inode, with the old one kept under another, is told by its head."""
    writer.write(30)
    reader.drain()
    copy = writer.shift()
    copy.write_bytes(log.read_bytes())
    with log.open("r+b") as same_inode:
        for number in range(30, 80):
            same_inode.write(writer.line(number))
    if down:
        reader.restart()
    reader.drain()
    assert reader.delivered == list(range(80))
    assert reader.gaps == []


@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
def test_symlink_swap(tmp_path: Path, down: bool) -> None:
    """A link moved to another file: the old target is drained first, whatever it is called."""
    link, first, second = tmp_path / "current", tmp_path / "monday.log", tmp_path / "tuesday.log"
    monday, tuesday = Writer(first), Writer(second)
    monday.write(3)
    link.symlink_to(first)
    reader = Reader(link)
    reader.drain()
    monday.write(2)
    tuesday.written = 5
    tuesday.write(2)
    link.unlink()
    link.symlink_to(second)
    if down:
        reader.restart()
    reader.drain()
    assert reader.delivered == list(range(7))
    reader.follower.close()


def test_directories_swapped_and_back(writer: Writer, reader: Reader, log: Path, tmp_path: Path) -> None:
    """Another directory moved under the path is read, and when the first comes back it goes on where it was left."""
    writer.write(30)
    reader.drain()
    log.parent.rename(tmp_path / "aside")
    assert reader.drain() == []
    log.parent.mkdir()
    writer.write(30)
    assert reader.drain() == list(range(30, 60))
    log.parent.rename(tmp_path / "second")
    (tmp_path / "aside").rename(log.parent)
    writer.write(30)
    assert reader.drain() == list(range(60, 90))
    assert sorted(set(reader.delivered)) == reader.delivered


@pytest.fixture
def plain_user() -> Iterator[Path]:
    """A folder of a user whom permissions bind, who is also the effective user of the test."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        os.chown(name, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def test_permission_comes_and_goes(plain_user: Path) -> None:
    """A log that can't be opened is waited for with the reason shown, and nothing of it is passed over."""
    log = plain_user / "full"
    writer, reader = Writer(log), Reader(log)
    writer.write(2)
    reader.drain()
    writer.write(1)
    old = writer.rename()
    writer.write(1)
    old.chmod(0)
    reader.restart()
    assert reader.drain() == []
    assert isinstance(reader.follower.trouble, SourceError)
    assert reader.follower.trouble.where == str(old)
    old.chmod(0o600)
    log.chmod(0)
    assert reader.drain() == [2]
    assert reader.follower.trouble is not None
    log.chmod(0o600)
    assert reader.drain() == [3]
    assert reader.follower.trouble is None
    assert reader.gaps == []


def test_no_regular_file(log: Path, reader: Reader) -> None:
    """A directory or a pipe under the path is trouble that is told, and blocks nothing."""
    os.mkfifo(log)
    assert reader.drain() == []
    assert reader.follower.trouble is not None
    assert "regular" in reader.follower.trouble.why


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
    old = writer.rename(packed=True)
    data = old.read_bytes()
    old.write_bytes(data[: len(data) // 2])
    writer.write(1)
    reader.restart()
    found = reader.drain()
    assert found[:10_000] == list(range(2, 10_002))
    assert found[-1] == 30_002
    assert len(reader.gaps) == 1


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
