"""Signing in by OpenID Connect, at a provider over real HTTP."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jws
from joserfc.jwk import OctKey
from structlog.testing import capture_logs

from redirectd.config.load import parse
from redirectd.console import oidc
from redirectd.errors import ConfigError
from tests.console.conftest import Answered, Site, cookie_of
from tests.console.provider import KEY, OTHER_KEY, Provider

ROLES = '[console.roles]\nviewer = ["staff"]\nreviewer = ["voice"]\nadmin = ["ops"]\n'


@pytest.fixture
def provider(site: Site) -> Iterator[Provider]:
    """A provider, and a console that signs people in there."""
    made = Provider(site.now.timestamp())
    server = made.start()
    configure(site, made)
    yield made
    server.shutdown()
    server.server_close()


def configure(site: Site, provider: Provider, more: str = "") -> None:
    """A console that signs people in at the provider."""
    site.configure(console=f'[console.oidc]\nissuer = "{provider.issuer}"\nclient_id = "redirectd"\n{more}{ROLES}')


def came_back(site: Site, provider: Provider, **change: str | None) -> Answered:
    """The answer to a browser that was at the provider, where its way back has these changes."""
    begun = site.get("/sign-in/oidc?next=/remaps")
    query = {**provider.sign_in(begun.headers["location"]), **change}
    kept = urlencode({name: value for name, value in query.items() if value is not None})
    return site.get(f"/sign-in/oidc/callback?{kept}", cookie_of(begun))


def session_cookie(answer: Answered) -> str:
    """The session of a browser that came back."""
    return next(one for one in answer.cookies if one.startswith("redirectd=")).partition(";")[0]


def is_refused(answer: Answered, status: int) -> bool:
    """Whether a sign-in came to nothing."""
    return answer.status == status and not any(one.startswith("redirectd=") for one in answer.cookies)


def test_somebody_signs_in(site: Site, provider: Provider) -> None:
    """The browser goes to the provider with PKCE, state and nonce; who comes back has the role of the groups."""
    assert "Single sign-on" in site.get("/sign-in").text
    begun = site.get("/sign-in/oidc?next=/remaps")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    assert (begun.status, asked["response_type"], asked["scope"]) == (303, "code", "openid")
    assert asked["redirect_uri"] == "http://127.0.0.1:8301/sign-in/oidc/callback"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    answer = site.get(
        f"/sign-in/oidc/callback?{urlencode(provider.sign_in(begun.headers['location']))}", cookie_of(begun)
    )
    assert (answer.status, answer.headers["location"]) == (303, "/remaps")
    assert "oidc:ada, reviewer" in site.get("/", session_cookie(answer)).text
    (entry,) = site.audited()
    assert (entry.actor, entry.action, entry.detail["via"]["address"]) == ("oidc:ada", "sign-in", "127.0.0.1")  # type: ignore[index]


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["staff", "ops"]}, "admin"),
        ({"groups": "staff"}, "viewer"),
        ({"groups": ["Voice"]}, None),
        ({"groups": None}, None),
        ({"groups": {"ops": 1}}, None),
        ({"groups": [["ops"], 1, None]}, None),
    ],
)
def test_a_role_is_of_the_groups(site: Site, provider: Provider, claims: dict[str, Any], role: str | None) -> None:
    """Of several groups the one that may most counts; without a group that has a role, nobody gets in."""
    provider.claims = claims
    answer = came_back(site, provider)
    if role is None:
        assert is_refused(answer, 403)
    else:
        assert f"oidc:ada, {role}" in site.get("/", session_cookie(answer)).text


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"aud": []},
        {"aud": ["redirectd", "another"]},
        {"aud": ["redirectd", "another"], "azp": "another"},
        {"azp": "another"},
        {"exp": 0},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"iat": 2**40},
        {"iat": None},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\x1b[2J"},
        {"sub": "a" * 201},
        {"sub": "ädä"},
    ],
)
def test_a_wrong_claim_signs_nobody_in(site: Site, provider: Provider, claims: dict[str, Any]) -> None:
    """A token of another issuer, client, sign-in or time, or without a plain name, counts for nothing."""
    provider.claims = claims
    with capture_logs() as logs:
        assert is_refused(came_back(site, provider), 503)
    assert [one["event"] for one in logs] == ["oidc_refused"]
    assert site.audited() == []


def test_a_token_for_several_may_be_ours(site: Site, provider: Provider) -> None:
    """A token for several clients counts where it names us as who asked for it."""
    provider.claims = {"aud": ["redirectd", "another"], "azp": "redirectd"}
    assert came_back(site, provider).status == 303


def unsigned(claims: str) -> str:
    """A token without a signature."""
    head, body = (base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode() for text in ('{"alg":"none"}', claims))
    return f"{head}.{body}."


@pytest.mark.parametrize("kind", ["none", "shared", "other key", "tampered", "junk", "empty", "long"])
def test_a_wrong_signature_signs_nobody_in(site: Site, provider: Provider, kind: str) -> None:
    """No signature, one with a shared or another key, a changed token and junk count for nothing."""
    begun = site.get("/sign-in/oidc")
    query = provider.sign_in(begun.headers["location"])
    right = provider.signed(provider.asked[-1]["nonce"])
    head, body, signature = right.split(".")
    claims = base64.urlsafe_b64decode(body + "==").decode()
    if kind == "none":
        provider.token = unsigned(claims)
    elif kind == "shared":  # signed with the public key as if it were a shared secret
        secret = OctKey.import_key(json.dumps(KEY.as_dict(private=False)))
        provider.token = jws.serialize_compact({"alg": "HS256", "kid": KEY.kid}, claims, secret, algorithms=["HS256"])
    elif kind == "other key":
        provider.token = jws.serialize_compact(
            {"alg": "RS256", "kid": KEY.kid}, claims, OTHER_KEY, algorithms=["RS256"]
        )
    elif kind == "tampered":
        changed = base64.urlsafe_b64encode(claims.replace("voice", "ops").encode()).rstrip(b"=").decode()
        provider.token = f"{head}.{changed}.{signature}"
    else:
        provider.token = {"junk": "a.b.c", "empty": ".", "long": "a" * 600_000}[kind]
    assert is_refused(site.get(f"/sign-in/oidc/callback?{urlencode(query)}", cookie_of(begun)), 503)


def test_a_new_key_is_read(site: Site, provider: Provider) -> None:
    """A provider may change its keys: they are read again for a token with a new one, at most once a minute."""
    assert came_back(site, provider).status == 303
    provider.key, provider.published = OTHER_KEY, [OTHER_KEY]
    assert is_refused(came_back(site, provider), 503)
    site.now += timedelta(minutes=2)
    assert came_back(site, provider).status == 303
    assert len([path for path in provider.paths if path.endswith("/jwks")]) == 2


def test_a_key_that_cannot_be_read_keeps_nobody_out(site: Site, provider: Provider) -> None:
    """Of a provider's keys the others count (RFC 7517, section 5)."""
    provider.more_keys = [{"kty": "EC", "crv": "brainpoolP256r1", "kid": "new", "x": "AQ", "y": "AQ"}, {"kty": "RSA"}]
    assert came_back(site, provider).status == 303


