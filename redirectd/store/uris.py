"""SIP URIs of remaps, read back from the database."""

from __future__ import annotations

import re
from functools import lru_cache

from redirectd.sip.uri import SipUri, parse_uri

_PLAIN = re.compile(r"sip:[A-Za-z0-9_.+\-]{1,64}")


def stored_uri(text: str) -> SipUri:
    """Read a stored URI; those that are a plain user at a host met before are not parsed again."""
    user, at, address = text.partition("@")
    if not _PLAIN.fullmatch(user) or not at or "@" in address:
        return _parsed(text)
    place = _address(address)
    return SipUri(place.scheme, user[len("sip:") :], None, place.host, place.port, place.params, place.headers)


@lru_cache(maxsize=4096)  # of a million URIs nearly all are users of a few hosts
def _address(text: str) -> SipUri:
    return _parsed(f"sip:{text}")


def _parsed(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri), "only SIP URIs are stored on either side of a remap"
    return uri
