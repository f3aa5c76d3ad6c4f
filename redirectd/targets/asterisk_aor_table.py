"""asterisk-pjsip-aor in a database: gateway moves in the contacts of the operator's own realtime AORs, `ps_aors`.

Nothing but a contact is changed there, by id and by what it was; a table of redirectd's own keeps what each moved row
had before. So what the operator adds and changes elsewhere comes through, and a move that he has changed by hand is
seen by that record.

The text of this target is `ps_aors` as sections of pjsip.conf, below a comment for each moved row: the text of a file,
which is planned, compared and asked about as one. In realtime a ``;`` would end a value, and is ``^3B``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from redirectd.plan.route import Route
from redirectd.plan.target import Command, Question, Rendered, TargetError, token_of
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri, UriError, parse_uri
from redirectd.targets.asterisk_pjsip_aor import AsteriskPjsipAor
from redirectd.targets.dbtext import Column, Table
from redirectd.targets.sqltable import Row, SqlTable, checked_base, user_name

SENTINEL = "__gen__"
LONGEST = 255
"""Characters of a contact in Asterisk's own table."""

SQL = SqlTable(
    "redirectd_aor",
    Table((Column("id", "int", "auto"), Column("aor", "string"), Column("old", "string"), Column("new", "string")), {}),
    {"aor": LONGEST, "old": LONGEST, "new": LONGEST},
    ("aor",),
)
_AOR = re.compile(r"[A-Za-z0-9_.+@\-]{1,79}")
_GENERATION = b"; redirectd "
_MOVED = b"; moved "
_BY_HAND = b"; a moved contact is not as redirectd left it: "
_OWN = b"; left as it is, since redirectd can't read its contact: "
_CONTACT = "contact = "
_EXPIRE = Command("sorcery memory cache expire res_pjsip/aor")


class Moved(NamedTuple):
    """What redirectd has written into the row of an AOR, and what was there: both as the column has them."""

    aor: str
    old: str
    new: str


class AsteriskAorTable(AsteriskPjsipAor):
    """Moves gateways in `base`, the operator's table of AORs; `sql` is redirectd's own."""

    def __init__(self, *, base: str = "ps_aors", width: str = AsteriskPjsipAor.WIDTH, sql: SqlTable = SQL) -> None:
        super().__init__(base=base, width=width)
        self.base = checked_base(base, "AORs", "ps_aors")
        self.sql = sql

    def render(self, routes: Sequence[Route], base: bytes | None) -> Rendered:
        """Write the moves and the rows that they make; TargetError where they can't be."""
        if base is None:
            raise TargetError(f"the table {self.base} has no row")
        plain = super().render(routes, base)
        sections = plain.content.partition(b"\n")[2]
        before, after = contacts_of(base), contacts_of(sections)
        moved = [Moved(aor, before[aor], new) for aor, new in after.items() if new != before[aor]]
        long = [each for each in moved if len(each.new) > LONGEST]
        if long:
            raise TargetError(f"the moved contact of {long[0].aor} is longer than {LONGEST} characters: {long[0].new}")
        return replace(plain, content=_head(moved) + sections)

    def text(self, rows: Iterable[Row], aors: Iterable[Row]) -> bytes | None:
        """Give this target's text for the rows of its own table, and for id and contact of the operator's."""
        moved, there = _records(rows), _columns(aors)
        token = moved.pop(SENTINEL, None)
        kept = [each for each in moved.values() if each.aor in there]  # a row that is gone needs no record
        by_hand = [f"{each.aor} has {there[each.aor]}" for each in kept if there[each.aor] != each.new]
        if (token.new if token else None) != (_token(moved.values()) if moved or token else None):
            by_hand.append(self.sql.name)
        mark = _BY_HAND + printable(", ".join(by_hand), 1000).encode() + b"\n" if by_hand else b""
        return mark + _head(kept) + _listed(there) if there else None

    def unmoved(self, rows: Iterable[Row], aors: Iterable[Row]) -> bytes | None:
        """Give the operator's rows as they were before redirectd's moves."""
        moved, there = _records(rows), _columns(aors)
        for each in moved.values():
            if there.get(each.aor) == each.new:
                there[each.aor] = each.old
        return _listed(there) if there else None

    def rows(self, content: bytes) -> list[Row]:
        """Give the rows of its own table that a text means."""
        moved = _moved(content)
        return [(SENTINEL, "-", _token(moved)), *moved] if _GENERATION in content else list(moved)

    def rebased(self, content: bytes, base: bytes | None) -> bytes:
        """Give the moves of an earlier text over the operator's rows of now."""
        own = base or b""
        there = contacts_of(own)
        moved = [each for each in _moved(content) if there.get(each.aor) == each.old]
        new = {each.aor: each.new for each in moved}
        blocks = (_section(aor, new[aor]) if (aor := _aor_of(block)) in new else block for block in _blocks(own))
        return (_head(moved) if _GENERATION in content else b"") + b"".join(blocks)

    def is_own(self, content: bytes) -> bool:
        """Say if the moves of a text are as redirectd left them; the operator's rows are his, and any are right."""
        return _BY_HAND not in content

    def source(self) -> None:
        """Nothing: the AORs themselves are asked for."""

    def reload(self) -> Sequence[Command]:
        """Nothing but a cache of AORs, where there is one: Asterisk asks the table for each call."""
        return (_EXPIRE,)

    def preflight(self, path: str, rendered: Rendered) -> Question:
        """Ask whether Asterisk knows the last AOR: it reads a table and not a file."""
        last = list(rendered.entries)[-1].rpartition("/")[0]
        return Question(Command(f"pjsip show aor {last}"), lambda _: None)

    def usual_cause(self, doubt: str) -> str | None:
        """Name what keeps Asterisk from the table."""
        if " has " in doubt and " instead of " in doubt:
            return (
                f"Asterisk does not take its AORs from {self.base}: see aor= in sorcery.conf and {self.base} in "
                "extconfig.conf, that no file has an AOR of this name, and that its user may SELECT the table"
            )
        return None

    def setup(self, backend: str, writer: str, reader: str, host: str, quote: Callable[[str], str]) -> list[str]:
        """Give the statements that make redirectd's own table, with the least rights on it and on the contacts."""
        user = user_name(backend, writer, host)
        return [
            *self.sql.setup(backend, writer, "", host, quote),
            f"GRANT SELECT (id, contact), UPDATE (contact) ON {quote(self.base)} TO {user}",
        ]


