"""The text by which Kamailio looks up a Request-URI: its whole route key, so that no other URI has it (R41).

``scheme:user@host:port;transport``, what is absent left empty: ``sip:alice@h.test:6003;``, ``sip:@h.test:;tls``.
The operator's lines (`redirectd snippet kamailio`, route REDIRECTD_KEY) make the same text of a request. Spellings
they do not bring to the canonical one (an IPv6 address not by RFC 5952, ``:05060``, an escape in the transport) are
not moved.

Rows of earlier versions have the key ``user@host``, which has no ``;`` behind its last ``@``.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from redirectd.plan.target import CannotCarryError, Command, Lines, Question, Reply, ServerFault
from redirectd.sip.compare import route_key
from redirectd.sip.text import normalize_escapes
from redirectd.sip.uri import SipUri, canonical_host
from redirectd.targets.uritext import checked
from redirectd.targets.user_moves import NotAskedError, UserMoves

KEY_ROUTES = r"""#!define REDIRECTD_EXACT_KEYS

# In $var(rd_uri) the URI to look up, out $var(rd_key): scheme:user@host:port;transport, what is absent left empty.
route[REDIRECTD_KEY] {
  $var(rd_user) = $(var(rd_uri){s.select,0,@}{s.select,1,:});
  $var(rd_host) = $(var(rd_uri){uri.host}{s.tolower});
  if ($var(rd_uri) =~ "%|\.([:;?]|$)|^[^@]*$") { route(REDIRECTD_RARE); }
  $var(rd_key) = $_s($(var(rd_uri){uri.scheme}{s.tolower}):$var(rd_user)@$var(rd_host):$(var(rd_uri){uri.port});$(var(rd_uri){uri.transport}{s.tolower}));
}

# No user, a dot behind the host, escapes: %61 is a, %2b is %2B. A user of "%" is in no key.
route[REDIRECTD_RARE] {
  if ($var(rd_host) =~ "\.$") { $var(rd_host) = $(var(rd_host){s.striptail,1}); }
  if (!($var(rd_uri) =~ "@")) { $var(rd_user) = ""; }
  if ($(var(rd_uri){uri.params}) =~ "(^|;)[^;=]*%|(^|;)transport=[^;]*%") { $var(rd_user) = "%"; return; }
  if (!($var(rd_user) =~ "%")) { return; }
  if ($(var(rd_user){s.len}) > 250 || !($var(rd_user) =~ "^([^%]|%[0-9A-F][0-9A-F])+$")) { $var(rd_user) = "%"; return; }
  $var(rd_in) = $var(rd_user);
  $var(rd_user) = $(var(rd_in){s.select,0,%});
  $var(rd_i) = 1;
  while ($(var(rd_in){s.select,$var(rd_i),%}{s.len}) > 1) {
    $var(rd_s) = $(var(rd_in){s.select,$var(rd_i),%});
    $var(rd_c) = $_s(%$(var(rd_s){s.substr,0,2}{s.toupper}));
    if ($var(rd_c) =~ "^%(2[1789ADE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])$") { $var(rd_c) = $(var(rd_c){s.unescape.user}); }
    $var(rd_user) = $var(rd_user) + $var(rd_c) + $(var(rd_s){s.strip,2});
    $var(rd_i) = $var(rd_i) + 1;
  }
}
"""  # noqa: E501 - Kamailio has no line continuation
"""The operator's routes that make a request's key, the same for htable and dialplan."""

DEFINED = "REDIRECTD_EXACT_KEYS"
"""What KEY_ROUTES define, so that a running Kamailio shows whether it has them."""

OLD_LINES = re.compile(
    r"""^[ \t]*\$var\(\w+\)[ \t]*=[ \t]*(?:"sip:"[ \t]*\+[ \t]*)?\$rU[ \t]*\+[ \t]*"@".*""", re.MULTILINE
)
"""The key of earlier versions, as it was printed."""

MAX_KEY = 512
"""Longest key written, in characters; no user of a phone network comes near it."""

_EXACT = re.compile(r"(sips?):(?:([^@]+)|)@([^@;]+?)(:[0-9]*);([^@;]*)")
_ZERO_PORT = re.compile(r":0[0-9]*$")
MAX_ESCAPED = 250
"""Longest user in which KEY_ROUTES undo escapes, in characters."""


class RouteKeyed(UserMoves):
    """User moves that Kamailio looks up by the whole route key; entries of earlier versions have less in theirs."""

    def keys(self, uri: SipUri) -> Collection[str]:
        """Give the route key."""
        return exact_keys(uri)

    def asked(self, uri: SipUri, text: str) -> str:
        """Give the key that the operator's routes make."""
        return asked_key(uri, text)

    def _old_keys(self, uri: SipUri) -> Collection[str]:
        return user_at_host(uri)

    def _is_old(self, key: str) -> bool:
        return not is_exact(key)

    def _lines_around(self, lookup: str) -> Lines:
        """Give `lookup`, which finds $var(rd_key), with the routes that make the key."""
        asked = "$ou" if self.match == "incoming" else "$ru"
        call = f"$var(rd_uri) = {asked};\nroute(REDIRECTD_KEY);\n{lookup}"
        return Lines(call, KEY_ROUTES, OLD_LINES, asks_for_lines())


