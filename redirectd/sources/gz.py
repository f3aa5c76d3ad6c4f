"""gz as a stream of bounded blocks, through igzip where `isal` is installed."""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from redirectd.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC = b"\x1f\x8b"
STEP = 64 << 10
"""Text inflated at once, and so the most that damage can cost of the text before it."""


def _codec() -> Any:  # noqa: ANN401 - either zlib or its drop-in isal_zlib, which have no common type
    try:
        return import_module("isal.isal_zlib")
    except ImportError:
        return zlib


class Gunzip:
    """Call it for the next block of text, `b''` at the end.

    Several members in a row are one text, zero padding after one is skipped, as gzip(1) does (RFC 1952, 2.2).
    Damage ends the text early: what could be read is given, up to `STEP` bytes before it, then `lost` is told once.
    """

    def __init__(self, name: str, raw: Callable[[], bytes], lost: Callable[[SourceError], None]) -> None:
        self._name = name
        self._raw = raw
        self._lost = lost
        self._codec = _codec()
        self._member: Any = None
        self._packed = b""
        self._given = 0
        self._ended = False

    def __call__(self) -> bytes:
        """The next block, at most 64 KiB."""
        text = b""
        while not text and not self._ended:
            text = self._inflate() if self._member is not None or self._next_member() else b""
        self._given += len(text)
        return text

    def _next_member(self) -> bool:
        while len(self._packed) < len(MAGIC) and (more := self._raw()):
            self._packed = self._packed + more if self._given == 0 else (self._packed + more).lstrip(b"\0")
        if self._packed.startswith(MAGIC):
            self._member = self._codec.decompressobj(wbits=31)
            return True
        self._ended = True
        if self._packed:
            self._tell("bytes that are not gz follow the compressed text")
        return False

    def _inflate(self) -> bytes:
        self._packed = self._packed or self._raw()
        at_end = not self._packed
        try:
            text: bytes = self._member.decompress(self._packed, STEP)
        except self._codec.error as error:
            self._ended = True
            self._tell(f"damaged: {error}")
            return b""
        if self._member.eof:
            self._packed = self._member.unused_data.lstrip(b"\0")
            self._member = None
        else:
            self._packed = self._member.unconsumed_tail
            if at_end and not text:
                self._ended = True
                self._tell("cut off: the file ends within the compressed text")
        return text

    def _tell(self, why: str) -> None:
        where = f"{self._name} (after {self._given} bytes of text)"
        self._lost(SourceError(where, why, "what stands before it was read; restore the file to read the rest"))
