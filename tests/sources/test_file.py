"""Files read once: plain, gz, pipes, and what is damaged."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import time
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.errors import SourceError
from redirectd.sources import gz
from redirectd.sources.file import PlainLog, StreamLog, adopt, open_log
from redirectd.sources.rotation import siblings
from redirectd.sources.spool import SpoolLog

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.fixture(params=["isal", "zlib"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both decompressors: igzip where installed, and zlib as where it is not."""
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setattr(gz, "_codec", lambda: zlib)
    return str(request.param)


def test_plain_file_gives_its_bytes(tmp_path: Path) -> None:
    """A plain file reads the same by offset, in blocks, and gives nothing at its end."""
    path = tmp_path / "full"
    path.write_bytes(TEXT)
    with open_log(path) as log:
        assert isinstance(log, PlainLog)
        assert whole(log) == TEXT
        assert log.read(len(TEXT) - 5, 100) == TEXT[-5:]
        assert log.read(len(TEXT), 10) == b""


def test_gz_is_told_by_its_content(tmp_path: Path, codec: str) -> None:
    """A gz reads as its text whatever its name, and a name ending in .gz does not make a gz."""
    named, unnamed, wrong = tmp_path / "full.1.gz", tmp_path / "old", tmp_path / "plain.gz"
    named.write_bytes(gzip.compress(TEXT))
    unnamed.write_bytes(gzip.compress(TEXT))
    wrong.write_bytes(TEXT)
    for path in (named, unnamed, wrong):
        with open_log(path) as log:
            assert whole(log) == TEXT, (codec, path.name)
            assert log.losses == []


def test_gz_members_and_padding(tmp_path: Path, codec: str) -> None:
    """Several members in a row are one text, an empty member ends nothing, zero padding is skipped."""
    path = tmp_path / "full.gz"
    members = [TEXT[:1_500_000], b"", TEXT[1_500_000:]]
    path.write_bytes(b"".join(gzip.compress(member) + bytes(300_000) for member in members))
    with open_log(path) as log:
        assert whole(log) == TEXT, codec
        assert log.losses == []


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.999])
def test_truncated_gz_gives_what_is_there_and_one_loss(tmp_path: Path, codec: str, keep: float) -> None:
    """A gz cut off anywhere gives the text before the cut, and then one recorded loss."""
    path = tmp_path / "full.gz"
    packed = gzip.compress(TEXT)
    path.write_bytes(packed[: int(len(packed) * keep)])
    with open_log(path) as log:
        text = whole(log)
        assert TEXT.startswith(text), codec
        assert len(text) > len(TEXT) * keep * 0.5
        assert len(log.losses) == 1
        assert f"after {len(text)} bytes" in log.losses[0].where


def test_damaged_gz_gives_what_stands_before_the_damage(tmp_path: Path, codec: str) -> None:
    """A flipped byte in the middle of a gz costs what follows it, and is recorded once."""
    path = tmp_path / "full.gz"
    packed = bytearray(gzip.compress(TEXT))
    middle = len(packed) // 2
    packed[middle : middle + 64] = bytes(64)
    path.write_bytes(packed)
    with open_log(path) as log:
        text = whole(log)
        assert text[:2_000_000] == TEXT[:2_000_000], codec
        assert len(log.losses) == 1


def test_wrong_checksum_keeps_the_text(tmp_path: Path, codec: str) -> None:
    """A gz whose checksum alone is wrong gives its text up to the last step, and the loss is recorded."""
    path = tmp_path / "full.gz"
    packed = bytearray(gzip.compress(TEXT))
    packed[-6] ^= 1
    path.write_bytes(packed)
    with open_log(path) as log:
        text = whole(log)
        assert TEXT.startswith(text), codec
        assert len(text) >= len(TEXT) - gz.STEP
        assert len(log.losses) == 1


def test_garbage_behind_a_gz_is_told(tmp_path: Path, codec: str) -> None:
    """Bytes behind the last member that are no gz are recorded as a loss, not passed on."""
    path = tmp_path / "full.gz"
    path.write_bytes(gzip.compress(b"line\n") + b"garbage")
    with open_log(path) as log:
        assert whole(log) == b"line\n", codec
        assert len(log.losses) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_pipe(packed: bool) -> None:
    """A pipe gives its text, inflated where gz was piped in."""
    reading, writing = os.pipe()
    text = TEXT * 3
    data = gzip.compress(text) if packed else text

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


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    """A missing file and a directory are refused with the path and what to do."""
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(SourceError) as caught:
            open_log(path)
        assert caught.value.where == str(path)
        assert caught.value.what_to_do


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
