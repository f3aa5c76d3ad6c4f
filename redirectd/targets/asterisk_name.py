"""The name by which Asterisk looks a call up: the MD5 of the dialled name, so that nothing of a caller is read (R41).

Asterisk knows a number, not a URI: an entry moves every call to its user for which the printed lines ask, which is this
kind's `width`. Within that the name is exact: dashes, case and every character a SIP user can hold count. Not asked for
are sips: calls, names with ``:`` (functions of Asterisk take what follows for a substring) and what Asterisk would cut.

Rows of earlier versions are under the plain name, by an allow-list, spread by the MD5 of the name without any guard.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from hashlib import md5

from redirectd.plan.target import CannotCarryError, Command, Lines, Question, Reply, ServerFault
from redirectd.sip.text import printable, unescape_percent
from redirectd.sip.uri import SipUri, UriError, canonical_host, parse_uri
from redirectd.targets.uritext import ASTERISK, checked, write_uri
from redirectd.targets.user_moves import NotAskedError, UserMoves

WIDTH = "user"
"""What Asterisk matches on."""

MAX_NAME = 78
"""Longest name written, in characters. Asterisk cuts a longer one at 79, and so would find that of another user."""

MAX_VALUE = 500
"""Longest new URI, in characters: Asterisk builds pjproject with room for 512."""

EXACT = "user="
"""Begins the key of an entry that is looked up by the MD5 of the name behind it; earlier versions' have no mark."""

NAME = re.compile(r"(?:[A-Za-z0-9+*#._~\-]|%[0-9A-F]{2})++")
"""A name as it is shown in keys and files."""

OLD_NAME = re.compile(r"[A-Za-z0-9+*#.~_\-]++")
OLD_LINES = re.compile(r"^[^;\n]*FILTER\(-?\+0-9A-Za-z\.~_\*.*", re.MULTILINE)
"""The guards of earlier versions, as they were printed."""

GUARD = """\
exten => s,1,GotoIf($["${CHANNEL(channeltype)}" != "PJSIP"]?ask)
 same => n,GotoIf($["${CHANNEL(pjsip,request_uri):0:4}" = "sips"]?none)
 same => n(ask),GotoIf($[${FIELDQTY(REDIRECTD_USER,:)} != 1]?none)
"""
"""How the lookup begins: no sips: call, and no name with a colon."""

LOOKUP = "redirectd-lookup"
"""The context that looks up, for a target with the usual names."""

_SPECIAL = frozenset("ihtsoaeT")
_PLAIN = re.compile(r"[A-Za-z0-9+*#._~\-]")