def test_a_provider_that_hangs_leaves_threads_to_others(
    site: Site, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few wait for the provider; who comes beside them is put off at once, and no thread waits."""
    places = threading.Semaphore(1)
    monkeypatch.setattr(oidc, "_ASKING", places)
    with places:
        answer = site.get("/sign-in/oidc")
        assert is_refused(answer, 503)
        assert answer.headers["retry-after"] == "5"
    assert came_back(site, provider).status == 303


def test_without_the_provider_its_sessions_end(site: Site, provider: Provider) -> None:
    """Who takes [console.oidc] out, such as one that can't be trusted any more, ends the sessions of its people."""
    cookie = session_cookie(came_back(site, provider))
    assert site.get("/queue", cookie).status == 200
    site.configure(console=ROLES)
    assert site.get("/queue", cookie).status == 303


@pytest.mark.parametrize(
    "change",
    [
        {"state": "x"},
        {"state": None},
        {"code": None},
        {"iss": "https://evil.example"},
        {"error": "access_denied"},
        {"error": '"><script>\x1b[2J'},
    ],
)
def test_another_way_back_is_refused(site: Site, provider: Provider, change: dict[str, str | None]) -> None:
    """Without the state that was sent, or with an error, nobody is signed in, and no token is asked for."""
    answer = came_back(site, provider, **change)
    assert is_refused(answer, 403)
    assert "<script>" not in answer.text
    assert "\x1b" not in answer.text


def test_a_way_back_is_of_one_browser_once(site: Site, provider: Provider) -> None:
    """Another browser's way back, the same twice, and one after ten minutes are refused (a planted sign-in)."""
    begun = [site.get("/sign-in/oidc") for _ in range(3)]
    ways = [f"/sign-in/oidc/callback?{urlencode(provider.sign_in(one.headers['location']))}" for one in begun]
    assert is_refused(site.get(ways[0]), 403)
    assert is_refused(site.get(ways[0], cookie_of(begun[1])), 403)
    assert site.get(ways[0], cookie_of(begun[0])).status == 303
    assert is_refused(site.get(ways[0], cookie_of(begun[0])), 403)
    site.now += timedelta(minutes=11)
    assert is_refused(site.get(ways[2], cookie_of(begun[2])), 403)


@pytest.mark.parametrize(
    "documents",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": "http://evil.example/"},
        {"token_endpoint": "file:///etc/passwd"},
        {"jwks_uri": 7},
        {"authorization_endpoint": None},
    ],
)
def test_wrong_documents_lead_nowhere(site: Site, provider: Provider, documents: dict[str, Any]) -> None:
    """Documents of another issuer, or with endpoints that are not https, are refused before the browser goes."""
    provider.documents = documents
    assert is_refused(site.get("/sign-in/oidc"), 503)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_provider_that_fails_signs_nobody_in(site: Site, provider: Provider, status: int) -> None:
    """An error or a redirect of the provider is 503, and nothing is followed."""
    provider.status = status
    assert is_refused(site.get("/sign-in/oidc"), 503)
    assert len(provider.paths) == 1


