"""The whole configuration file; the reference, the file of `redirectd init` and the man page are made from it."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from redirectd.collect.policy import Policy
from redirectd.config.console_section import ConsoleSection
from redirectd.config.sections import NotifySection, PolicySection, SourceSection
from redirectd.config.target_sections import TargetSection
from redirectd.config.values import Cron, Duration, Label, Listen, Quiet, Section, Zone, parse_duration
from redirectd.plan.limits import Limits

DEFAULT_URL = "sqlite:////var/lib/redirectd/redirectd.db"


def host_label() -> str:
    """This host's name, in the characters a node name can have."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip(".-")[:64] or "localhost"


class DatabaseSection(Section):
    """Where sightings, remaps, the audit and the generations are kept."""

    url: str = Field(
        default=DEFAULT_URL,
        description="SQLite: sqlite:////path/file.db (four slashes for an absolute path). Shared by several hosts: "
        "postgresql+psycopg://user@host/name or mysql+pymysql://user@host/name. The environment's "
        "REDIRECTD_DATABASE_URL comes first.",
    )
    password_file: Path | None = Field(
        default=None,
        description="A file whose first line is the database's password. The environment's REDIRECTD_DATABASE_PASSWORD "
        "and the systemd credential `database-password` come first.",
        examples=["/etc/redirectd/database.password"],
    )


class LimitsSection(Section):
    """How much one apply may change before it is refused (exit code 3) until `--force`."""

    max_change_percent: float = Field(
        default=30,
        ge=0,
        le=100,
        description="Percent of a target's installed entries that may be added, changed or removed "
        "at once; each is counted by itself.",
    )
    max_changes: int = Field(
        default=500, ge=0, description="Entries of a target that may be added, changed or removed at once."
    )
    first_creates: int = Field(
        default=20,
        ge=0,
        description="This many additions are always allowed, whatever the percentage; an empty table is limited by "
        "max_changes only.",
    )

    def as_limits(self) -> Limits:
        """The plain values a plan takes."""
        return Limits(self.max_change_percent, self.max_changes, self.first_creates)


class ScheduleSection(Section):
    """When the service applies by itself."""

    apply: Cron = Field(
        default="*/5 * * * *",
        description="When to apply, as in crontab(5): minute, hour, day of month, month, day of week (0 and 7 are "
        'Sunday). "" applies only by hand.',
    )
    on_approval: bool = Field(
        default=True,
        description="Where nodes share a PostgreSQL, also apply within seconds of an approval or its end on any of "
        "them, unless `apply` is empty or a `pause` is on.",
    )
    timezone: Zone = Field(
        default="", description="The zone of `apply` and `pause`; empty is the system's.", examples=["Europe/Berlin"]
    )
    pause: list[Quiet] = Field(
        default_factory=list,
        description="Local times in which the schedule applies nothing.",
        examples=[["Mon-Fri 08:00-18:00"]],
    )
    jitter: Duration = Field(
        default=parse_duration("0s"),
        description="Start up to this much later, at random, so that many nodes don't act at once.",
    )
    apply_requests: list[Annotated[str, Field(pattern=r"^(\*|(unix|local|proxy|oidc):.{1,200})$")]] = Field(
        default_factory=list,
        description="Accounts that may ask this node for an apply from the console or the API, as the audit names "
        'them; `["*"]` for everybody with the role applier. The plan must be the one they looked at; '
        "limits, holds and `pause` count. Where it is set, the service publishes this node's plan in the database.",
        examples=[["oidc:ada", "local:bob"]],
    )


class DaemonSection(Section):
    """The service, `redirectd run`."""

    socket: Path = Field(
        default=Path("/run/redirectd/status.sock"), description="The unix socket that `redirectd status` asks."
    )
    metrics_file: Path | None = Field(
        default=None,
        description="Write Prometheus metrics here, for node_exporter's textfile collector.",
        examples=["/var/lib/prometheus/node-exporter/redirectd.prom"],
    )
    metrics_listen: Listen | None = Field(
        default=None, description="Serve Prometheus metrics on this address and port.", examples=["127.0.0.1:9301"]
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Minimum level of the log records on standard error."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="`auto` is `console` on a terminal and `json` otherwise."
    )


class RetentionSection(Section):
    """What `redirectd db prune` and the service drop. Remaps, decisions and the audit are never dropped."""

    evidence: Duration = Field(
        default=parse_duration("365d"), description="How long log excerpts of sightings are kept."
    )
    quarantine: Duration = Field(
        default=parse_duration("90d"), description="How long unreadable 301s are kept in quarantine."
    )
    events: Duration = Field(
        default=parse_duration("90d"),
        description="How long requests to apply and what 'redirectd events' shows are kept.",
    )
    generations: int = Field(default=50, ge=2, description="Number of installed generations kept to roll back to.")


class Config(Section):
    """redirectd's configuration file, in TOML. Unknown keys are errors; relative paths start at the file's folder."""

    node: Label = Field(
        default_factory=host_label,
        description="This host's name among those that share a database; default is the host name.",
        examples=["sip1"],
    )
    database: DatabaseSection = Field(default_factory=DatabaseSection, description="Where everything is kept.")
    source: list[SourceSection] = Field(default_factory=list, description="What is read.")
    policy: PolicySection = Field(default_factory=PolicySection, description="Trusted peers and holds.")
    limits: LimitsSection = Field(default_factory=LimitsSection, description="How much may change at once.")
    schedule: ScheduleSection = Field(default_factory=ScheduleSection, description="When to apply.")
    target: list[TargetSection] = Field(default_factory=list, description="What is written.")
    notify: list[NotifySection] = Field(default_factory=list, description="Who is notified of events.")
    console: ConsoleSection | None = Field(default=None, description="The review console and the REST API.")
    daemon: DaemonSection = Field(default_factory=DaemonSection, description="The service.")
    retention: RetentionSection = Field(default_factory=RetentionSection, description="What is dropped, and when.")

    _file: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The file this was read from; None for the built-in defaults."""
        return self._file

    def of_file(self, file: Path) -> Config:
        """The same, knowing the file it was read from."""
        config = self.model_copy()
        config._file = file.absolute()  # noqa: SLF001 - a private attribute of this very class
        return config

    def rules(self) -> Policy:
        """The policy in the plain values that the rules take."""
        return self.policy.as_policy()

    def resolve(self, path: Path) -> Path:
        """A path of the file as the program must open it: relative ones start at the file's folder."""
        folder = self._file.parent if self._file is not None else Path()
        return Path(os.path.normpath(folder / path)) if not path.is_absolute() else path
