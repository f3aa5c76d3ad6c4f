"""`[[source]]`: where SIP messages are read from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from redirectd.config.section import Section
from redirectd.config.values import Label, Listen, Net, Zone


class SourceSection(Section):
    """A log or a stream that is followed by `redirectd run`; one table for each."""

    name: Label = Field(description="The source's name, shown with each sighting. Unique.", examples=["asterisk"])
    kind: Literal["file", "journal", "hep"] = Field(
        default="file",
        description="`file` follows a log through rotation, `journal` reads systemd's journal, "
        "`hep` receives HEPv3 from Kamailio's siptrace or Asterisk's res_hep.",
    )
    path: Path | None = Field(
        default=None,
        description="The log's path. For `file` only, and needed there.",
        examples=["/var/log/asterisk/full"],
    )
    dialect: str = Field(
        default="auto",
        description="What writes the log: `asterisk`, `kamailio`, `syslog` or `json` (of several programs, by program "
        "tag), `docker json-file` and so on, or one dialect. `auto` decides by the log's first entries, once: `status` "
        "and `check` show it, and it is kept until another value is set here. `redirectd explain FILE` shows what "
        "was found.",
    )
    timezone: Zone = Field(
        default="",
        description="The time zone of the log's stamps where they don't name one; empty is the system's.",
        examples=["Europe/Berlin"],
    )
    session_progress: Literal["each", "count"] = Field(
        default="each",
        description="`each` logs one record for every 183, `count` only counts them, which reads faster.",
    )
    record_keys: list[Path] | None = Field(
        default=None,
        description="Files that hold a key each (64 hex digits), that prove Kamailio's one-line records: "
        "the current key, the previous one, those of other nodes. Default: /etc/redirectd/record.key, if readable.",
        examples=[["/etc/redirectd/record.key", "/etc/redirectd/record.key.old"]],
    )
    units: list[str] = Field(
        default_factory=list,
        description="The systemd units to read. For `journal` only.",
        examples=[["kamailio.service"]],
    )
    matches: list[str] = Field(
        default_factory=list,
        description="Further journal matches, FIELD=value. For `journal` only.",
        examples=[["SYSLOG_IDENTIFIER=kamailio"]],
    )
    listen: Listen | None = Field(
        default=None,
        description="Address and port to receive on, by UDP and TCP. For `hep` only, and needed there.",
        examples=["127.0.0.1:9060"],
    )
    allowed_senders: list[Net] = Field(
        default_factory=list,
        description="Addresses and networks that may send; loopback alone where empty. For `hep` only.",
        examples=[["192.0.2.0/24"]],
    )
