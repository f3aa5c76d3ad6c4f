"""Remaps as a person names them: by id, or by their old URI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redirectd.cli.selection import is_id
from redirectd.errors import UsageError
from redirectd.review.decide import load
from redirectd.review.four_eyes import with_approvals
from redirectd.review.holds import with_holds
from redirectd.sip.routekey import route_key
from redirectd.sip.text import printable, unescape_percent
from redirectd.sip.uri import VISUAL_SEPARATORS, SipUri, UriError, parse_uri
from redirectd.store import remaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from redirectd.cli.filters import Filters
    from redirectd.collect.policy import Policy
    from redirectd.store.remap import Remap


def named(connection: Connection, what: str, policy: Policy) -> list[Remap]:
    """The remap of an id, or all of an old URI (R24), with their holds. Raises UsageError where there is none."""
    if is_id(what):
        return [with_holds(load(connection, int(what)), policy)]
    uri = sip_uri(what)
    found = remaps.by_old_key(connection, str(route_key(uri)))
    if not found:
        raise UsageError(printable(what, 200), "no remap has this old URI", "see the old URIs with 'redirectd list'")
    return [with_holds(remap, policy) for remap in found]


def named_all(connection: Connection, names: Sequence[str], filters: Filters, policy: Policy) -> list[Remap]:
    """The remaps of all names, each once, with their holds. Raises UsageError for names and a filter together."""
    if not filters.is_empty:
        raise UsageError(printable(names[0], 200), "it takes ids and URIs or a filter, not both", "leave one out")
    found = {remap.id: remap for what in names for remap in named(connection, what, policy)}
    return with_approvals(connection, found.values(), policy)


def of_user(connection: Connection, name: str) -> list[str]:
    """The old URIs of all remaps of a bare user or number, which has neither ``@`` nor ``:``; none for anything else.

    A number is the same with and without visual separators (RFC 3966), a user with and without escapes.
    """
    if ":" in name or "@" in name:
        return []
    wanted = _plain(name)
    rows = remaps.uris_of(connection, remaps.RemapFilter(kind="user"))
    return list(dict.fromkeys(row.old_uri for row in rows if _plain(_user(row.old_uri)) == wanted))


def _user(uri: str) -> str:
    userinfo, at, _ = uri.partition(":")[2].partition("@")
    return userinfo.partition(":")[0] if at else ""


def _plain(user: str) -> str:
    text = unescape_percent(user)
    number = text.partition(";")[0].translate(VISUAL_SEPARATORS)
    return number if number.removeprefix("+").isdecimal() else text


def sip_uri(text: str) -> SipUri:
    """A SIP URI as typed; `sip:` may be left out. Raises UsageError."""
    whole = text if text.partition(":")[0].lower() in {"sip", "sips", "tel"} else f"sip:{text}"
    try:
        uri = parse_uri(whole)
    except UriError as error:
        raise UsageError(printable(text, 200), f"not a SIP URI: {error.why}", "write it as sip:user@host") from None
    if not isinstance(uri, SipUri):
        raise UsageError(printable(text, 200), "routing looks SIP URIs up", "write it as sip:user@host")
    return uri
