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

from redirectd.plan.entry_file import LineForm
from redirectd.plan.target import (
    NOTHING,
    Command,
    Lines,
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
from redirectd.targets.asterisk_name import (
    EXACT,
    LOOKUP,
    NAME,
    WIDTH,
    DialledNames,
    dialled,
    digest_of,
    is_old_extension,
    lines_of,
)
from redirectd.targets.lines import text_lines, write_lines
from redirectd.targets.project import Projection
from redirectd.targets.user_moves import take_token

SENTINEL = "redirectd:generation"
"""Key whose value names the content; no user part has a colon in it."""

MAX_VALUE = 255
"""Longest new URI, in characters: the manager interface of Asterisk 16 cuts at 255 what it reads from AstDB."""

_UNDER_WAY = "-"  # no token: a load that is broken off leaves it behind
_FAMILY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,39}")
_LINE = re.compile(r"(redirectd:generation|(?:user=)?[A-Za-z0-9+*#.~_%\-]{1,240}) (\S{1,500})")
_HEAD = "# What redirectd has put into AstDB; edits are lost."


class AsteriskAstdb(DialledNames):
    """Keeps a family of AstDB. `hosts` are the old hosts it speaks for (all if empty)."""

    kind: ClassVar[str] = "asterisk-astdb"
    mtime_step: ClassVar[bool] = False
    OLD_ROW = re.compile(rb"^(?!user=|redirectd:generation |# What)[^\n]", re.MULTILINE)

    def __init__(
        self,
        *,
        match: str = "request-uri",
        family: str = "redirectd",
        hosts: Collection[str] = (),
        width: str = WIDTH,
        legacy_keys: bool = True,
    ) -> None:
        super().__init__(match, hosts, width=width, legacy_keys=legacy_keys)
        if not _FAMILY.fullmatch(family):
            raise ValueError(f"family {family!r} is not a name of up to 40 letters, digits, - and _")
        self._family = family
        # One entry of ``database show``: ``/redirectd/4930111          : sip:+4930222@192.0.2.2``, padded by blanks.
        self._shown = re.compile(rf"^/{re.escape(family)}/(\S+?) *: (\S*) *\r?$", re.MULTILINE)

    @property
    def own_place(self) -> tuple[str, str]:
        """Name the family."""
        return "family", f"the family {self._family} of AstDB"

    def lines(self) -> Lines:
        """Give the context that looks up, and its call."""
        value = f"${{DB({self._family}/${{MD5(${{REDIRECTD_USER}})}})}}"
        context = LOOKUP if self._family == "redirectd" else f"{self._family}-lookup"
        return lines_of(context, f" same => n,Return({value})\n", value)

    def _value(self, new: SipUri) -> str:
        return dialled(new, MAX_VALUE)

    @property
    def line_form(self) -> LineForm:
        """Give how a line is written."""
        return _LINES

    def _write(self, found: Projection, base: bytes | None) -> Rendered:
        """Write the entries in the order of their users, the token last."""
        token = token_of(found.entries)
        rows = chain(found.entries.items(), [(SENTINEL, token)])
        content = write_lines(_HEAD, (f"{user} {uri}" for user, uri in rows))
        return found.rendered(content, token)

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """Read the file back: one user a line, none twice, the token true."""
        entries = gather(_rows(content), like, "user")
        return take_token(entries, SENTINEL, "line")

    def reload(self) -> Sequence[Command]:
        """Nothing: Asterisk reads no file here, see `load`."""
        return ()

    def standing(self, token: str) -> Question:
        """Ask for the token."""
        return self._get(SENTINEL, token)

    def load(self, entries: Mapping[str, str], changed: Sequence[str]) -> Sequence[Command]:
        """Put and delete what changed; no token is present meanwhile.

        Deleting what isn't there is an error, and somebody may have deleted it by hand: so it is put first, and empty,
        which to the operator's lookup is nothing.
        """
        commands = [self._put(SENTINEL, _UNDER_WAY)]
        for key in changed:
            commands.append(self._put(_stored(key), entries.get(key, "")))
            if key not in entries:
                commands.append(Command("DBDel", (self._family, _stored(key))))
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
        wrong = [key for key, value in entries.items() if found.pop(_stored(key), None) != value]
        return self.load(entries, [*wrong, *found])

    def usual_cause(self, doubt: str) -> str | None:
        """Name what keeps entries out of AstDB, or changes them there."""
        if "ermission" in doubt:
            return "the manager user lacks a class: `write = system,command` in manager.conf, then `manager reload`"
        if " instead of " in doubt:
            return (
                f"somebody else writes to the family {self._family} of AstDB, or Asterisk can't write to astdb.sqlite3 "
                "(its owner, or a full disk)"
            )
        return None

    def _put(self, key: str, value: str) -> Command:
        return Command("DBPut", (self._family, key, value))

    def _get(self, key: str, wanted: str) -> Question:
        return Question(Command(f"database get {self._family} {_stored(key)}"), _judge(key, wanted))

    def questions(self, rendered: Rendered, changed: Sequence[str]) -> Sequence[Question]:
        """Ask for the token and for changed users one by one (all, or 200 of them)."""
        asked = [(SENTINEL, rendered.token), *((key, rendered.entries.get(key, "")) for key in sample(changed))]
        return [self._get(key, wanted) for key, wanted in asked]


def _stored(key: str) -> str:
    """Give the key of AstDB for that of an entry."""
    return digest_of(key.removeprefix(EXACT)) if key.startswith(EXACT) else key


def _around(token: str) -> tuple[bytes, bytes]:
    return f"{_HEAD}\n".encode(), f"{SENTINEL} {token}\n".encode()


def _line(key: str, value: str) -> bytes:
    return write_lines("", [f"{key} {value}"])[1:-1]


def _entry(line: bytes) -> tuple[str, str]:
    key, _, value = line.decode("ascii").partition(" ")
    return key, value


def _plain(lines: bytes) -> bytes | None:
    """Make ``KEY NUL VALUE`` of lines, which have one blank each."""
    return lines.replace(b" ", b"\0") if lines.count(b" ") == lines.count(b"\n") else None


_LINES = LineForm(_around, _line, _entry, _plain)


def _rows(content: bytes) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text_lines(content), 1):
        if number == 1 and line == _HEAD:
            continue  # nothing else is a comment: a user may begin with #, as service codes do
        found = _LINE.fullmatch(line)
        if found is None:
            raise TargetError(f"line {number}: not a user and a URI")
        key, value = found.groups()
        name = key.removeprefix(EXACT)
        if key != SENTINEL and not (NAME.fullmatch(name) if key.startswith(EXACT) else is_old_extension(key)):
            raise TargetError(f"line {number}: not a user as it is written here")
        yield number, key, value


def _judge(key: str, wanted: str) -> Callable[[Reply | ServerFault], str | None]:
    def judge(reply: Reply | ServerFault) -> str | None:
        text = (reply.text if isinstance(reply, ServerFault) else str(reply)).strip()
        held = text.partition("Value: ")[2].strip() if text.startswith("Value: ") else ""
        if held == wanted and (held or "not found" in text):
            return None
        return f"{key} gives {held or 'nothing'} instead of {wanted or 'nothing'}"

    return judge