def exact_keys(uri: SipUri) -> Collection[str]:
    """Give the one key of a URI; CannotCarryError for what `checked` refuses or what the lines can't look up."""
    key = route_key(checked(uri))
    user = key.user or ""
    text = f"{key.scheme}:{user}@{key.host}:{key.port or ''};{key.transport or ''}"
    if len(text) > MAX_KEY or ("%" in user and len(user) > MAX_ESCAPED):
        raise CannotCarryError(
            f"the old URI is longer than the {MAX_KEY} characters ({MAX_ESCAPED} with escapes) of a key"
        )
    return (text,)


def asked_key(uri: SipUri, text: str) -> str:
    """Give the key that KEY_ROUTES make of a Request-URI sent as `text`; NotAskedError where they make none."""
    escaped = any("%" in name or (value and "%" in value and name.lower() == "transport") for name, value in uri.params)
    if escaped:
        raise NotAskedError("a known miss: an escape in the name of a parameter or in the transport")
    if "%" in (uri.user or "") and len(uri.user or "") > MAX_ESCAPED:
        raise NotAskedError(f"a known miss: a user of over {MAX_ESCAPED} characters with escapes")
    if uri.host[0] == "[" and uri.host.lower() != canonical_host(uri.host):
        raise NotAskedError("a known miss: an IPv6 address that is not written as in RFC 5952")
    hostport = re.split("[;?]", text.partition("@" if uri.user is not None else ":")[2], maxsplit=1)[0]
    if _ZERO_PORT.search(hostport):
        raise NotAskedError("a known miss: a port with a leading zero")
    key = route_key(uri)
    return f"{key.scheme}:{key.user or ''}@{key.host}:{key.port or ''};{key.transport or ''}"


def asks_for_lines() -> Question:
    """Ask Kamailio whether it has KEY_ROUTES."""

    def judge(reply: Reply | ServerFault) -> str | None:
        if isinstance(reply, ServerFault):
            return f"Kamailio can't say which lines it has: {reply.text}"
        return None if DEFINED in str(reply) else f"its kamailio.cfg does not define {DEFINED}"

    return Question(Command("core.ppdefines_full"), judge)


def is_exact(key: str) -> bool:
    """Say if a key is a whole route key, and not one of the old ``user@host``."""
    return _EXACT.fullmatch(key) is not None


def uri_of(key: str) -> str:
    """Give the URI that a key represents, an old key's too."""
    found = _EXACT.fullmatch(key)
    if not found:
        return key if key.startswith("sip:") else f"sip:{key}"
    scheme, user, host, port, transport = found.groups()
    end = f";transport={transport}" if transport else ""
    return f"{scheme}:{f'{user}@' if user else ''}{host}{port if port != ':' else ''}{end}"


def user_at_host(uri: SipUri) -> Collection[str]:
    """Give user and lower-case host, in the canonical spelling and in the one seen: what is short of a route key.

    Kamailio's ``$rU`` is the user as the caller escaped it, so both spellings are written where they differ.
    Raises CannotCarryError for a URI without user, and for what `checked` refuses.
    """
    user = checked(uri).user
    if user is None:
        raise CannotCarryError("the old URI has no user, and this target matches on user and host")
    host = canonical_host(uri.host)
    keys = [f"{user}@{host}"]
    if "%" in user and (canonical := normalize_escapes(user)) != user:
        keys.append(f"{canonical}@{host}")
    if max(map(len, keys)) > MAX_KEY:
        raise CannotCarryError(f"the old URI is longer than the {MAX_KEY} characters a key can have")
    return keys