def test_a_provider_that_is_away_is_said(site: Site, provider: Provider) -> None:
    """Nothing listens there: 503, with nothing about the network for whoever asks."""
    issuer = provider.issuer
    provider.server.shutdown()
    provider.server.server_close()
    answer = site.get("/sign-in/oidc")
    assert is_refused(answer, 503)
    assert urlsplit(issuer).netloc not in answer.text
    assert site.get("/sign-in").status == 200


def test_a_wrong_secret_signs_nobody_in(site: Site, provider: Provider) -> None:
    """The console proves to the provider which client it is."""
    provider.secret = "another"
    assert is_refused(came_back(site, provider), 503)


def test_a_name_is_of_the_claim_that_is_set(site: Site, provider: Provider) -> None:
    """`user_claim` and `groups_claim` name other claims; scopes are asked for."""
    configure(site, provider, 'user_claim = "email"\ngroups_claim = "roles"\nscopes = ["email"]\n')
    provider.claims = {"email": "ada@example.net", "roles": ["ops"]}
    answer = came_back(site, provider)
    assert "oidc:ada@example.net, admin" in site.get("/", session_cookie(answer)).text
    assert provider.asked[-1]["scope"] == "openid email"


def test_without_a_provider_there_is_none(site: Site) -> None:
    """Both paths are 404 where none is configured."""
    assert [site.get(f"/sign-in/oidc{path}").status for path in ("", "/callback")] == [404, 404]


@pytest.mark.parametrize(
    "issuer",
    ["http://id.example", "ftp://id.example", "https://", "https://a@id.example", "https://id.example/?x", "x"],
)
def test_a_provider_is_https(issuer: str) -> None:
    """An issuer that is not an https URL does not start, but for one on this host (2)."""
    text = f'[console.oidc]\nissuer = "{issuer}"\nclient_id = "redirectd"\n'
    with pytest.raises(ConfigError, match="https URL"):
        parse(text, Path("/x/redirectd.toml"))
