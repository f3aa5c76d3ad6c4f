"""Signing in from a browser: local accounts, people named by a reverse proxy or a provider, and their sessions."""

from __future__ import annotations

import hmac
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from ipaddress import IPv6Address, ip_address

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from redirectd.console.access import LONGEST_NAME, Access, DeniedError, RateLimit, Visitor, admitted, role_of
from redirectd.console.oidc import KEPT_FOR, Oidc
from redirectd.errors import UsageError
from redirectd.sip.text import printable
from redirectd.store import accounts, audit
from redirectd.store.accounts import Session
from redirectd.store.tokens import NOTED_EVERY, Role
from redirectd.store.turns import take_turn

LEAST_PASSWORD, LONGEST_PASSWORD = 12, 1024
CSRF_FIELD = "csrf"
_MOST_KNOWN = 10_000
_AT_ONCE = threading.Semaphore(2)  # each check takes 64 MiB for a moment
_ADMITTED = threading.Semaphore(8)  # most threads are left to those who have signed in
_HASHER = PasswordHasher()
_log = structlog.get_logger("redirectd.console")


class SignInNeededError(DeniedError):
    """A page that is shown to nobody who has not signed in."""

    def __init__(self) -> None:
        super().__init__(401, "you have not signed in, or your session has ended", "sign in")


def hash_password(password: str) -> str:
    """The argon2 hash of a new password. Raises UsageError for one that is too short or too long."""
    if not LEAST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UsageError(
            "password",
            f"it has {len(password)} characters",
            f"choose one of {LEAST_PASSWORD} to {LONGEST_PASSWORD} characters",
        )
    return _HASHER.hash(password.encode("utf-8", "surrogateescape"))


def own_path(text: str) -> str:
    """Where to go after signing in: a path of this server, or the first page for any other text."""
    is_path = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isascii() and text.isprintable()
    return text if is_path and "\\" not in text and len(text) <= 2000 else "/"


