"""`[[target]]`: a routing file or table to keep."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from redirectd.config.values import Duration, Label, Section, parse_duration
from redirectd.plan.target_spec import OWN_PROGRAMS, RELOAD_FORMS
from redirectd.sip.text import mask_url

_RELOAD = re.compile(
    r"none|kamcmd(:\S+| -s \S+)?|binrpc:(unix:/|tcp:)\S+|jsonrpc:(unix:/\S+|fifo:/\S+|https?://\S+)"
    r"|asterisk( -C \S+)? -rx|asterisk(:/\S+)?|amis?://\S+"
)
_DATABASE = re.compile(r"(mysql\+pymysql|postgresql\+psycopg)://[^\s#]+/[^\s/#]+")
_TWO_AT = re.compile(r"[^/]*//[^/?#]*@[^/?#]*@.*")
_MODE = re.compile(r"0?[0-7]{3}|view|in-place")
WAYS_TO_KEEP = {"view", "in-place"}
"""The modes of a table that are not of a file."""
RELOADS = ", ".join(RELOAD_FORMS)


def _reload(value: object) -> object:
    if isinstance(value, list):
        if not value or not all(isinstance(each, str) for each in value) or not value[0].startswith("/"):
            raise ValueError("a program is its absolute path and its arguments, each a text")
        return OWN_PROGRAMS + json.dumps(value)
    if isinstance(value, str) and not _RELOAD.fullmatch(value):
        raise ValueError(f'"{mask_url(value)}" is not a way to reload; there are: {RELOADS}')
    return value


def _node(value: object) -> object:
    if value == "none":
        raise ValueError('"none" is not a server')
    return _reload(value)


def _database(value: object) -> object:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if not isinstance(value, str) or not _DATABASE.fullmatch(value):
        shown = mask_url(value) if isinstance(value, str) else value
        raise ValueError(
            f'"{shown}" is not a database with tables for a server: use mysql+pymysql://user@host/name or '
            "postgresql+psycopg://user@host/name, with the password in database_password_file"
        )
    if _TWO_AT.fullmatch(value):  # what is behind the first would be taken for the host, and shown
        raise ValueError("its password has an @: write that as %40, or the password in database_password_file")
    try:
        make_url(value)
    except (ArgumentError, ValueError):
        raise ValueError(f'"{mask_url(value)}" is not a URL: see that its port is a number') from None
    return value


def _mode(value: object) -> object:
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise ValueError('it must be a file mode in octal and in quotes, such as "0640"')
    return value


class TargetSection(Section):
    """A routing file, or a database's table, that redirectd writes from the approved remaps; a section for each.

    Besides these keys each kind takes its own; `redirectd check` names them where one is misspelt.
    """

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    name: Label = Field(description="The target's name in plans and reports. Unique.", examples=["dispatcher"])
    kind: str = Field(
        description="What is written, such as `kamailio-dispatcher`, `kamailio-htable` or `asterisk-dialplan`.",
        examples=["kamailio-dispatcher"],
    )
    path: Path | None = Field(
        default=None,
        description="The file to write. Its folder must exist; owner and mode of an existing file are kept. A target "
        "has either `path` or `database`.",
        examples=["/etc/kamailio/dispatcher.list"],
    )
    database: Annotated[str, BeforeValidator(_database)] | None = Field(
        default=None,
        description="The database whose table is written instead of a file, for the kinds that can be kept in one: "
        "mysql+pymysql://user@host/name (also for MariaDB) or postgresql+psycopg://user@host/name.",
        examples=["mysql+pymysql://redirectd@db.example/kamailio"],
    )
    table: str | None = Field(
        default=None,
        description="With `database`, the name of the table; each kind has one of its own as its default.",
        examples=["redirectd_htable"],
    )
    database_password_file: Path | None = Field(
        default=None,
        description="A file whose first line is the password for `database`. The environment's "
        "REDIRECTD_TARGET_NAME_DATABASE_PASSWORD and the systemd credential `target-NAME-database-password` come "
        "first.",
        examples=["/etc/redirectd/kamailio-database.password"],
    )
    base: Path | None = Field(
        default=None,
        description="Your own file that the target starts from, for kinds that have one; it is only read.",
        examples=["/etc/kamailio/dispatcher.base.list"],
    )
    match: Literal["request-uri", "incoming"] = Field(
        default="request-uri",
        description="Which old URI the server looks up: the one it sends, or the `incoming` one it was asked for.",
    )
    reload: Annotated[str, BeforeValidator(_reload)] = Field(
        default="none",
        description=f"How the server is reloaded and queried: {RELOADS}. `none` writes and parses back only. "
        "For `template`, `csv` and `json`: a program as a list, its absolute path and its arguments.",
        examples=["jsonrpc:unix:/run/kamailio/kamailio_rpc.sock"],
    )
    nodes: list[Annotated[str, BeforeValidator(_node)]] = Field(
        default_factory=list,
        description="With `database`, in place of `reload`: the same for each of several servers that read this table. "
        "It is written once, and each server is reloaded and asked; one that is away is caught up later.",
        examples=[["jsonrpc:http://sip1.example:8080/RPC", "jsonrpc:http://sip2.example:8080/RPC"]],
    )
    server: Label | None = Field(
        default=None,
        description="The name of the server, where it is reached in several ways or has targets with "
        '`reload = "none"`: targets of one server are installed, proven and rolled back together. Those with the same '
        "`reload` are anyway.",
        examples=["sip1"],
    )
    timeout: Duration = Field(
        default=parse_duration("10s"), description="How long the server may take to answer one question."
    )
    mode: Annotated[str, BeforeValidator(_mode)] = Field(
        default="0640",
        description="Mode of a new file, in octal; an existing one keeps its own. Of `kamailio-dispatcher` with "
        "`database` it is `view` (the default) or `in-place`.",
    )
    owner: str | None = Field(
        default=None, description="Owner of a new file; an existing one keeps its own.", examples=["root"]
    )
    group: str | None = Field(
        default=None, description="Group of a new file; an existing one keeps its own.", examples=["kamailio"]
    )
    password_file: Path | None = Field(
        default=None,
        description="A file whose first line is the password for `reload`. The systemd credential "
        "`target-NAME-password` is taken where it exists.",
        examples=["/etc/redirectd/ami.password"],
    )

    @property
    def program(self) -> list[str] | None:
        """The program that `reload` is; None where it is a text."""
        return json.loads(self.reload.removeprefix(OWN_PROGRAMS)) if self.reload.startswith(OWN_PROGRAMS) else None

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways to its servers, `none` where it has none."""
        return tuple(self.nodes) or (self.reload,)

    @property
    def options(self) -> Mapping[str, object]:
        """The kind's own keys."""
        return self.model_extra or {}
