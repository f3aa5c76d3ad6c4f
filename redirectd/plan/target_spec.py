"""A target as plan and apply take it: plain values beside the encoder."""

from __future__ import annotations

from dataclasses import dataclass

from redirectd.plan.target import Target

NO_RELOAD = "none"
"""The control of a target whose file is written and parsed back only."""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One ``[[target]]``.

    `path` is the generated file and `base` the operator's own, as text for a person; `control` is the
    ``reload`` key (targets with one control share one reload); `timeout` bounds each question to the
    server, in seconds. `mode`, `owner` and `group` are those of a new file; an existing one keeps its own.
    """

    name: str
    path: str
    target: Target
    base: str | None = None
    control: str = NO_RELOAD
    timeout: float = 10.0
    mode: int = 0o640
    owner: str | None = None
    group: str | None = None

    @property
    def kind(self) -> str:
        """The target's kind, as in the configuration."""
        return self.target.kind


@dataclass(frozen=True, slots=True)
class Installed:
    """What is there now for one target.

    `content` is the generated file's bytes (None: no file), `base` the operator's; `last_sha256` is of
    what redirectd installed last, `pending_reload` says that the server wasn't told of it yet.
    """

    content: bytes | None = None
    base: bytes | None = None
    last_sha256: str | None = None
    pending_reload: bool = False
