"""Log records: structlog to standard error, for people or as JSON; a full disk never stops the service."""

from __future__ import annotations

import json
import json as encoder
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from redirectd.sip.text import printable
from redirectd.times import rfc3339

_LONGEST_VALUE = 2000

Lines = Callable[[dict[str, Any]], None]


def configure(level: str = "info", *, stream: TextIO | None = None, json: bool | None = None) -> None:
    """Sets up logging once for the process. `json` None decides by whether `stream` (standard error) is a terminal."""
    out = stream or sys.stderr
    terminal = out.isatty()
    renderer: Processor
    if json or (json is None and not terminal):
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=terminal and not os.environ.get("NO_COLOR"))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def info_lines(event: str, **bound: str) -> Lines:
    """A function that logs `event` at level info with the fields it is given, as a logger with `bound` does.

    For records that come by thousands a second: as JSON they are written without the way through all processors, which
    costs ten times as much. Texts among the fields must be printable.
    """
    config = structlog.get_config()
    is_heard = config["wrapper_class"] in map(structlog.make_filtering_bound_logger, (logging.DEBUG, logging.INFO))
    if not (is_heard and isinstance(config["processors"][-1], structlog.processors.JSONRenderer)):
        logger = structlog.get_logger().bind(**bound)
        return lambda fields: logger.info(event, **fields)
    write = config["logger_factory"]().info
    first = {name: printable(value, _LONGEST_VALUE) for name, value in bound.items()}

    def line(fields: dict[str, Any]) -> None:
        now = rfc3339(datetime.now(UTC))
        write(encoder.dumps({**first, **fields, "event": event, "level": "info", "timestamp": now}))

    return line


def _escape(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Text from the network (R25) can hold line ends, terminal commands and bytes that are not UTF-8."""
    return {key: _safe(value, keep_lines=key in {"exception", "traceback"}) for key, value in event.items()}


def _safe(value: object, *, keep_lines: bool = False) -> object:
    if isinstance(value, str):
        if keep_lines:
            return "\n".join(printable(line, _LONGEST_VALUE) for line in value.split("\n"))
        return printable(value, _LONGEST_VALUE)
    if isinstance(value, list | tuple):
        return [_safe(item) for item in value]
    if isinstance(value, dict):
        return {str(_safe(str(key))): _safe(item) for key, item in value.items()}
    return value


class EnduringStream:
    """Writes text to a descriptor; a full disk or a reader that has gone costs records, which are counted, no more.

    Once one gets through again, the number of those that did not is logged as `log_records_dropped`.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._dropped = 0
        self._torn = False

    def isatty(self) -> bool:
        """Whether the descriptor is a terminal."""
        return os.isatty(self._fd)

    def write(self, text: str) -> int:
        """Takes one record, whole; always says that all of it was written."""
        left = (b"\n" if self._torn else b"") + text.encode(errors="backslashreplace")
        self._torn = False
        try:
            while left:
                left = left[os.write(self._fd, left) :]
                self._torn = bool(left)
        except OSError:
            self._dropped += 1
            return len(text)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            # Not by way of the logger: it may hold the lock of this very stream while it writes.
            now = rfc3339(datetime.now(UTC))
            lost = {"records": dropped, "event": "log_records_dropped", "level": "warning", "timestamp": now}
            self.write(json.dumps(lost) + "\n")
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


def enduring(stream: TextIO) -> TextIO:
    """A stream to where `stream` goes, of which nothing but `isatty`, `write` and `flush` may be used."""
    return cast("TextIO", EnduringStream(stream.fileno()))