def digest_of(name: str) -> str:
    """Give the 32 hex digits that ``${MD5(...)}`` gives for a name as it is shown."""
    # The name is what is dialled: its escapes are only those of the file.
    return md5(unescape_percent(name).encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def shard(extension: str) -> str:
    """Give the two hex digits of the context of an earlier version's row."""
    return md5(extension.encode("ascii"), usedforsecurity=False).hexdigest()[:2]


def name_of(uri: SipUri) -> str:
    """Give the key of a URI's dialled name, all but plain characters as escapes.

    Raises CannotCarryError for what no call has, or what the lookup does not find.
    """
    user = checked(uri).user
    if user is None:
        raise CannotCarryError("the old URI has no user, and an extension is a user")
    if uri.scheme != "sip":
        raise CannotCarryError("Asterisk looks sips: and sip: up alike, so that no sips: URI is moved")
    name = unescape_percent(user)
    if ":" in name:
        raise CannotCarryError("the old user holds ':', which the functions of Asterisk would read")
    if len(name) > MAX_NAME:
        raise CannotCarryError(f"the old user has over {MAX_NAME} characters, and Asterisk would cut it")
    if not name.replace("-", ""):
        raise CannotCarryError("the old user is dashes alone, which Asterisk ignores: no call has it")
    return EXACT + "".join(char if _PLAIN.fullmatch(char) else f"%{ord(char):02X}" for char in name)


def asked_name(uri: SipUri) -> str:
    """Give the key of the name that the printed lines look a call to `uri` up by. Raises NotAskedError for none."""
    if uri.scheme != "sip":
        raise NotAskedError("a known miss: the lookup is not made for sips: calls")
    if uri.user is None:
        raise NotAskedError("a known miss: a call without a user has no extension")
    name = unescape_percent(uri.user).partition("\0")[0]
    if ":" in name or len(name) > MAX_NAME:
        raise NotAskedError(f"a known miss: a user with ':' in it, or of over {MAX_NAME} characters")
    raw = name.encode("utf-8", "surrogateescape")
    return EXACT + "".join(chr(byte) if _PLAIN.fullmatch(chr(byte)) else f"%{byte:02X}" for byte in raw)


def old_extension(uri: SipUri) -> str:
    """Give the plain extension under which earlier versions wrote a user; CannotCarryError where they did not."""
    extension = unescape_percent(checked(uri).user or "")
    if not OLD_NAME.fullmatch(extension) or extension[0] == "_" or extension in _SPECIAL:
        raise CannotCarryError("earlier versions had no such extension")
    return extension


def is_old_extension(extension: str) -> bool:
    """Say if an earlier version could have written the extension: nothing that Asterisk would read as more."""
    return (
        OLD_NAME.fullmatch(extension) is not None
        and extension[0] != "_"
        and extension not in _SPECIAL
        and len(extension) <= MAX_NAME + 1
    )


def dialled(uri: SipUri, limit: int = MAX_VALUE) -> str:
    """Write a new URI so that it arrives as it is when it is dialled. Raises CannotCarryError."""
    text = write_uri(uri, ASTERISK, limit=limit)
    if "%25" in text:
        raise CannotCarryError("the new URI holds %25, and Asterisk would send another: a%2541b leaves as a%41b")
    return text


def also_moved(old: SipUri) -> str:
    """Name what an entry for `old` moves besides it."""
    return f"calls to {printable(old.user or '', 100)} at any other host, port and transport that are looked up here"


def lines_of(context: str, steps: str, wanted: str) -> Lines:
    """Give the lookup: `context` with what comes after the guard, `wanted` being a part of it that Asterisk shows."""
    call = (
        f" same => n,Set(REDIRECTD_USER=${{EXTEN}})\n same => n,Gosub({context},s,1)\n"
        " same => n,GotoIf($[${LEN(${GOSUB_RETVAL})} > 0]?moved)\n"
    )
    beside = f"[{context}]\n{GUARD}{steps} same => n(none),Return()\n"
    return Lines(call, beside, OLD_LINES, _asks_for(context, wanted))


def _asks_for(context: str, wanted: str) -> Question:

    def judge(reply: Reply | ServerFault) -> str | None:
        text = reply.text if isinstance(reply, ServerFault) else str(reply)
        if context not in text or "There is no existence" in text:
            return f"its dialplan has no context {context}"
        if "CHANNEL(pjsip,request_uri)" in text and wanted in text:
            return None
        return f"its context {context} is not this version's"

    return Question(Command(f"dialplan show {context}"), judge)


def read_hosts(texts: Iterable[str]) -> frozenset[tuple[str, int | None]]:
    """Read ``host`` or ``host:port`` entries; ValueError names the one that is neither."""
    hosts: set[tuple[str, int | None]] = set()
    for text in texts:
        try:
            uri = parse_uri(f"sip:{text}")
        except UriError as error:
            raise ValueError(f"{text!r} is not a host or host:port ({error.why})") from None
        if not isinstance(uri, SipUri) or uri != SipUri("sip", None, None, uri.host, uri.port):
            raise ValueError(f"{text!r} is not a host or host:port")
        hosts.add((canonical_host(uri.host), uri.port))
    return frozenset(hosts)


def speaks_for(hosts: Collection[tuple[str, int | None]], uri: SipUri) -> bool:
    """Say if `uri` is at one of `hosts`: an entry without port means every port, and a URI without port 5060 (5061)."""
    host = canonical_host(uri.host)
    port = uri.port or (5061 if uri.scheme == "sips" or uri.transport == "tls" else 5060)
    return (host, None) in hosts or (host, port) in hosts


class DialledNames(UserMoves):
    """User moves by the dialled name. `hosts` are the old hosts the target speaks for (all if empty)."""

    WIDTH = WIDTH

    def __init__(self, match: str, hosts: Collection[str], *, width: str, legacy_keys: bool) -> None:
        super().__init__(match, width=width, legacy_keys=legacy_keys)
        self._hosts = read_hosts(hosts)

    def _serves(self, uri: SipUri) -> bool:
        return not self._hosts or speaks_for(self._hosts, uri)

    def _served(self) -> str:
        return " ".join(sorted(map(str, self._hosts)))

    def keys(self, uri: SipUri) -> Collection[str]:
        """Give the user as Asterisk hears it dialled."""
        return (name_of(uri),) if self._serves(uri) else ()

    def asked(self, uri: SipUri, text: str) -> str:
        """Give the dialled name."""
        if not self._serves(uri):
            raise NotAskedError("its host is none of the target's hosts")
        return asked_name(uri)

    def _value(self, new: SipUri) -> str:
        return dialled(new)

    def besides(self, old: SipUri) -> str:
        """Name the same user elsewhere."""
        return also_moved(old)

    def _old_keys(self, uri: SipUri) -> Collection[str]:
        return (old_extension(uri),) if self._serves(uri) else ()

    def _is_old(self, key: str) -> bool:
        return not key.startswith(EXACT)
