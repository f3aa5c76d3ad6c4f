"""Who asks, by the token, which header of a proxy counts, and what is refused at once."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from time import monotonic

import structlog
from starlette.requests import ClientDisconnect, HTTPConnection, Request

from redirectd.config.console_section import USUAL_PORTS, ConsoleSection
from redirectd.errors import RedirectdError, StoreError
from redirectd.sip.text import printable
from redirectd.store import tokens
from redirectd.store.database import Database
from redirectd.store.tokens import ApiToken, Role

_log = structlog.get_logger("redirectd.console")


LONGEST_NAME = 200
LONGEST_BODY = 256 * 1024
BODY_SECONDS = 10.0


class DeniedError(RedirectdError):
    """A request that is answered with an HTTP status of its own; `retry_after` is in seconds.

    `is_last`: nothing more is read of its connection.
    """

    def __init__(
        self, status: int, why: str, what_to_do: str, *, retry_after: int | None = None, is_last: bool = False
    ) -> None:
        super().__init__("request", why, what_to_do)
        self.status = status
        self.retry_after = retry_after
        self.is_last = is_last


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who has a token or has signed in: `account` has its kind, as in `unix:ada`.

    `token` is the id of a token, None for a browser; `csrf` is what the forms of a browser's session must hold.
    """

    account: str
    role: Role
    address: str
    token: int | None = None
    csrf: str = ""

    def may(self, role: Role) -> bool:
        """Whether the role covers another one."""
        return self.role.rank >= role.rank

    @property
    def via(self) -> dict[str, str]:
        """What the audit keeps of the way."""
        return {"address": self.address, "by": "session" if self.token is None else f"token {self.token}"}


def role_of(section: ConsoleSection, groups: Iterable[str]) -> Role | None:
    """The role that a member of these groups has: of several, the one that may most."""
    given = set(groups)
    named: dict[str, list[str]] = section.roles.model_dump()
    return next((role for role in reversed(Role) if given.intersection(named[role.value])), None)


class RateLimit:
    """At most `per_second` for each key, and `burst` at once; of the keys the latest `most` are known."""

    def __init__(self, per_second: float, burst: float, most: int = 10_000) -> None:
        self._per_second, self._burst, self._most = per_second, burst, most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> int:
        """Counts one; gives 0, or the seconds after which to try again."""
        now = monotonic()
        with self._lock:
            left, at = self._left.pop(key, (self._burst, now))
            left = min(self._burst, left + (now - at) * self._per_second)
            allowed = left >= 1
            self._left[key] = (left - 1 if allowed else left, now)
            while len(self._left) > self._most:
                self._left.popitem(last=False)
        return 0 if allowed else int((1 - left) / self._per_second) + 1

    def give_back(self, key: str) -> None:
        """Takes one count back: what it was for has gone well."""
        with self._lock:
            if key in self._left:
                left, at = self._left[key]
                self._left[key] = (left + 1, at)


@contextmanager
def admitted(places: threading.Semaphore, seconds: float) -> Iterator[None]:
    """Takes one of a few places for as long as it lasts. Raises DeniedError where none is free in time."""
    if not places.acquire(timeout=seconds):
        raise DeniedError(503, "too many people sign in at once", "wait 5 s", retry_after=5)
    try:
        yield
    finally:
        places.release()


