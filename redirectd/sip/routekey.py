"""The route key: the part of a SIP URI that routing can match on, and the store's key (R24)."""

from typing import NamedTuple

from redirectd.sip.host import canonical_host
from redirectd.sip.text import normalize_escapes
from redirectd.sip.uri import SipUri


class RouteKey(NamedTuple):
    """Scheme, user, host, port and transport of a SIP URI in canonical form; an equivalence, unlike 19.1.4.

    `user` has its unreserved escapes undone, the others in upper case, and keeps its case; `host` is
    lower case, IPv6 by RFC 5952 in brackets, without a trailing dot; `port` and `transport` (lower case) are
    None where the URI does not name them: no default is filled in.

    Left out are all other parameters (``user=phone``, ``maddr`` and unknown ones), the headers, and the
    password: 19.1.4 counts the password as identity, but it is deprecated (19.1.1), no routing matches on it,
    and a key goes into files and logs where a password must not be. URIs that differ in it share a key.

    Keys sort by host, then user, so that a gateway's remaps are together in a list.
    """

    scheme: str
    user: str | None
    host: str
    port: int | None = None
    transport: str | None = None

    def __str__(self) -> str:
        """Write the key as a SIP URI; `route_key` of that URI is this key again."""
        at = "" if self.user is None else f"{self.user}@"
        port = "" if self.port is None else f":{self.port}"
        transport = "" if self.transport is None else f";transport={self.transport}"
        return f"{self.scheme}:{at}{self.host}{port}{transport}"

    def __lt__(self, other: tuple[object, ...]) -> bool:
        return self._order < other._order if isinstance(other, RouteKey) else NotImplemented

    def __le__(self, other: tuple[object, ...]) -> bool:
        return self._order <= other._order if isinstance(other, RouteKey) else NotImplemented

    def __gt__(self, other: tuple[object, ...]) -> bool:
        return self._order > other._order if isinstance(other, RouteKey) else NotImplemented

    def __ge__(self, other: tuple[object, ...]) -> bool:
        return self._order >= other._order if isinstance(other, RouteKey) else NotImplemented

    @property
    def without_user(self) -> "RouteKey":
        """The key of the host, port and transport alone."""
        return self if self.user is None else self._replace(user=None)

    @property
    def uri(self) -> SipUri:
        """The key as a URI."""
        params = () if self.transport is None else (("transport", self.transport),)
        return SipUri(self.scheme, self.user, None, self.host, self.port, params)

    @property
    def _order(self) -> tuple[str, bool, str, int, str, str]:
        user = self.user
        return self.host, user is not None, user or "", self.port or 0, self.transport or "", self.scheme


def route_key(uri: SipUri) -> RouteKey:
    """Give the key of a URI that `redirectd.sip.uri.parse_uri` accepted."""
    return RouteKey(
        uri.scheme,
        None if uri.user is None else normalize_escapes(uri.user),
        canonical_host(uri.host),
        uri.port,
        uri.transport if uri.params else None,
    )
