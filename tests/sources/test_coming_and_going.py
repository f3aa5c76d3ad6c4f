"""A log that is not there yet, is closed to us, comes back as another file, or lies behind a link that is swapped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from redirectd.errors import SourceError
from tests.sources.rotator import STYLES, Reader, Writer, rotate


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
