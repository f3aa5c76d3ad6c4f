"""kamailio-alias_db: user moves for those who have the alias_db module, from a db_text table.

alias_db_lookup() takes user and host of the Request-URI and puts ``sip:username@domain`` in its place. So a move to
another scheme, or without a user, can't be carried; port and parameters are, as the end of ``domain``. What it
knows of the old URI is this kind's `width`: an entry moves every port and transport of its user at its host. The
printed lines ask for no sips: URI, and for no user with parameters, which Kamailio cuts off where there is user=phone.

db_text compares strings without case, so ``Bob`` and ``bob`` of one host are one key here: it is written in
lower case, and where the two moved to different places neither is (R24).

There is nothing to reload: the module asks its database for each request, and db_text reads a table again when its
mtime, in whole seconds, is later. Kamailio can't be asked either, so the parse-back is the only proof.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar

from redirectd.plan.target import (
    NOTHING,
    CannotCarryError,
    Command,
    Lines,
    Question,
    Rendered,
    TargetError,
    gather,
    token_of,
)
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri
from redirectd.targets import dbtext
from redirectd.targets.kamailio_key import MAX_KEY, user_at_host
from redirectd.targets.project import Projection
from redirectd.targets.sqltable import SqlTable
from redirectd.targets.uritext import KAMAILIO, write_uri
from redirectd.targets.user_moves import NotAskedError, UserMoves

_TABLE = dbtext.Table(
    (
        dbtext.Column("id", "int", "auto"),
        dbtext.Column("alias_username", "string"),
        dbtext.Column("alias_domain", "string"),
        dbtext.Column("username", "string"),
        dbtext.Column("domain", "string"),
    ),
    {},
)
_MAX = 255
"""Longest whole URI that alias_db can put together: its buffer is of 256 bytes."""

SQL = SqlTable(
    "redirectd_aliases",
    _TABLE,
    {"alias_username": MAX_KEY, "alias_domain": 255, "username": _MAX, "domain": _MAX},
    ("alias_username", "alias_domain"),
)
"""The table in a database."""

_OLD_LINES = re.compile(r"^[ \t]*if[ \t]*\([ \t]*alias_db_lookup\(.*", re.MULTILINE)
"""The lookup of earlier versions, as it was printed."""


class KamailioAliasDb(UserMoves):
    """Writes the table ``redirectd_aliases``, or whichever file it is given."""

    kind: ClassVar[str] = "kamailio-alias_db"
    mtime_step: ClassVar[bool] = True
    WIDTH = "user@host"

    def __init__(self, *, match: str = "request-uri", width: str = WIDTH) -> None:
        super().__init__(match, width=width)
        self._table = "redirectd_aliases"

    def keys(self, uri: SipUri) -> Collection[str]:
        """Give user and host, in lower case; CannotCarryError for what the lines don't ask for."""
        if uri.scheme != "sip":
            raise CannotCarryError("alias_db can't distinguish sips: from sip:, so that no sips: URI is moved")
        if ";" in (uri.user or ""):
            raise CannotCarryError("the old user holds ';', which alias_db may not be asked with")
        return {key.lower() for key in user_at_host(uri)}

    def asked(self, uri: SipUri, text: str) -> str:
        """Give user and host as they were sent, in lower case."""
        if uri.scheme != "sip" or uri.user is None or ";" in uri.user:
            raise NotAskedError("a known miss: the lookup is not made for sips:, without a user, or for one with ';'")
        return f"{uri.user}@{uri.host}".lower()

    def besides(self, old: SipUri) -> str:
        """Name the same user at the same host."""
        place = printable(f"{old.user}@{old.host}", 200)
        return f"calls to {place} at any other port and by any other transport, and to users that differ in case alone"

    def lines(self) -> Lines:
        """Give the lookup."""
        call = f'if ($ru =~ "^sip:[^;@]+@" && alias_db_lookup("{self._table}")) {{ $du = $null; }}\n'
        return Lines(call, "", _OLD_LINES, None)

    def _value(self, new: SipUri) -> str:
        text = write_uri(new, KAMAILIO, limit=_MAX)
        if new.scheme != "sip" or new.user is None:
            raise CannotCarryError("alias_db writes sip:user@host only")
        return text

    def _write(self, found: Projection, base: bytes | None) -> Rendered:
        """Write the table in key order."""
        rows = ((*_split(key), *_split(value.removeprefix("sip:"))) for key, value in found.entries.items())
        content = _TABLE.write(rows)
        return found.rendered(content, token_of(found.entries))

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """Read a table as alias_db asks it: alias user and domain to user and domain, none twice, whatever its case."""
        return gather(((number, key.lower(), to) for number, key, to in _rows(content)), like, "alias")

    def reload(self) -> Sequence[Command]:
        """Nothing: the table is read for each request."""
        return ()

    def questions(self, rendered: Rendered, changed: Sequence[str]) -> Sequence[Question]:
        """Nothing: alias_db has no command that looks an alias up."""
        return ()


class KamailioAliasSql(KamailioAliasDb):
    """The same in a table of a database, which compares exactly: users that differ in case are different keys.

    A host in capitals is looked up as it was sent, and is a known miss.
    """

    def __init__(self, *, match: str = "request-uri", width: str = KamailioAliasDb.WIDTH, sql: SqlTable = SQL) -> None:
        super().__init__(match=match, width=width)
        self.sql = sql
        self._table = sql.name

    def keys(self, uri: SipUri) -> Collection[str]:
        """Give user and host; CannotCarryError for what the lines don't ask for."""
        super().keys(uri)
        return user_at_host(uri)

    def asked(self, uri: SipUri, text: str) -> str:
        """Give user and host as they were sent."""
        super().asked(uri, text)
        return f"{uri.user}@{uri.host}"

    def besides(self, old: SipUri) -> str:
        """Name the same user at the same host."""
        return f"calls to {printable(f'{old.user}@{old.host}', 200)} at any other port and by any other transport"

    def is_own(self, content: bytes) -> bool:
        """Never, by the table alone: it has no sentinel."""
        return False

    def source(self) -> None:
        """Nothing: alias_db has no command that shows its database."""

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """Read a table as alias_db asks it, none twice."""
        return gather(_rows(content), like, "alias")


def _rows(content: bytes) -> Iterator[tuple[int, str, str]]:
    for number, values in _TABLE.read(content):
        if any("@" in value for value in values):
            raise TargetError(f"line {number}: a user or domain holds an @")
        alias_user, alias_domain, user, domain = values
        yield number, f"{alias_user}@{alias_domain}", f"sip:{user}@{domain}"


def _split(text: str) -> tuple[str, str]:
    user, _, rest = text.partition("@")
    return user, rest
