"""Files read once: plain ones, pipes, and what is not a file."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.errors import SourceError
from redirectd.sources.file import PlainLog, StreamLog, adopt, open_log, refuse_unreadable, siblings
from redirectd.sources.spool import SpoolLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from redirectd.sources.log import Log

TEXT = b"".join(b"%07d a line of a log\n" % number for number in range(200_000))  # 5 MB


def whole(log: Log, block: int = 1 << 20) -> bytes:
    """All of `log`, read as the reader does: block by block into one buffer."""
    buffer, parts, offset = bytearray(block), [], log.start
    while count := log.read_into(offset, memoryview(buffer)):
        parts.append(bytes(buffer[:count]))
        offset += count
    assert log.end() == offset
    return b"".join(parts)


def test_plain_file_gives_its_bytes(tmp_path: Path) -> None:
    """A plain file reads the same by offset, in blocks, and gives nothing at its end."""
    path = tmp_path / "full"
    path.write_bytes(TEXT)
    with open_log(path) as log:
        assert isinstance(log, PlainLog)
        assert whole(log) == TEXT
        assert log.read(len(TEXT) - 5, 100) == TEXT[-5:]
        assert log.read(len(TEXT), 10) == b""


def test_pipe() -> None:
    """A pipe gives its text within the bounded window."""
    reading, writing = os.pipe()
    text = data = TEXT * 3

    def write() -> None:
        with os.fdopen(writing, "wb") as sink:
            sink.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with adopt(reading, "pipe") as log:
        assert isinstance(log, StreamLog)
        assert whole(log) == text
        assert log.start > 0
        with pytest.raises(ValueError, match="before the kept window"):
            log.read(log.start - 1, 10)
    writer.join()


def test_standard_input_of_a_real_process() -> None:
    """`-` reads what is piped into the process."""
    program = (
        "import sys; from redirectd.sources.file import open_log\n"
        "log = open_log('-'); sys.stdout.buffer.write(log.read(0, 100))"
    )
    run = subprocess.run([sys.executable, "-c", program], input=b"one\ntwo\n", capture_output=True, check=True)
    assert run.stdout == b"one\ntwo\n"


@pytest.mark.parametrize("kind", ["missing", "a directory", "a FIFO", "a device", "a socket"])
@pytest.mark.parametrize("refuse", [open_log, refuse_unreadable])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str, refuse: Callable[[str], object]) -> None:
    """A missing file, a directory, a FIFO without a writer, a device and a socket: path, reason and what to do."""
    path = Path("/dev/zero") if kind == "a device" else tmp_path if kind == "a directory" else tmp_path / "log"
    listener = socket.socket(socket.AF_UNIX)
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a socket":
        listener.bind(str(path))
    with closing(listener), pytest.raises(SourceError) as caught:
        refuse(str(path))
    assert caught.value.where == str(path)
    assert kind in caught.value.why or kind == "missing"
    assert caught.value.what_to_do


def test_pipe_that_is_open_already_is_read_under_its_name() -> None:
    """A shell's `<(...)` and `/dev/stdin` name a pipe that waits for no other side."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as sink:
        sink.write(b"one\n")
    refuse_unreadable(f"/dev/fd/{reading}")
    with open_log(f"/dev/fd/{reading}") as log:
        assert whole(log) == b"one\n"
    os.close(reading)


def test_empty_inputs(tmp_path: Path) -> None:
    """An empty file and an empty pipe are at their end at once, without a loss."""
    path = tmp_path / "full"
    path.touch()
    reading, writing = os.pipe()
    os.close(writing)
    for log in (open_log(path), adopt(reading, "pipe")):
        with log:
            assert whole(log) == b""
            assert log.losses == []


def test_previous_is_the_rotated_file_before(tmp_path: Path) -> None:
    """The file before `full` is `full.1`, before that `full.2.gz`, and then none."""
    for name, data in (("full", b"three"), ("full.1", b"two"), ("full.2.gz", gzip.compress(b"one"))):
        (tmp_path / name).write_bytes(data)
    with open_log(tmp_path / "full") as log:
        first = log.previous()
        assert first is not None
        assert first.read(0, 10) == b"two"
        second = first.previous()
        assert second is not None
        assert second.end() == 3
        assert second.read(0, 10) == b"one"
        assert second.previous() is None


@given(
    chunks=st.lists(st.binary(max_size=40), max_size=30),
    reads=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), max_size=20),
)
def test_spool_is_a_window_on_the_stream(chunks: list[bytes], reads: list[tuple[int, int]]) -> None:
    """Whatever is read in whatever order, the spool gives the stream's bytes or says that they are forgotten."""
    stream, source = b"".join(chunks), iter([chunk for chunk in chunks if chunk])
    log = SpoolLog("x", lambda: next(source, b""), back=50)
    farthest = 0
    for offset, size in reads:
        if offset < log.start:
            assert offset < farthest - 50
            with pytest.raises(ValueError, match="window"):
                log.read(offset, size)
        else:
            assert log.read(offset, size) == stream[offset : offset + size]
            farthest = max(farthest, min(offset + size, len(stream)))


def test_spool_memory_is_flat() -> None:
    """100 MB through a spool keep no more than the window and what was read ahead."""
    block, count = bytes(1 << 20), iter(range(100))
    log = SpoolLog("x", lambda: block if next(count, None) is not None else b"")
    buffer, offset, kept = memoryview(bytearray(1 << 20)), 0, 0
    while got := log.read_into(offset, buffer):
        offset += got
        kept = max(kept, offset - log.start)
    assert offset == 100 << 20
    assert kept <= 10 << 20


def test_held_spool_keeps_what_is_not_released() -> None:
    """A held spool forgets nothing before it is released, however far it was read."""
    log = SpoolLog("x", back=0, hold=True)
    for number in range(1000):
        log.feed(b"%03d" % number * 1000)
    assert log.ahead == 3_000_000
    log.read(2_900_000, 1000)
    assert log.read(0, 3) == b"000"
    log.release(2_000_000)
    assert log.ahead == 1_000_000
    assert log.start > 1_000_000
    assert log.read(2_001_000, 3) == b"667"


def test_a_listing_while_files_are_renamed_is_whole(tmp_path: Path) -> None:
    """Rotated files that are renamed one after the other while they are listed are all in the list."""
    log = tmp_path / "full"
    for number in range(1, 9):
        log.with_name(f"full.{number}").write_text(str(number))
    inodes = {sibling.inode for sibling in siblings(log)}
    over = threading.Event()

    def shift() -> None:
        while not over.is_set():
            for old, new in ((range(8, 0, -1), 1), (range(2, 10), -1)):
                for number in old:
                    log.with_name(f"full.{number}").rename(log.with_name(f"full.{number + new}"))
                time.sleep(0.002)

    renaming = threading.Thread(target=shift)
    renaming.start()
    try:
        for _ in range(300):
            assert {sibling.inode for sibling in siblings(log)} == inodes
    finally:
        over.set()
        renaming.join()
