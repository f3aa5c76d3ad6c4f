"""Compressed logs as streams of bounded blocks: gz, xz, bz2 and zstd, recognized by their first bytes, not by name.

gz goes through igzip where `isal` is installed; zstd needs `zstandard`, or Python 3.14.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from dataclasses import dataclass
from importlib import import_module
from shlex import quote
from typing import TYPE_CHECKING, Any, Protocol

from redirectd.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_MAGIC = 16
"""Bytes of a file's beginning that show how it is compressed."""

STEP = 64 << 10
"""Text unpacked at once, and so the most that damage can cost of the text before it."""

MOST_MEMORY = 192 << 20
"""Bytes that unpacking may take: `xz -9` needs 65 MiB; a dictionary of gigabytes is refused."""

BOMB_TEXT, BOMB_RATIO = 1 << 30, 2_000
"""From this much text on, a file that unpacks to more than this many times its size is not a log."""

_ZSTD_SLICE = 256
"""Bytes given to `zstandard` at once: its output has no bound of its own, and four bytes can inflate to 128 KiB."""


class _Codec(Protocol):
    """One member (gz), stream (xz, bz2) or frame (zstd) being unpacked, as the standard library's bz2 does it."""

    @property
    def eof(self) -> bool: ...  # its end was reached

    @property
    def unused_data(self) -> bytes: ...  # what came behind that end

    @property
    def needs_input(self) -> bool: ...  # no text waits in it

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Up to `max_length` bytes of text."""
        ...


@dataclass(frozen=True, slots=True)
class Packing:
    """A way of compressing: its name, how a member of it begins, and how one is unpacked.

    `padding` says that zero bytes may follow a member. Where `new` is None redirectd can't unpack it, and `command`
    writes the text to standard output.
    """

    name: str
    magic: re.Pattern[bytes]
    new: Callable[[], _Codec] | None = None
    padding: bool = False
    command: str = ""


class _Gz:
    """zlib's decompressor with the face of the others."""

    def __init__(self) -> None:
        self._codec = _zlib().decompressobj(wbits=31)
        self._left = b""

    @property
    def eof(self) -> bool:
        return bool(self._codec.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._codec.unused_data)

    @property
    def needs_input(self) -> bool:
        return not self._left

    def decompress(self, data: bytes, max_length: int) -> bytes:
        text: bytes = self._codec.decompress(self._left + data if self._left else data, max_length)
        self._left = self._codec.unconsumed_tail
        return text


class _Zstandard:
    """`zstandard`'s decompressor with the face of the others: it is given little at a time."""

    def __init__(self, module: Any) -> None:  # noqa: ANN401 - a module that need not be installed
        self._codec = module.ZstdDecompressor(max_window_size=128 << 20).decompressobj()
        self._packed, self._at = b"", 0
        self._text: list[bytes] = []
        self._waiting = 0

    @property
    def eof(self) -> bool:
        return bool(self._codec.eof) and not self._text

    @property
    def unused_data(self) -> bytes:
        return bytes(self._codec.unused_data) + self._packed[self._at :]

    @property
    def needs_input(self) -> bool:
        return not self._text and self._at >= len(self._packed)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._packed, self._at = self._packed[self._at :] + data, 0
        while self._waiting < max_length and self._at < len(self._packed) and not self._codec.eof:
            text = self._codec.decompress(self._packed[self._at : self._at + _ZSTD_SLICE])
            self._at += _ZSTD_SLICE
            if text:
                self._text.append(text)
                self._waiting += len(text)
        whole = b"".join(self._text)
        self._text = [whole[max_length:]] if len(whole) > max_length else []
        self._waiting = max(0, len(whole) - max_length)
        return whole[:max_length]


def _zlib() -> Any:  # noqa: ANN401 - either zlib or its drop-in isal_zlib, which have no common type
    try:
        return import_module("isal.isal_zlib")
    except ImportError:
        return zlib


def _zstd_module() -> Any:  # noqa: ANN401 - one of two modules without a common type
    """Python's own (3.14), else the package; raises ImportError where neither is there."""
    try:
        return import_module("compression.zstd")
    except ImportError:
        return import_module("zstandard")


def _new_zstd() -> _Codec:
    """Raises ImportError where nothing can unpack zstd."""
    module = _zstd_module()
    if module.__name__ == "zstandard":
        return _Zstandard(module)
    codec: _Codec = module.ZstdDecompressor(options={module.DecompressionParameter.window_log_max: 27})
    return codec


def _new_xz() -> _Codec:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY)


