"""Compressed logs: gz, xz, bz2 and zstd give their text, whatever happened to the file; others are refused by name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
import zlib
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from redirectd.errors import SourceError
from redirectd.sources import compressed
from redirectd.sources.compressed import BOMB_RATIO, STEP, Unpack, packing_of, refusal
from redirectd.sources.file import StreamLog, adopt, open_log
from tests.sources.test_file import TEXT, whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zstd": zstandard.compress,
}
CUT = {"gz": 0.5, "xz": 0.5, "bz2": 0.05, "zstd": 0.05}
"""How much of the kept part's text comes out at least: bz2 and zstd give theirs in large blocks."""
FOREIGN = {
    "lz4": b"\x04\x22\x4d\x18\x64\x40\xa7",
    "compress (.Z)": b"\x1f\x9d\x90\x4e\xdc\x70",
    "lzma": lzma.compress(b"a log\n", format=lzma.FORMAT_ALONE),
    "lzip": b"LZIP\x01\x0c\x00",
    "zip": b"PK\x03\x04\x14\x00",
    "7z": b"7z\xbc\xaf\x27\x1c\x00\x04",
    "zlib": zlib.compress(b"a log\n"),
}


@pytest.fixture(params=["gz", "gz-zlib", "xz", "bz2", "zstd"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each kind, and gz by both decompressors: igzip where installed, and zlib as where it is not."""
    if request.param == "gz-zlib":
        monkeypatch.setattr(compressed, "_zlib", lambda: zlib)
    elif request.param == "gz":
        pytest.importorskip("isal")
    return str(request.param).partition("-")[0]


def test_compression_is_told_by_content(tmp_path: Path, kind: str) -> None:
    """A compressed log reads as its text whatever its name, and a name alone does not make one."""
    named, unnamed, wrong = (tmp_path / name for name in (f"full.1.{kind}", "old", f"plain.{kind}"))
    named.write_bytes(KINDS[kind](TEXT))
    unnamed.write_bytes(KINDS[kind](TEXT))
    wrong.write_bytes(TEXT)
    for path in (named, unnamed, wrong):
        with open_log(path) as log:
            assert whole(log) == TEXT, path.name
            assert log.losses == []


def test_members_and_padding(tmp_path: Path, kind: str) -> None:
    """Several members in a row are one text, an empty one ends nothing, zero padding is skipped where it may come."""
    path = tmp_path / "full"
    padding = bytes(300_000) if kind in {"gz", "xz"} else b""
    path.write_bytes(b"".join(KINDS[kind](part) + padding for part in (TEXT[:1_500_000], b"", TEXT[1_500_000:])))
    with open_log(path) as log:
        assert whole(log) == TEXT
        assert log.losses == []


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.999])
def test_truncated_file_gives_what_is_there_and_one_loss(tmp_path: Path, kind: str, keep: float) -> None:
    """A file cut off anywhere gives the text before the cut, and then one recorded loss."""
    path = tmp_path / "full"
    packed = KINDS[kind](TEXT)
    path.write_bytes(packed[: int(len(packed) * keep)])
    with open_log(path) as log:
        text = whole(log)
        assert TEXT.startswith(text)
        assert len(text) > len(TEXT) * keep * CUT[kind] or kind in {"bz2", "zstd"}
        assert len(log.losses) == 1
        assert f"after {len(text)} bytes" in log.losses[0].where
        assert "cut off" in log.losses[0].why


def test_damage_costs_what_follows_it(tmp_path: Path, kind: str) -> None:
    """Zeroed bytes in the middle of a file cost what follows them, and are recorded once."""
    path = tmp_path / "full"
    packed = bytearray(KINDS[kind](TEXT))
    middle = len(packed) // 2
    packed[middle : middle + 64] = bytes(64)
    path.write_bytes(packed)
    with open_log(path) as log:
        text = whole(log)
        assert text[: len(TEXT) // 20] == TEXT[: len(TEXT) // 20]
        assert len(log.losses) == 1


def test_wrong_checksum_keeps_the_text(tmp_path: Path) -> None:
    """A gz whose checksum alone is wrong gives its text up to the last step, and the loss is recorded."""
    path = tmp_path / "full.gz"
    packed = bytearray(gzip.compress(TEXT))
    packed[-6] ^= 1
    path.write_bytes(packed)
    with open_log(path) as log:
        text = whole(log)
        assert TEXT.startswith(text)
        assert len(text) >= len(TEXT) - STEP
        assert len(log.losses) == 1


def test_garbage_behind_it_is_told(tmp_path: Path, kind: str) -> None:
    """Bytes behind the last member that are no member are recorded as a loss, not passed on."""
    path = tmp_path / "full"
    path.write_bytes(KINDS[kind](b"line\n") + b"garbage")
    with open_log(path) as log:
        assert whole(log) == b"line\n"
        assert len(log.losses) == 1


def test_compressed_pipe(kind: str) -> None:
    """A pipe gives its text unpacked, within the bounded window."""
    reading, writing = os.pipe()
    text = TEXT * 3

    def write() -> None:
        with os.fdopen(writing, "wb") as sink:
            sink.write(KINDS[kind](text))

    writer = threading.Thread(target=write)
    writer.start()
    with adopt(reading, "pipe") as log:
        assert isinstance(log, StreamLog)
        assert whole(log) == text
        assert log.start > 0
    writer.join()


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_other_compression_is_refused_and_says_what_to_do(tmp_path: Path, name: str) -> None:
    """A log compressed otherwise is never an empty reading: it is refused by name, with a command that unpacks it."""
    path = tmp_path / "a log"
    path.write_bytes(FOREIGN[name])
    with pytest.raises(SourceError) as caught:
        open_log(path)
    assert name in caught.value.why
    assert f"'{path}' | redirectd ingest -" in caught.value.what_to_do


def test_zstd_without_its_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither Python nor a package can unpack zstd, the file is refused and the extra is named."""

    def missing() -> None:
        raise ImportError

    path = tmp_path / "full"
    path.write_bytes(zstandard.compress(TEXT))
    monkeypatch.setattr(compressed, "_zstd_module", missing)
    with pytest.raises(SourceError) as caught:
        open_log(path)
    assert "redirectd[zstd]" in caught.value.what_to_do


def test_bomb_ends_with_a_name(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that unpacks without end is left after a bounded text, in blocks of bounded size, and named."""
    monkeypatch.setattr(compressed, "BOMB_TEXT", 8 << 20)
    monkeypatch.setattr(compressed, "BOMB_RATIO", min(BOMB_RATIO, 500))
    packed, given, losses = KINDS[kind](bytes(32 << 20)), 0, list[SourceError]()
    packing = packing_of(packed)
    assert packing is not None
    assert refusal("bomb", packing) is None
    source = iter([packed])
    unpack = Unpack("bomb", packing, lambda: next(source, b""), losses.append)
    while block := unpack():
        assert len(block) <= STEP
        given += len(block)
    assert given <= (8 << 20) + 500 * len(packed) + STEP
    assert [loss.why for loss in losses] == ["unpacks to more than 500 times its size, which no log does"]


@given(text=st.binary(max_size=4_000), data=st.data(), kind=st.sampled_from(sorted(KINDS)))
def test_any_damage_raises_nothing(text: bytes, data: st.DataObject, kind: str) -> None:
    """Whatever is changed in or cut from a file, its reading ends without an error; untouched it gives its text."""
    packed = bytearray(KINDS[kind](text))
    size = data.draw(st.integers(1, 200))
    at = data.draw(st.integers(0, len(packed) - 1))
    touched = bytearray(packed)
    touched[at] ^= data.draw(st.integers(0, 255))
    for one in (packed, touched, packed[:at]):
        pieces = iter([bytes(one[begin : begin + size]) for begin in range(0, len(one), size)])
        losses: list[SourceError] = []
        packing = packing_of(bytes(packed[:16]))
        assert packing is not None
        unpack = Unpack("x", packing, lambda pieces=pieces: next(pieces, b""), losses.append)  # type: ignore[misc]  # bound here, used here
        got = b"".join(iter(unpack, b""))
        if one is packed:
            assert (got, losses) == (text, [])
        else:
            assert len(losses) <= 1
