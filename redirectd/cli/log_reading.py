"""How a log named on the command line is read: as its source in the configuration says, else by what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from redirectd.collect.capture import CapturedLog
from redirectd.collect.reading import Reading
from redirectd.config.secrets import keys_of
from redirectd.config.values import zone_of
from redirectd.dialects import registry
from redirectd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redirectd.config.model import Config
    from redirectd.config.sections import SourceSection
    from redirectd.dialects.frame import Dialect
    from redirectd.sources.log import Log

HEAD = 1 << 20
"""Bytes at a log's start from which its dialect is detected."""


def reading_of(
    log: Log,
    config: Config,
    *,
    dialect: str | None,
    session_progress: Literal["each", "count"] | None,
    accept_unkeyed: bool = False,
) -> Reading:
    """The reading of `log`; what is None comes from the source of the same path, or is `auto` and `each`.

    Raises UsageError for a dialect that there is none of.
    """
    source = _source_of(log.name, config)
    wanted = dialect or (source.dialect if source else "auto")
    family, dialects = _dialects(log, wanted)
    return Reading(
        source=source_name(log.name, config),
        dialects=registry.with_keys(dialects, keys_of(source, config)),
        zone=zone_of(source.timezone if source else ""),
        policy=config.rules(),
        session_progress=session_progress or (source.session_progress if source else "each"),
        accept_unkeyed=accept_unkeyed,
        family=family,
    )


def source_name(name: str, config: Config) -> str:
    """What a log is called in the database: as its source in the configuration, else as it is itself."""
    source = _source_of(name, config)
    return (source.name if source else name)[-255:]


def _dialects(log: Log, wanted: str) -> tuple[str, Sequence[Dialect]]:
    """The log's family, and the dialects that read it; raises UsageError for a name that is not one or does not fit."""
    if isinstance(log, CapturedLog):
        registry.chosen(wanted)
        return "", (log.dialect,)  # what the file is can be seen, whatever was named
    head = log.read(log.start, HEAD)
    family = registry.envelope_of(head) if wanted == "auto" else wanted
    dialects = registry.chosen(family, head) if family else registry.of_family("", head)
    if not any(one.literals for one in dialects):
        raise UsageError("--dialect", f"{log.name} is not a {wanted} file", "leave --dialect out")
    return family if family in registry.ENVELOPES else "", dialects


def reading_by_name(name: str, config: Config) -> Reading:
    """The reading of the source called `name`, of a log without a source where there is none."""
    source = next((one for one in config.source if one.name == name), None)
    return Reading(
        source=name,
        dialects=registry.with_keys(registry.ALL, keys_of(source, config)),
        zone=zone_of(source.timezone if source else ""),
        policy=config.rules(),
    )


def _source_of(name: str, config: Config) -> SourceSection | None:
    path = Path(name).absolute()
    return next(
        (source for source in config.source if source.path is not None and config.resolve(source.path) == path), None
    )
