"""Captures that can only be read from their beginning (pcap, compressed HEP), made searchable like any log."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from redirectd.dialects.hep_encode import encode_hep
from redirectd.dialects.registry import stream_for
from redirectd.sources.log import Log
from redirectd.sources.spool import SpoolLog

_CHUNK = 256 << 10
_HEAD = 64 << 10
_COMPRESSED = b"\x00\x00\x00\x10"  # vendor 0, chunk 16
_AT_ONCE = 64  # messages written together


def searchable(log: Log) -> Log:
    """The log itself, or a spool of its messages as plain HEP datagrams where no search could find them in place."""
    head = log.read(log.start, _HEAD)
    stream = stream_for(head)
    if stream is None or (stream.name == "hep" and _COMPRESSED not in head):
        return log
    messages = stream.messages(_chunks(log))
    return SpoolLog(log.name, lambda: b"".join(encode_hep(frame) for frame in islice(messages, _AT_ONCE)))


def _chunks(log: Log) -> Iterator[bytes]:
    offset = log.start
    while chunk := log.read(offset, _CHUNK):
        yield chunk
        offset += len(chunk)
