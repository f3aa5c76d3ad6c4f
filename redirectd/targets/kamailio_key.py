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

from redirectd.plan.target import CannotCarryError
from redirectd.sip.host import canonical_host
from redirectd.sip.routekey import route_key
from redirectd.sip.text import normalize_escapes
from redirectd.sip.uri import SipUri
from redirectd.targets.uritext import checked

MAX_KEY = 512
"""Longest key written, in characters; no user of a phone network comes near it."""

_EXACT = re.compile(r"(sips?):(?:([^@]+)|)@([^@;]+?)(:[0-9]*);([^@;]*)")
_MAX_ESCAPED = 250  # what the operator's lines undo escapes in


def exact_keys(uri: SipUri) -> Collection[str]:
    """Give the one key of a URI; CannotCarryError for what `checked` refuses or what the lines can't look up."""
    key = route_key(checked(uri))
    user = key.user or ""
    text = f"{key.scheme}:{user}@{key.host}:{key.port or ''};{key.transport or ''}"
    if len(text) > MAX_KEY or ("%" in user and len(user) > _MAX_ESCAPED):
        raise CannotCarryError(
            f"the old URI is longer than the {MAX_KEY} characters ({_MAX_ESCAPED} with escapes) of a key"
        )
    return (text,)


def is_exact(key: str) -> bool:
    """Say if a key is a whole route key, and not one of the old ``user@host``."""
    return _EXACT.fullmatch(key) is not None


def uri_of(key: str) -> str:
    """Give the URI that a key stands for, an old key's too."""
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
