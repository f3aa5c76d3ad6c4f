"""The keys that a source's one-line records may be proven with (R39): read here, never shown."""

from __future__ import annotations

import re
from pathlib import Path

from redirectd.config.model import Config
from redirectd.config.source_sections import SourceSection

DEFAULT = Path("/etc/redirectd/record.key")
"""The installation's own key, as `redirectd init` makes it."""

_KEY = re.compile(rb"[0-9a-f]{64}")


def key_files(source: SourceSection | None, config: Config) -> list[Path]:
    """The files that hold a source's keys; the installation's own where the configuration names none."""
    if source is None or source.record_keys is None:
        return [DEFAULT]
    return [config.resolve(file) for file in source.record_keys]


def read_key(file: Path) -> bytes | None:
    """The key in a file; None where it can't be read or does not hold 64 hex digits."""
    try:
        with file.open("rb") as opened:
            text = opened.read(128).strip()
    except OSError:
        return None
    return text if _KEY.fullmatch(text) else None


def keys_of(source: SourceSection | None, config: Config) -> tuple[bytes, ...]:
    """All keys of a source that can be read; without any, its records are unkeyed."""
    found = (read_key(file) for file in key_files(source, config))
    return tuple(dict.fromkeys(key for key in found if key is not None))
