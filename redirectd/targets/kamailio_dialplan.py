"""kamailio-dialplan: user moves for those who have the dialplan module, from a db_text table.

Key: the whole route key (R41), as for kamailio-htable; rules of earlier versions have ``sip:user@host`` and stay as
there. Rules are compared one after another, 5.7 ms for the last of 100,000: kamailio-htable is the one for more than a
few thousand.

Only match_op 0 (equal) is written: as PCRE a URI matches others and misses itself. The replacement replaces the whole
input, and ``$`` is kept out of it and of the keys, because dp_translate() would read a variable there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import ClassVar

from redirectd.plan.target import (
    NOTHING,
    CannotCarryError,
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
from redirectd.targets import answers, dbtext
from redirectd.targets.kamailio_htable import SENTINEL
from redirectd.targets.kamailio_key import RouteKeyed
from redirectd.targets.project import Projection
from redirectd.targets.uritext import KAMAILIO, Alphabet, write_uri
from redirectd.targets.user_moves import take_token

_COLUMNS = (
    dbtext.Column("id", "int", "auto"),
    dbtext.Column("dpid", "int"),
    dbtext.Column("pr", "int"),
    dbtext.Column("match_op", "int"),
    dbtext.Column("match_exp", "string"),
    dbtext.Column("match_len", "int"),
    dbtext.Column("subst_exp", "string"),
    dbtext.Column("repl_exp", "string"),
    dbtext.Column("attrs", "string"),
)
_WHOLE = "^.*$"
_ATTRS = "redirectd"
_ALPHABET = Alphabet(KAMAILIO.user - {"$"}, KAMAILIO.params - {"$"})


class KamailioDialplan(RouteKeyed):
    """Writes the rules of one dialplan id, `dpid`."""

    kind: ClassVar[str] = "kamailio-dialplan"
    mtime_step: ClassVar[bool] = True
    OLD_ROW = re.compile(rb"^(?:[^:\n]*:){4}sip\\:[^:\n]*+:", re.MULTILINE)

    def __init__(self, *, match: str = "request-uri", dpid: int = 1, legacy_keys: bool = True) -> None:
        super().__init__(match, legacy_keys=legacy_keys)
        if not 1 <= dpid < 2**31:
            raise ValueError(f"dpid {dpid} is not a dialplan id")
        self._dpid = dpid
        same: dict[str, str | int] = {
            "dpid": dpid,
            "pr": 1,
            "match_op": 0,
            "match_len": 0,
            "subst_exp": _WHOLE,
            "attrs": _ATTRS,
        }
        self._rules = dbtext.Table(_COLUMNS, same)

    def keys(self, uri: SipUri) -> Collection[str]:
        """Give the route key; CannotCarryError for one with a variable."""
        return _without_variable(super().keys(uri))

    def lines(self) -> Lines:
        """Give the lookup and the routes that make the key."""
        translate = f'dp_translate("{self._dpid}", "$var(rd_key)/$var(new)")'
        return self._lines_around(f"if ({translate}) {{ $ru = $var(new); $du = $null; }}\n")

    def _value(self, new: SipUri) -> str:
        return write_uri(new, _ALPHABET)

    def _old_keys(self, uri: SipUri) -> Collection[str]:
        return _without_variable([f"sip:{key}" for key in super()._old_keys(uri)])

    def _write(self, found: Projection, base: bytes | None) -> Rendered:
        """Write the table: sentinel first, then the moves in key order."""
        token = token_of(found.entries)
        content = self._rules.write(chain([(SENTINEL, token)], found.entries.items()))
        return found.rendered(content, token)

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """Read a table as dialplan loads it: equal-rules of this dialplan id that replace the whole input."""
        entries = gather(self._read(content), like, "URI")
        return take_token(entries, SENTINEL, "rule for")

    def _read(self, content: bytes) -> Iterator[tuple[int, str, str]]:
        for number, (key, value) in self._rules.read(content):
            if "$" in key or "$" in value or "\\" in value:
                raise TargetError(f"line {number}: a variable or a back-reference")
            yield number, key, value

    def reload(self) -> Sequence[Command]:
        """Load the rules again; Kamailio takes one reload in five seconds."""
        return (Command("dialplan.reload"),)

    def usual_cause(self, doubt: str) -> str | None:
        """Name what makes Kamailio read other rules."""
        if SENTINEL in doubt:
            return (
                'Kamailio did not read this file: see in kamailio.cfg that "db_url" and "table_name" of dialplan name '
                f'it, modparam("db_text", "db_mode", 1), and that dpid {self._dpid} is the id of no other rules'
            )
        return None

    def questions(self, rendered: Rendered, changed: Sequence[str]) -> Sequence[Question]:
        """Translate the sentinel and changed URIs, all or 200 of them."""
        asked = [(SENTINEL, rendered.token), *((key, rendered.entries.get(key)) for key in sample(changed))]
        return [
            Question(Command("dialplan.translate", (self._dpid, key)), _judge(key, wanted)) for key, wanted in asked
        ]


def _without_variable(keys: Collection[str]) -> Collection[str]:
    if any("$" in key for key in keys):
        raise CannotCarryError("the old user holds $, where the dialplan module would read a variable")
    return keys


def _judge(key: str, wanted: str | None) -> Callable[[Reply | ServerFault], str | None]:
    def judge(reply: Reply | ServerFault) -> str | None:
        if isinstance(reply, ServerFault):
            gone = "No translation" in reply.text
            return None if wanted is None and gone else f"{key}: Kamailio says {reply.text}"
        held = answers.field(reply, "Output")
        if wanted is None:
            return f"{key} is still there, with {held!s}"
        return None if held == wanted else f"{key} gives {held!s} instead of {wanted}"

    return judge