class SignIn:
    """Who a browser is of, by its session."""

    def __init__(self, access: Access, oidc: Oidc | None = None) -> None:
        self.access, self.oidc = access, oidc
        self._by_provider = RateLimit(0.5, 30)
        self._by_address, self._by_pair, self._by_name = RateLimit(0.1, 20), RateLimit(1 / 30, 5), RateLimit(0.1, 100)
        self._known = OrderedDict[str, None]()

    @property
    def cookie(self) -> str:
        """The cookie's name: with TLS no other host and no page without TLS can set it."""
        return "__Host-redirectd" if self.access.is_secure else "redirectd"

    def visitor(self, request: HTTPConnection) -> Visitor | None:
        """Who a browser is of; None where nobody has signed in.

        Where the proxy names somebody, a session of anybody else counts for nothing. Raises DeniedError.
        """
        access, secret = self.access, request.cookies.get(self.cookie, "")
        named, now = access.named_by_proxy(request), access.clock()
        if not secret:
            return None
        with access.database.read() as connection:
            found = accounts.session_of(connection, secret, now=now, idle=access.section.idle)
            role = None if found is None else self._role(connection, found, named)
        if found is None or role is None or (named is not None and named[0] != found.account):
            return None
        if found.used_at < now - NOTED_EVERY:
            with access.database.begin() as connection:
                accounts.note_session(connection, secret, now)
        return Visitor(found.account, role, access.address(request), csrf=found.csrf)

    def by_proxy(self, request: HTTPConnection) -> tuple[str, Visitor] | None:
        """Begins a session for the person named by the proxy; gives its cookie and the visitor, None for nobody.

        Raises DeniedError for somebody without a role.
        """
        named = self.access.named_by_proxy(request)
        if named is None:
            return None
        account, role = named
        if role is None:
            raise without_role(account)
        secret, session = self.begin(request, account, None)
        return secret, Visitor(account, role, self.access.address(request), csrf=session.csrf)

    def by_password(self, request: HTTPConnection, name: str, password: str) -> str:
        """Signs a local account in; gives what its cookie holds. Raises DeniedError, alike for all that is wrong."""
        address, name = _network(self.access.address(request)), name[:LONGEST_NAME]
        pair = f"{address} {name}"
        # Who has signed in from there is not kept out by what others try with the name.
        of_name = f"\0{pair}" if pair in self._known else name  # no name has a NUL
        counted = ((self._by_address, address), (self._by_pair, pair), (self._by_name, of_name))
        for limit, key in counted:
            if wait := limit.take(key):
                raise DeniedError(429, "too many attempts to sign in", f"wait {wait} s", retry_after=wait)
        with self.access.database.read() as connection:
            account = accounts.account_of(connection, name)
        is_right = _fits(account.password if account else _nobody(), password[:LONGEST_PASSWORD])
        if not is_right or account is None or account.is_disabled:
            _log.warning("sign_in_refused", account=printable(f"local:{name}", 80), address=address)
            raise DeniedError(401, "the name or the password is wrong", "try again, or ask whoever runs redirectd")
        for limit, key in counted:
            limit.give_back(key)
        self._known[pair] = None
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return self.begin(request, f"local:{account.name}", None)[0]

    def to_provider(self, request: HTTPConnection, after: str) -> tuple[str, str]:
        """Where the OIDC provider signs a browser in, and what a cookie binds that to it by. Raises DeniedError."""
        if self.oidc is None:
            raise DeniedError(404, "there is no OIDC provider", "sign in another way, or set [console.oidc]")
        if wait := self._by_provider.take(_network(self.access.address(request))):
            raise DeniedError(429, "too many attempts to sign in", f"wait {wait} s", retry_after=wait)
        return self.oidc.begin(self._callback(request), after)

    def by_provider(self, request: Request) -> tuple[str, str]:
        """Signs in the person named by OIDC; gives what the cookie holds, and where to go. Raises DeniedError."""
        if self.oidc is None:
            raise DeniedError(404, "there is no OIDC provider", "sign in another way, or set [console.oidc]")
        binding = request.cookies.get(f"{self.cookie}-oidc", "")
        reply = self.oidc.finish(binding, dict(request.query_params), self._callback(request))
        role = role_of(self.access.section, reply.groups)
        if role is None:
            raise without_role(reply.account)
        return self.begin(request, reply.account, role)[0], reply.next

    def _callback(self, request: HTTPConnection) -> str:
        return f"{self.access.origin(request)}/sign-in/oidc/callback"

    def begin(self, request: HTTPConnection, account: str, role: Role | None) -> tuple[str, Session]:
        """Begins a session with a new cookie, audited; the browser's earlier one ends."""
        access, now = self.access, self.access.clock()
        with access.database.begin() as connection:
            take_turn(connection, audit.TURN)
            accounts.end_session(connection, request.cookies.get(self.cookie, ""))
            expires = now + access.section.session
            made = accounts.begin_session(connection, account, role, now=now, expires_at=expires)
            self._audit(connection, request, account, "sign-in")
        return made

    def end(self, request: HTTPConnection, visitor: Visitor) -> None:
        """Ends the browser's session, audited."""
        with self.access.database.begin() as connection:
            take_turn(connection, audit.TURN)
            if accounts.end_session(connection, request.cookies.get(self.cookie, "")):
                self._audit(connection, request, visitor.account, "sign-out")

    def check_form(self, request: HTTPConnection, form: Mapping[str, str], visitor: Visitor | None) -> None:
        """Raises DeniedError for a form that is not of the console's own pages; `visitor` is None before a sign-in."""
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "same-origin")
        if (origin is not None and origin.lower() != self.access.origin(request)) or site not in {
            "same-origin",
            "none",
        }:
            what_to_do = "open the console, and use its own form; behind a proxy, set [console] url"
            raise DeniedError(403, "the form is of another site", what_to_do)
        given = form.get(CSRF_FIELD, "").encode("utf-8", "surrogateescape")
        if visitor is not None and not (visitor.csrf and hmac.compare_digest(given, visitor.csrf.encode())):
            raise DeniedError(403, "the form is of an earlier session", "open the page again, then send it")

    def set_cookie(self, response: Response, secret: str) -> None:
        """Has the browser keep a session, or forget it where `secret` is empty."""
        # Lax, not Strict: a link to the console in a notification leads a browser there signed in.
        age = int(self.access.section.session.total_seconds()) if secret else 0
        response.set_cookie(
            self.cookie, secret, max_age=age, path="/", secure=self.access.is_secure, httponly=True, samesite="lax"
        )

    def set_binding(self, response: Response, binding: str) -> None:
        """Has the browser keep what binds a sign-in at the provider to it, or forget it where it is empty."""
        age = int(KEPT_FOR.total_seconds()) if binding else 0
        name, secure = f"{self.cookie}-oidc", self.access.is_secure
        response.set_cookie(name, binding, max_age=age, path="/", secure=secure, httponly=True, samesite="lax")

    def _role(self, connection: Connection, found: Session, named: tuple[str, Role | None] | None) -> Role | None:
        """The role that a session has now."""
        kind, _, name = found.account.partition(":")
        if kind == "local":
            account = accounts.account_of(connection, name)
            return None if account is None or account.is_disabled else account.role
        if kind == "proxy":
            return None if named is None else named[1]
        return None if self.oidc is None else found.role

    def _audit(self, connection: Connection, request: HTTPConnection, account: str, action: str) -> None:
        via = {"address": self.access.address(request), "by": "session"}
        entry = audit.AuditEntry(at=self.access.clock(), actor=account, action=action, detail={"via": via})
        audit.append(connection, entry)


def without_role(account: str) -> DeniedError:
    """The refusal of somebody who has signed in elsewhere, and has no role here."""
    why = f"{printable(account, 100)} is in no group that has a role here"
    return DeniedError(403, why, "ask for one of the groups in [console.roles]")


def _network(address: str) -> str:
    """What attempts are counted by: the address, of IPv6 the network of one customer."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return f"{IPv6Address(int(found) >> 64 << 64)}/64" if isinstance(found, IPv6Address) else address


@cache
def _nobody() -> str:
    """A hash that a wrong name is checked against, so that it takes as long as a wrong password."""
    return _HASHER.hash("nobody has this password")


def _fits(stored: str, password: str) -> bool:
    with admitted(_ADMITTED, 0), admitted(_AT_ONCE, 5):
        try:
            return _HASHER.verify(stored, password.encode("utf-8", "surrogateescape"))
        except (VerificationError, InvalidHashError):
            return False
