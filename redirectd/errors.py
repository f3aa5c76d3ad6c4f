"""The errors a person can meet: each says where it happened, why, and what to do.

`exit_code` is the process exit code of the contract: 1 failed, 2 wrong usage or configuration,
3 refused by a safety limit or a hold, 4 installed but not verified and therefore rolled back.
"""

from __future__ import annotations

from typing import ClassVar


class RedirectdError(Exception):
    """Root of every error shown to a person."""

    exit_code: ClassVar[int] = 1

    def __init__(self, where: str, why: str, what_to_do: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where
        self.why = why
        self.what_to_do = what_to_do


class UsageError(RedirectdError):
    """A command was called with something it can't take."""

    exit_code = 2


class ConfigError(RedirectdError):
    """The configuration can't be used; `faults` lists every fault found, each with its own place."""

    exit_code = 2

    def __init__(self, where: str, why: str, what_to_do: str, faults: tuple[RedirectdError, ...] = ()) -> None:
        super().__init__(where, why, what_to_do)
        self.faults = faults


class RefusedError(RedirectdError):
    """A safety limit or a hold forbids it; `what_to_do` names the exact way past it."""

    exit_code = 3


class VerifyError(RedirectdError):
    """What was installed did not prove itself; the previous state is back in service."""

    exit_code = 4


class SourceError(RedirectdError):
    """A log can't be read."""


class StoreError(RedirectdError):
    """The database can't be used or answers wrongly."""


class BusyStoreError(StoreError):
    """Another transaction was in the way for too long, or in a deadlock: nothing of this one is kept."""


class StoreChangedError(StoreError):
    """The database is not where it was left: reading has to begin anew where it says."""


class PeerError(RedirectdError):
    """Kamailio or Asterisk can't be asked, or answered with an error."""


class InstallError(RedirectdError):
    """A generated file can't be put into place; what was there is still there."""


class ChangedMeanwhileError(InstallError):
    """What the plan was made of is no longer there; nothing was written, and a new plan may succeed."""

    def __init__(self, where: str) -> None:
        super().__init__(where, "it was changed while redirectd was at work", "plan and apply again")