class Access:
    """Decides who a request is of, by the configuration and the database."""

    def __init__(self, section: ConsoleSection, database: Database, clock: Callable[[], datetime]) -> None:
        self.section, self.database, self.clock = section, database, clock
        self._requests, self._wrong = RateLimit(20, 200), RateLimit(1, 50)

    def address(self, request: HTTPConnection) -> str:
        """Where a request comes from: behind a proxy, what that says."""
        direct = request.client.host if request.client else ""
        if not self._is_proxy(request):
            return direct or "unix"
        for part in reversed(",".join(request.headers.getlist("x-forwarded-for")).split(",")):
            found = _ip(part.strip())
            if found is None:
                break
            if not any(found in network for network in self.section.trusted_proxies):
                return str(found)
        return direct or "unix"

    def refuse(self, request: HTTPConnection) -> None:
        """Raises DeniedError for a request that nobody's sign-in can make right."""
        if {"content-length", "transfer-encoding"} <= set(
            request.headers.keys()
        ):  # a proxy may see another end (RFC 9112)
            why = "it has both Content-Length and Transfer-Encoding"
            raise DeniedError(400, why, "send one of them", is_last=True)
        if b"%00" in request.scope["query_string"]:  # no database takes it alike
            raise DeniedError(400, "its query has a NUL character", "leave it out")
        section = self.section
        if not section.is_local and section.tls_certificate is None and not self._is_proxy(request):
            raise DeniedError(403, "only the reverse proxy may connect here", "use the address of the proxy")
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0].lower()):
            raise DeniedError(
                421,
                f"it is for the host {printable(', '.join(hosts), 100) or '(none)'}, which is not this one",
                "use the address in [console] url or listen",
            )
        for name in filter(None, (section.user_header, section.groups_header)):
            values = request.headers.getlist(name)
            if values and (section.user_header is None or not self._is_proxy(request)):
                raise DeniedError(403, f"it carries {name}, and does not come from a trusted proxy", "leave it out")
            if len(values) > 1:
                raise DeniedError(400, f"it carries {name} {len(values)} times", "let the proxy replace the header")

    def named_by_proxy(self, request: HTTPConnection) -> tuple[str, Role | None] | None:
        """The account that a trusted proxy names, and its role; `refuse` has seen to whose the header is.

        Raises DeniedError for a name that can't be one.
        """
        section = self.section
        name = "" if section.user_header is None else request.headers.get(section.user_header, "").strip()
        if not name:
            return None
        if len(name) > LONGEST_NAME or not name.isascii() or not name.isprintable():
            raise DeniedError(400, f"{section.user_header} is not a name", "let the proxy send the plain user name")
        groups = request.headers.get(section.groups_header, "").split(",")
        return f"proxy:{name}", role_of(section, (one.strip() for one in groups))

    def origin(self, request: HTTPConnection) -> str:
        """The origin that the console's own pages have."""
        if self.section.url is not None:
            return self.section.url
        scheme = "https" if self.section.tls_certificate is not None else "http"
        return f"{scheme}://{request.headers.get('host', '').lower()}"

    @property
    def is_secure(self) -> bool:
        """Whether browsers come by https."""
        return self.section.tls_certificate is not None or (self.section.url or "").startswith("https:")

    def by_token(self, request: HTTPConnection) -> Visitor:
        """Who a bearer token is of. Raises DeniedError where there is none, or none that counts.

        Requests are limited by token, and wrong tokens by address: nobody uses up what belongs to others.
        """
        values = request.headers.getlist("authorization")
        scheme, _, secret = values[0].partition(" ") if len(values) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not secret:
            raise DeniedError(401, "it has no token", "send a header Authorization: Bearer TOKEN")
        address, now = self.address(request), self.clock()
        token = self._token(secret.strip(), now)
        wait = self._wrong.take(address) if token is None else self._requests.take(str(token.id))
        if wait:
            raise DeniedError(429, "too many requests", f"wait {wait} s", retry_after=wait)
        if token is None:
            raise DeniedError(401, "its token is unknown, expired or revoked", "make a new one")
        if token.used_at is None or token.used_at < now - tokens.NOTED_EVERY or token.used_from != address:
            with self.database.begin() as connection:
                tokens.note_use(connection, token.id, now=now, address=address)
        return Visitor(token.owner, token.role, address, token.id)

    def _token(self, secret: str, now: datetime) -> ApiToken | None:
        """The token of a secret."""
        try:
            with self.database.read() as connection:
                return tokens.token_of(connection, secret, now)
        except StoreError as error:
            raise unavailable(error) from error

    def _is_proxy(self, request: HTTPConnection) -> bool:
        if self.section.path is not None:
            return True
        found = _ip(request.client.host if request.client else "")
        return found is not None and any(found in network for network in self.section.trusted_proxies)

    def _is_own(self, host: str) -> bool:
        """Whether a Host header names this server: a page of another name that leads here must not reach it."""
        known = set()
        if self.section.url is not None:
            scheme, _, name = self.section.url.partition("://")
            known |= {name, f"{name}:{USUAL_PORTS[scheme]}"}
        elif self.section.path is not None:
            return True
        if self.section.is_local and self.section.path is None:
            port = self.section.listen.rpartition(":")[2]
            known |= {self.section.listen, *(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))}
        return host in known


def unavailable(error: StoreError) -> DeniedError:
    """What is said of the database to somebody who may be anybody; what is wrong with it is logged."""
    _log.error("console_without_database", where=error.where, why=error.why, what_to_do=error.what_to_do)
    return DeniedError(503, "the database can't be read at present", "try again; the console's log says what is wrong")


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    """An address as the configuration writes it: IPv4 also where a socket of both kinds gives it, and no zone."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        return found.ipv4_mapped or IPv6Address(int(found))
    return found


async def read_body(request: Request) -> bytes:
    """The body. Raises DeniedError for one that is too long, ends early, or does not come within ten seconds."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > LONGEST_BODY:
                    raise DeniedError(
                        413, f"its body has more than {LONGEST_BODY:,} bytes", "send less at once", is_last=True
                    )
    except TimeoutError as error:
        raise DeniedError(408, "its body did not come in time", "send it at once", is_last=True) from error
    except ClientDisconnect as error:
        raise DeniedError(400, "its body was not sent to the end", "send it again", is_last=True) from error
    return b"".join(parts)
