"""Times as text that goes into documents, reasons and log records."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(when: datetime, *, timespec: str = "auto") -> str:
    """An aware time as RFC 3339 in UTC; `timespec` as of `datetime.isoformat`."""
    return when.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
