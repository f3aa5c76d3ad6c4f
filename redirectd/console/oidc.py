"""Signing in by OpenID Connect: the authorization code flow with PKCE, state and nonce, and the ID token's checks."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import threading
import urllib.request
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote_plus, urlencode, urlsplit

import structlog
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, RSAKey

from redirectd.config.console_section import OidcSection, is_safe_url
from redirectd.console.access import LONGEST_NAME, DeniedError, admitted
from redirectd.sip.text import printable

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""With a key pair alone: what is signed with a shared secret, or not at all, is refused."""

LEEWAY = timedelta(seconds=60)
KEPT_FOR = timedelta(minutes=10)
_FRESH = timedelta(hours=1)
_MOST_PENDING = 10_000
_LONGEST = 512 * 1024
_SECONDS = 10.0
_ASKING = threading.Semaphore(8)  # while the provider hangs, most threads are left to those who have signed in
_log = structlog.get_logger("redirectd.console")


@dataclass(frozen=True, slots=True)
class _BegunSignIn:
    """A sign-in that has been sent to the provider."""

    state: str
    nonce: str
    verifier: str
    next: str
    at: datetime


@dataclass(frozen=True, slots=True)
class OidcReply:
    """The person that the provider names: the account with its kind, the groups, and where the browser wanted to go."""

    account: str
    groups: tuple[str, ...]
    next: str


