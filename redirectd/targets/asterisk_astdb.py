"""asterisk-astdb: user moves in Asterisk's own database, put there over the manager interface.

A lookup costs the same at any size, and a change of a thousand entries among a million is a thousand commands: nothing
is reloaded. The file holds what is in AstDB, one ``USER URI`` a line, so that a plan can compare and a rollback has
something to go back to; Asterisk never reads it.

The operator's lookup reads ``DB(redirectd/USER)`` for the dialled name, or nothing where the name holds characters that
no entry can hold: see docs/targets.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import ClassVar

from redirectd.plan.route import Route
from redirectd.plan.target import (
    NOTHING,
    Command,
    Question,
    Rendered,
    Reply,
    ServerFault,
    TargetError,
    gather,
    sample,
    token_of,
)
from redirectd.sip.uri import SipUri
from redirectd.targets.asterisk_dialplan import MAX_VALUE, extension_of
from redirectd.targets.hosts import read_hosts, speaks_for
from redirectd.targets.lines import text_lines, write_lines
from redirectd.targets.project import project
from redirectd.targets.uritext import ASTERISK, write_uri

SENTINEL = "redirectd:generation"
"""Key whose value names the content; no user part has a colon in it."""

_UNDER_WAY = "-"  # no token: a load that is broken off leaves it behind
_FAMILY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,39}")
_LINE = re.compile(r"([A-Za-z0-9+*#.~_\-:]{1,79}) (\S{1,500})")
_HEAD = "# What redirectd has put into AstDB; edits are lost."


class AsteriskAstdb:
    """Keeps a family of AstDB. `hosts` are the old hosts it speaks for (all if empty)."""

    kind: ClassVar[str] = "asterisk-astdb"
    mtime_step: ClassVar[bool] = False

    def __init__(self, *, match: str = "request-uri", family: str = "redirectd", hosts: Collection[str] = ()) -> None:
        if not _FAMILY.fullmatch(family):
            raise ValueError(f"family {family!r} is no name of up to 40 letters, digits, - and _")
        self._match = match
        self._family = family
        self._hosts = read_hosts(hosts)
        # One entry of ``database show``: ``/redirectd/4930111          : sip:+4930222@192.0.2.2``, padded by blanks.
        self._shown = re.compile(rf"^/{re.escape(family)}/(\S+?) *: (\S*) *\r?$", re.MULTILINE)

    def render(self, routes: Sequence[Route], base: bytes | None) -> Rendered:
        """Write the entries in the order of their users, the token last."""
        found = project(routes, "user", self._match, self._users, _value)
        token = token_of(found.entries)
        rows = chain(found.entries.items(), [(SENTINEL, token)])
        content = write_lines(_HEAD, (f"{user} {uri}" for user, uri in rows))
        return Rendered(content, found.entries, found.refused, found.conflicts, token, found.carried)

    def _users(self, uri: SipUri) -> Collection[str]:
        if self._hosts and not speaks_for(self._hosts, uri):
            return ()
        return (extension_of(uri),)

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """Read the file back: one user a line, none twice, the token true."""
        entries = gather(_rows(content), like, "the user")
        token = entries.pop(SENTINEL, None)
        if token != token_of(entries) and (entries or token is not None):
            raise TargetError(f"the line {SENTINEL} does not name this content")
        return entries

    def reload(self) -> Sequence[Command]:
        """Nothing: Asterisk reads no file here, see `load`."""
        return ()

    def standing(self, token: str) -> Question:
        """Ask for the token."""
        return self._get(SENTINEL, token)

    def load(self, entries: Mapping[str, str], changed: Sequence[str]) -> Sequence[Command]:
        """Put and delete what changed; no token stands meanwhile.

        Deleting what isn't there is an error, and somebody may have deleted it by hand: so it is put first, and empty,
        which to the operator's lookup is nothing.
        """
        commands = [self._put(SENTINEL, _UNDER_WAY)]
        for key in changed:
            commands.append(self._put(key, entries.get(key, "")))
            if key not in entries:
                commands.append(Command("DBDel", (self._family, key)))
        commands.append(self._put(SENTINEL, token_of(entries)))
        return commands

    def listing(self) -> Command:
        """Show the family."""
        return Command(f"database show {self._family}")

    def replace(self, entries: Mapping[str, str], shown: Reply) -> Sequence[Command]:
        """Bring the family from what Asterisk shows of it to `entries`.

        Not by DBDelTree, which takes families with it that differ in case, or in one letter where ours has an
        underscore.
        """
        found = dict(self._shown.findall(str(shown)))
        found.pop(SENTINEL, None)
        wrong = [key for key, value in entries.items() if found.get(key) != value]
        return self.load(entries, [*wrong, *(key for key in found if key not in entries)])

    def _put(self, key: str, value: str) -> Command:
        return Command("DBPut", (self._family, key, value))

    def _get(self, key: str, wanted: str) -> Question:
        return Question(Command(f"database get {self._family} {key}"), _judge(key, wanted))

    def questions(self, rendered: Rendered, changed: Sequence[str]) -> Sequence[Question]:
        """Ask for the token and for changed users one by one (all, or 200 of them)."""
        asked = [(SENTINEL, rendered.token), *((key, rendered.entries.get(key, "")) for key in sample(changed))]
        return [self._get(key, wanted) for key, wanted in asked]


def _rows(content: bytes) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text_lines(content), 1):
        if number == 1 and line == _HEAD:
            continue  # nothing else is a comment: a user may begin with #, as service codes do
        found = _LINE.fullmatch(line)
        if found is None:
            raise TargetError(f"line {number}: not a user and a URI")
        yield number, found[1], found[2]


def _value(uri: SipUri) -> str:
    return write_uri(uri, ASTERISK, limit=MAX_VALUE)


def _judge(key: str, wanted: str) -> Callable[[Reply | ServerFault], str | None]:
    def judge(reply: Reply | ServerFault) -> str | None:
        text = (reply.text if isinstance(reply, ServerFault) else str(reply)).strip()
        held = text.partition("Value: ")[2].strip() if text.startswith("Value: ") else ""
        if held == wanted and (held or "not found" in text):
            return None
        return f"{key} gives {held or 'nothing'} instead of {wanted or 'nothing'}"

    return judge
