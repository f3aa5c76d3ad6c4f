"""What a check says about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from redirectd.errors import ConfigError, RedirectdError


class Level(StrEnum):
    """How bad it is: a warning leaves redirectd working, a fault does not."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `where` it is (file and key), what was found, and what to do where it is not well."""

    where: str
    level: Level
    why: str
    what_to_do: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to fix."""
        return self.level is Level.OK


def good(where: str, why: str) -> Finding:
    """It is well."""
    return Finding(where, Level.OK, why)


def fault(error: RedirectdError) -> list[Finding]:
    """The findings of an error, one for each of its faults."""
    faults = error.faults if isinstance(error, ConfigError) and error.faults else (error,)
    return [Finding(one.where, Level.FAULT, one.why, one.what_to_do) for one in faults]
