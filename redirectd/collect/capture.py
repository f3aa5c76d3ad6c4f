"""Captures that can only be read from their beginning (pcap, compressed HEP), made searchable like any log."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from redirectd.dialects.frame import Dialect, StreamDialect
from redirectd.dialects.hep_encode import encode_hep
from redirectd.dialects.registry import stream_for
from redirectd.sources.log import Log
from redirectd.sources.spool import SpoolLog

_CHUNK = 256 << 10
_HEAD = 64 << 10
_COMPRESSED = b"\x00\x00\x00\x10"  # vendor 0, chunk 16
_AT_ONCE = 64  # messages written together


class CapturedLog(SpoolLog):
    """The messages of a file as plain HEP datagrams; `dialect` reads them under the file's own name."""

    def __init__(self, log: Log, stream: StreamDialect) -> None:
        messages = stream.messages(_chunks(log))
        super().__init__(log.name, lambda: b"".join(encode_hep(frame) for frame in islice(messages, _AT_ONCE)))
        self.dialect: Dialect = stream.captured


def searchable(log: Log) -> Log:
    """The log itself, or a spool of its messages where no search could find them in place."""
    head = log.read(log.start, _HEAD)
    stream = stream_for(head)
    if stream is None or (stream.name == "hep" and _COMPRESSED not in head):
        return log
    return CapturedLog(log, stream)


def _chunks(log: Log) -> Iterator[bytes]:
    offset = log.start
    while chunk := log.read(offset, _CHUNK):
        yield chunk
        offset += len(chunk)
