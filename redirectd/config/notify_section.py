"""`[[notify]]`: who is to hear of events."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from redirectd.config.secrets import in_capitals, read_secret
from redirectd.config.section import Section
from redirectd.config.values import Duration, Label, parse_duration
from redirectd.errors import ConfigError

DEFAULT_EVENTS = (
    "pending",
    "agreed",
    "failing",
    "ineffective",
    "rolled-back",
    "source-down",
    "source-up",
    "loss",
    "alarm",
)


def _event(value: object) -> object:
    from redirectd.store.event_log import EventKind  # most configurations notify nobody

    names = [kind.value for kind in EventKind]
    if value not in names:
        raise ValueError(f'no such event "{value}"; there are: {", ".join(names)}')
    return value


class NotifySection(Section):
    """Somebody who is notified of events, by a webhook or any service that Apprise knows; one table for each.

    The URL is a secret and not in this file: the environment's `REDIRECTD_NOTIFY_NAME_URL`, the systemd credential
    `notify-NAME-url`, or `url_file`. Nodes that share a database send each message once, if the table has the same name
    on them. The keys `remap_kind`, `peer`, `domain`, `flag` and `older_than` restrict remaps like the
    options of `pending`.
    """

    name: Label = Field(description="Its name in the log and for the URL. Unique.", examples=["team"])
    kind: Literal["webhook", "apprise"] = Field(
        default="webhook",
        description="`webhook` posts JSON to an http or https URL; `apprise` takes any URL of Apprise, such as "
        "mailto: or slack: (extra `notify`).",
    )
    url_file: Path | None = Field(
        default=None,
        description="A file whose first line is the URL. The environment and the systemd credential come first.",
        examples=["/etc/redirectd/notify-team.url"],
    )
    events: list[Annotated[str, BeforeValidator(_event)]] = Field(
        default_factory=lambda: list(DEFAULT_EVENTS),
        min_length=1,
        description="The kinds of events, as 'redirectd events' names them.",
        examples=[["pending", "failing"]],
    )
    remap_kind: Literal["user", "gateway", "registrar"] | None = Field(
        default=None, description="Only remaps of this kind.", examples=["gateway"]
    )
    peer: str | None = Field(
        default=None, description="Only remaps reported by a peer containing this text.", examples=["192.0.2.1"]
    )
    domain: str | None = Field(
        default=None, description="Only remaps whose old or new host contains this text.", examples=["example.net"]
    )
    flag: str | None = Field(
        default=None, description="Only remaps with this flag; `none` for those without.", examples=["none"]
    )
    older_than: Duration | None = Field(default=None, description="Only remaps last seen longer ago.", examples=["7d"])
    details: bool = Field(
        default=False,
        description="Also send URIs and reasons. Without it a message has counts, peers and the link.",
    )
    link: str | None = Field(
        default=None, description="A link that every message ends with.", examples=["https://sip1.example.net/review"]
    )
    wait: Duration = Field(
        default=parse_duration("60s"), description="How long further events are waited for, so that they come together."
    )
    pause: Duration = Field(default=parse_duration("5m"), description="Minimum time between two messages.")
    remind: Duration = Field(
        default=parse_duration("1d"),
        description="While remaps wait for review, remind of them this long after the last message; `0s` never does.",
    )


def notify_url(section: NotifySection, file: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """The URL, in clear: not for people. `file` is the resolved `url_file`. Raises ConfigError where there is none."""
    variable = f"REDIRECTD_NOTIFY_{in_capitals(section.name)}_URL"
    url = read_secret(f"notify-{section.name}-url", variable, file, environ)
    if url is None:
        raise ConfigError(
            f"notify {section.name}",
            "it has no URL",
            f"set {variable}, the systemd credential notify-{section.name}-url, or url_file",
        )
    return url.strip()