_KNOWN = (
    Packing("gz", re.compile(rb"\x1f\x8b"), _Gz, padding=True),
    Packing("xz", re.compile(rb"\xfd7zXZ\x00"), _new_xz, padding=True),
    Packing("bz2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), bz2.BZ2Decompressor),
    Packing("zstd", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), _new_zstd, command="zstd -dc"),
    Packing("lz4", re.compile(rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18"), command="lz4 -dc"),
    Packing("compress (.Z)", re.compile(rb"\x1f\x9d"), command="gzip -dc"),
    Packing("pack (.z)", re.compile(rb"\x1f\x1e"), command="gzip -dc"),
    Packing("lzma", re.compile(rb"[\x5d\x5e]\x00[\x00-\xff]{2}[\x00-\x10](?:\xff{8}|[\x00-\xff]{5}\x00{3})", re.DOTALL),
            command="xz --format=lzma -dc"),
    Packing("lzip", re.compile(rb"LZIP[\x00\x01]"), command="lzip -dc"),
    Packing("lzop", re.compile(rb"\x89LZO\x00\r\n\x1a\n"), command="lzop -dc"),
    Packing("zip", re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)"), command="unzip -p"),
    Packing("7z", re.compile(rb"7z\xbc\xaf\x27\x1c"), command="7z x -so"),
    Packing("rar", re.compile(rb"Rar!\x1a\x07"), command="unrar p -inul"),
    Packing("snappy", re.compile(rb"\xff\x06\x00\x00sNaPpY"), command="snzip -dc"),
    Packing("zlib", re.compile(rb"\x78[\x01\x9c\xda][\x00-\xff]{4}", re.DOTALL), command="pigz -dc"),
)  # fmt: skip


def packing_of(head: bytes) -> Packing | None:
    """How a file that begins with `head` (`LONGEST_MAGIC` bytes, or all of it) is compressed; None for a plain one."""
    return next((one for one in _KNOWN if one.magic.match(head)), None)


def refusal(name: str, packing: Packing) -> SourceError | None:
    """Why the file `name` can't be unpacked, and what to do; None where it can."""
    todo = f"unpack it first: {packing.command} {quote(name)} | redirectd ingest -"
    if packing.new is None:
        return SourceError(name, f"is compressed with {packing.name}, which redirectd does not read", todo)
    try:
        packing.new()
    except ImportError:
        what = f"install the extra 'zstd' (pip install 'redirectd[zstd]'), or {todo}"
        return SourceError(name, f"is compressed with {packing.name}, and the package zstandard is not installed", what)
    return None


class Unpack:
    """Call it for the next block of text, `b''` at the end.

    Several members in a row are one text, zero padding after one is skipped, as gzip(1) and xz(1) do (RFC 1952, 2.2).
    Damage ends the text early: what could be read is given, up to `STEP` bytes before it, then `lost` is reported once.
    So is what redirectd can't unpack at all, and a bomb.
    """

    def __init__(
        self, name: str, packing: Packing, raw: Callable[[], bytes], lost: Callable[[SourceError], None]
    ) -> None:
        self._name = name
        self._packing = packing
        self._raw = raw
        self._lost = lost
        self._member: _Codec | None = None
        self._packed = b""
        self._taken = 0
        self._given = 0
        self._ended = False

    def __call__(self) -> bytes:
        """The next block, at most 64 KiB."""
        text = b""
        while not text and not self._ended:
            text = self._unpack(self._member) if self._member is not None else self._next_member()
        self._given += len(text)
        if self._given > BOMB_TEXT and self._given > BOMB_RATIO * self._taken and not self._ended:
            self._end(f"unpacks to more than {BOMB_RATIO:,} times its size, which no log does")
        return text

    def _read(self) -> bytes:
        more = self._raw()
        self._taken += len(more)
        return more

    def _next_member(self) -> bytes:
        refused = refusal(self._name, self._packing) if not self._given else None
        if refused is not None:
            self._ended = True
            self._lost(refused)
            return b""
        while len(self._packed) < LONGEST_MAGIC and (more := self._read()):
            self._packed = self._without_padding(self._packed + more)
        if self._packing.new is not None and self._packing.magic.match(self._packed):
            self._member = self._packing.new()
        elif self._packed:
            self._end(f"bytes that are not {self._packing.name} follow the compressed text")
        self._ended = self._member is None
        return b""

    def _without_padding(self, packed: bytes) -> bytes:
        return packed.lstrip(b"\0") if self._packing.padding and self._given else packed

    def _unpack(self, member: _Codec) -> bytes:
        at_end = False
        if member.needs_input:
            self._packed = self._packed or self._read()
            at_end = not self._packed
        try:
            text = member.decompress(self._packed, STEP)
        except Exception as error:  # noqa: BLE001 - each library has errors of its own, and all mean damage
            self._end(f"damaged: {error}")
            return b""
        self._packed = b""
        if member.eof:
            self._packed = self._without_padding(member.unused_data)
            self._member = None
        elif at_end and not text:
            self._end("cut off: the file ends within the compressed text")
        return text

    def _end(self, why: str) -> None:
        self._ended = True
        where = f"{self._name} (after {self._given} bytes of text)"
        self._lost(SourceError(where, why, "what comes before it was read; restore the file to read the rest"))