def contacts_of(content: bytes) -> dict[str, str]:
    """Give the contacts of the AORs of a text, each as the column has it."""
    found: dict[str, list[str]] = {}
    for block in _blocks(content):
        for line in block.decode("ascii", "surrogateescape").split("\n"):
            if line.startswith(_CONTACT):
                found.setdefault(_aor_of(block), []).append(line.removeprefix(_CONTACT))
    return {aor: ",".join(one.replace("\\;", "^3B") for one in each) for aor, each in found.items()}


def _records(rows: Iterable[Row]) -> dict[str, Moved]:
    return {str(aor): Moved(str(aor), str(old), str(new)) for aor, old, new in rows}


def _columns(aors: Iterable[Row]) -> dict[str, str]:
    return {str(aor): "" if contact is None else str(contact) for aor, contact in aors}


def _token(moved: Iterable[Moved]) -> str:
    return token_of({each.aor: f"{each.old} {each.new}" for each in moved})


def _head(moved: Sequence[Moved]) -> bytes:
    """Write the records; what somebody else has written among them comes as one line each, too, and is not a record."""
    shown = (printable(" ".join(each), 4000).encode("ascii", "backslashreplace") for each in sorted(moved))
    return b"".join([_GENERATION + _token(moved).encode() + b"\n", *(_MOVED + each + b"\n" for each in shown)])


def _moved(content: bytes) -> list[Moved]:
    lines = (line.removeprefix(_MOVED) for line in content.split(b"\n") if line.startswith(_MOVED))
    return [Moved(*words) for line in lines if len(words := line.decode("ascii").split(" ")) == len(Moved._fields)]


def _listed(aors: Mapping[str, str]) -> bytes:
    return b"".join(_section(aor, aors[aor]) for aor in sorted(aors))


def _section(aor: str, contact: str) -> bytes:
    """Write a row as a section, or as a comment where it is not in the one way that a contact is written here."""
    if not contact:
        return b""
    parts = contact.split(",")
    if _AOR.fullmatch(aor) and all(map(_is_usual, parts)):
        lines = [f"[{aor}]", "type = aor", *(_CONTACT + part.replace("^3B", "\\;") for part in parts)]
        return ("\n".join(lines) + "\n").encode("ascii")
    return _OWN + printable(f"{aor} {contact}", 600).encode("ascii", "backslashreplace") + b"\n"


def _is_usual(part: str) -> bool:
    text = part.replace("^3B", ";")
    if ";" in part or "^" in text or "\\" in text or not (text.isascii() and text.isprintable()) or " " in text:
        return False
    try:
        return isinstance(parse_uri(text), SipUri)
    except UriError:
        return False


def _blocks(content: bytes) -> Iterator[bytes]:
    """Give the sections of a text, and what is between them."""
    yield from re.split(rb"(?m)^(?=\[|; )", content)


def _aor_of(block: bytes) -> str:
    return block[1 : block.index(b"]")].decode("ascii") if block.startswith(b"[") else ""
