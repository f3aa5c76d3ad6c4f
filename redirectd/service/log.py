"""Log records: structlog to standard error, for people on a terminal and JSON otherwise."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from redirectd.sip.text import printable

LEVELS = ("debug", "info", "warning", "error")
_LONGEST_VALUE = 2000


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