class Oidc:
    """One provider. Its documents are kept for an hour; keys are read again for a token with a new one."""

    def __init__(self, section: OidcSection, secret: str | None, clock: Callable[[], datetime]) -> None:
        self.section = section
        self._secret, self._clock = secret, clock
        self._lock = threading.Lock()
        self._pending: OrderedDict[str, _BegunSignIn] = OrderedDict()
        self._provider: tuple[datetime, dict[str, str]] | None = None
        self._keys: tuple[datetime, KeySet] | None = None

    def begin(self, redirect_uri: str, after: str) -> tuple[str, str]:
        """Where the browser goes, and what a cookie binds the sign-in to it by. Raises DeniedError."""
        provider = self._documents()
        state, nonce, verifier, binding = (secrets.token_urlsafe(32) for _ in range(4))
        begun = _BegunSignIn(state, nonce, verifier, after, self._clock())
        with self._lock:
            self._pending[_hash(binding)] = begun
            while len(self._pending) > _MOST_PENDING:
                self._pending.popitem(last=False)
        challenge = base64.urlsafe_b64encode(sha256(begun.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self.section.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(["openid", *self.section.scopes]),
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = provider["authorization_endpoint"]
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}", binding

    def finish(self, binding: str, given: dict[str, str], redirect_uri: str) -> OidcReply:
        """Give the person named in the provider's answer to the sign-in of this browser, once. Raises DeniedError."""
        now = self._clock()
        with self._lock:
            begun = self._pending.pop(_hash(binding), None)
        if begun is None or now - begun.at > KEPT_FOR or not _equal(given.get("state", ""), begun.state):
            raise DeniedError(403, "this sign-in was not begun by this browser, or over 10 min ago", "sign in again")
        if given.get("iss", self.section.issuer) != self.section.issuer:
            raise DeniedError(403, "the answer is of another provider", "sign in again")
        if "error" in given or not given.get("code"):
            said = printable(given.get("error", "it sent no code"), 100)
            raise DeniedError(
                403, f"the provider signs you in no further: {said}", "sign in again, or ask its operator"
            )
        claims = self._claims(self._token(given["code"], begun.verifier, redirect_uri), begun.nonce, now)
        return OidcReply(f"oidc:{self._name(claims)}", self._groups(claims), begun.next)

    def _token(self, code: str, verifier: str, redirect_uri: str) -> str:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        form |= {"client_id": self.section.client_id, "code_verifier": verifier}
        headers = {}
        if self._secret is not None:
            pair = f"{quote_plus(self.section.client_id)}:{quote_plus(self._secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        found = _fetch(self._documents()["token_endpoint"], urlencode(form).encode(), headers)
        if not isinstance(token := found.get("id_token"), str):
            raise _refused("its answer has no ID token")
        return token

    def _claims(self, token: str, nonce: str, now: datetime) -> dict[str, Any]:
        """The claims of an ID token that is of this provider, for us, for this sign-in and now (OIDC Core 3.1.3.7)."""
        claims = self._verified(token)
        audience = claims.get("aud")
        several = audience if isinstance(audience, list) else [audience]
        expires, issued = (_time(claims.get(name)) for name in ("exp", "iat"))
        ours = self.section.client_id
        checks = {
            "it is of another issuer": claims.get("iss") == self.section.issuer,
            "it is for another client": ours in several and claims.get("azp", ours) == ours,
            "it is for several clients": len(several) == 1 or claims.get("azp") == ours,
            "it has expired": expires is not None and expires > (now - LEEWAY).timestamp(),
            "it is of the future": issued is not None and issued < (now + LEEWAY).timestamp(),
            "its nonce is of another sign-in": _equal(str(claims.get("nonce", "")), nonce),
        }
        for why, is_right in checks.items():
            if not is_right:
                raise _refused(f"its ID token does not count: {why}")
        return claims

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims of a token that is signed with a key of the provider; its keys are read again for a new one."""
        if len(token) > _LONGEST:
            raise _refused("its ID token is too long")
        for is_again in (False, True):
            keys = self._key_set(is_again=is_again)
            try:
                found = jws.deserialize_compact(token, keys, algorithms=ALGORITHMS, registry=_REGISTRY)
                claims = json.loads(found.payload)
            except (JoseError, ValueError, RecursionError, TypeError, KeyError) as error:
                failed = error
                continue
            if isinstance(claims, dict):
                return claims
            raise _refused("its ID token has no claims")
        raise _refused(f"its ID token does not count: {type(failed).__name__}") from failed

    def _name(self, claims: dict[str, Any]) -> str:
        name = claims.get(self.section.user_claim)
        if (
            not isinstance(name, str)
            or not 0 < len(name) <= LONGEST_NAME
            or not name.isascii()
            or not name.isprintable()
        ):
            raise _refused(f"its claim {self.section.user_claim} is not a name")
        return name

    def _groups(self, claims: dict[str, Any]) -> tuple[str, ...]:
        found = claims.get(self.section.groups_claim, [])
        given = found if isinstance(found, list) else [found]
        return tuple(one for one in given if isinstance(one, str))

    def _documents(self) -> dict[str, str]:
        """The provider's endpoints, as it publishes them."""
        with self._lock:
            if self._provider is not None and self._clock() - self._provider[0] < _FRESH:
                return self._provider[1]
        found = _fetch(f"{self.section.issuer.removesuffix('/')}/.well-known/openid-configuration")
        wanted = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
        kept = {name: str(found.get(name, "")) for name in wanted}
        if kept["issuer"] != self.section.issuer:
            raise _refused(f"it calls itself {printable(kept['issuer'], 100)}, not {self.section.issuer}")
        for name in wanted[1:]:
            if not is_safe_url(kept[name]):
                raise _refused(f"its {name} is not an https URL")
        with self._lock:
            self._provider = self._clock(), kept
        return kept

    def _key_set(self, *, is_again: bool) -> KeySet:
        """The provider's keys; read again at most once a minute."""
        now = self._clock()
        with self._lock:
            if self._keys is not None:
                age = now - self._keys[0]
                if age < (timedelta(minutes=1) if is_again else _FRESH):
                    return self._keys[1]
        found = _fetch(self._documents()["jwks_uri"])
        public = [one for one in found.get("keys", []) if isinstance(one, dict) and one.get("kty") in {"RSA", "EC"}]
        read = [key for one in public if one.get("use", "sig") == "sig" and (key := _key(one)) is not None]
        if not read:
            raise _refused("its keys can't be read")
        keys = KeySet(read)
        with self._lock:
            self._keys = now, keys
        return keys


def _key(published: dict[str, Any]) -> Key | None:
    """A published key; None for one that can't be read, which keeps nobody from using the others (RFC 7517)."""
    kind = RSAKey if published.get("kty") == "RSA" else ECKey
    try:
        return kind.import_key(published)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the endpoints are those the provider publishes."""

    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Gives no further request."""


def _fetch(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A JSON object of the provider. Raises DeniedError (503) for any other answer, or none in ten seconds."""
    with admitted(_ASKING, 0):
        return _fetched(url, body, headers or {})


def _fetched(url: str, body: bytes | None, headers: Mapping[str, str]) -> dict[str, Any]:
    given = {"Accept": "application/json", **headers}
    request = urllib.request.Request(url, body, given)  # noqa: S310 - https, checked where it is from
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_SECONDS) as answer:
            text = answer.read(_LONGEST + 1)
        found = json.loads(text) if len(text) <= _LONGEST else None
    except HTTPError as error:
        with error:
            raise _refused(f"{urlsplit(url).path} answered {error.code}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(f"{urlsplit(url).path}: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise _refused(f"{urlsplit(url).path} sent no JSON object of at most {_LONGEST:,} bytes")
    return found


def _refused(why: str) -> DeniedError:
    """What is wrong with the provider is logged in full: whoever asks may be anybody."""
    _log.warning("oidc_refused", why=printable(why, 300))
    return DeniedError(503, "the provider's answer does not count", "try again; the console's log says why")


_REGISTRY = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
_REGISTRY.max_header_length = 16 * 1024  # some carry their certificates


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _time(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
