"""Signing in from a browser: local accounts, sessions that end, forms of our own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from redirectd.config.load import parse
from redirectd.console import access, sign_in
from redirectd.console.page_routes import ConsolePage, all_pages
from redirectd.console.pages import PAGES as PAGE_SET
from redirectd.console.sign_in import hash_password, own_path
from redirectd.errors import ConfigError, UsageError
from redirectd.store import accounts
from redirectd.store.tokens import Role, hashed
from tests.console.conftest import HOST, PASSWORD, Site, cookie_of, csrf_of, is_asked_to_sign_in

PAGES = all_pages(PAGE_SET)
REVIEWERS = frozenset[Role | None]({Role.REVIEWER, Role.APPLIER, Role.ADMIN})
EVERYBODY: frozenset[Role | None] = frozenset({None, *Role})
MAY: dict[tuple[str, str], frozenset[Role | None]] = {
    **{
        ("GET", path): frozenset(Role)
        for path in (
            "/",
            "/queue",
            "/remaps/{name}",
            "/plan",
            "/generations",
            "/generations/{name}",
            "/audit",
            "/sources",
            "/nodes",
        )
    },
    ("POST", "/queue"): REVIEWERS,
    ("POST", "/remaps/{name}"): REVIEWERS,
    ("POST", "/undo/{name}"): REVIEWERS,
    ("POST", "/plan"): frozenset({Role.APPLIER, Role.ADMIN}),
    ("GET", "/static/{name}"): EVERYBODY,
    ("GET", "/sign-in"): EVERYBODY,
    ("POST", "/sign-in"): EVERYBODY,
    ("GET", "/sign-in/oidc"): EVERYBODY,
    ("GET", "/sign-in/oidc/callback"): EVERYBODY,
    ("POST", "/sign-out"): frozenset(Role),
}
"""Which roles may see which page: written out, so that a change of the code alone fails."""


def test_the_table_names_every_page() -> None:
    """A page that nobody decided on who may see it is not there."""
    assert set(MAY) == {(one.method, one.path) for one in PAGES}


@pytest.mark.parametrize(("page", "role"), list(product(PAGES, [None, *Role])))
def test_every_page_by_every_role(site: Site, page: ConsolePage, role: Role | None) -> None:
    """Whoever has not signed in is sent there, too little a role is 403; else the page itself answers."""
    cookie = "" if role is None else site.session(role)
    form = {"csrf": csrf_of(site.get("/", cookie)) if cookie else ""}
    path = page.path.replace("{name}", "1")
    answer = site.get(path, cookie) if page.method == "GET" else site.post(path, form, cookie)
    if role in MAY[page.method, page.path]:
        assert answer.status not in {403, 500}
        assert page.role is None or page.path == "/sign-out" or not is_asked_to_sign_in(answer)
    elif role is None:
        assert is_asked_to_sign_in(answer)
    else:
        assert answer.status == 403


def test_somebody_signs_in_and_out(site: Site) -> None:
    """A name and its password begin a session, audited with the address; signing out ends it."""
    site.add_user()
    answer = site.sign_in(next="/remaps?state=pending")
    assert (answer.status, answer.headers["location"]) == (303, "/remaps?state=pending")
    cookie = cookie_of(answer)
    page = site.get("/", cookie)
    assert (page.status, "local:ada, reviewer" in page.text) == (200, True)
    out = site.post("/sign-out", {"csrf": csrf_of(page)}, cookie)
    assert (out.status, out.headers["location"]) == (303, "/sign-in")
    assert 'redirectd=""' in out.cookies[0]
    assert is_asked_to_sign_in(site.get("/", cookie))
    signed = [one for one in site.audited() if one.action in {"sign-in", "sign-out"}]
    assert [(one.action, one.actor) for one in signed] == [("sign-in", "local:ada"), ("sign-out", "local:ada")]
    assert all(one.detail["via"] == {"address": "127.0.0.1", "by": "session"} for one in signed)


def test_a_page_is_where_one_wanted_to_go(site: Site) -> None:
    """Whoever follows a link comes back to it after signing in."""
    answer = site.get("/?state=pending&flag=x")
    assert answer.headers["location"] == "/sign-in?next=/%3Fstate%3Dpending%26flag%3Dx"
    assert 'value="/?state=pending&amp;flag=x"' in site.get(answer.headers["location"]).text


@pytest.mark.parametrize(
    "text",
    ["//evil.example", "/\\evil.example", "https://evil.example", "", "x", "/a\r\nSet-Cookie: x=y", "/\x00", "/ä"],
)
def test_signing_in_leads_nowhere_else(text: str) -> None:
    """`next` is a path of this server; any other text is the first page."""
    assert own_path(text) == "/"


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "wrong password!"), ("bob", PASSWORD), ("Ada", PASSWORD), ("", ""), ("ada\x1b[2J", "hidden")],
)
def test_what_is_wrong_is_not_said(site: Site, name: str, password: str) -> None:
    """A wrong name and a wrong password are answered alike, logged with the address, and begin no session."""
    site.add_user()
    with capture_logs() as logs:
        answer = site.sign_in(name, password)
    assert (answer.status, answer.cookies) == (401, ())
    assert "the name or the password is wrong" in answer.text
    assert "\x1b" not in answer.text
    assert [(one["event"], one["address"]) for one in logs] == [("sign_in_refused", "127.0.0.1")]
    assert password not in str(logs) or not password


def test_a_page_of_hostile_text_stays_one(site: Site) -> None:
    """What is sent in the form comes back escaped."""
    text = site.sign_in('"><script>alert(1)</script>', next='/"><script>').text
    assert "<script>" not in text


@pytest.mark.parametrize(
    ("console", "cookie", "is_secure"),
    [("", "redirectd", False), ('url = "https://review.example"\n', "__Host-redirectd", True)],
)
def test_the_cookie_is_bound(site: Site, console: str, cookie: str, *, is_secure: bool) -> None:
    """It is not for scripts nor other sites' forms, and with TLS for nothing without it; it ends with the session."""
    site.add_user()
    site.configure(console=console)
    answer = site.sign_in()
    (given,) = answer.cookies
    assert given.startswith(f"{cookie}=")
    assert {"HttpOnly", "Path=/", "SameSite=lax", "Max-Age=43200"} <= set(given.split("; "))
    assert ("Secure" in given) is is_secure
    assert "Domain" not in given


def test_the_database_has_no_cookie_and_no_password(site: Site) -> None:
    """Whoever reads the database can sign in as nobody."""
    site.add_user()
    secret = cookie_of(site.sign_in()).partition("=")[2]
    with site.store.database.read() as connection:
        kept = str(
            [connection.exec_driver_sql(f"select * from console_{name}").all() for name in ("account", "session")]
        )
    assert secret not in kept
    assert PASSWORD not in kept
    assert hashed(secret) in kept
    assert "$argon2id$" in kept


def test_an_earlier_cookie_gains_nothing(site: Site) -> None:
    """Signing in makes a new session, whatever cookie the browser came with (fixation); its old one ends."""
    site.add_user()
    planted = site.post("/sign-in", {"name": "ada", "password": PASSWORD}, "redirectd=planted")
    assert is_asked_to_sign_in(site.get("/", "redirectd=planted"))
    first = cookie_of(planted)
    second = cookie_of(site.post("/sign-in", {"name": "ada", "password": PASSWORD}, first))
    assert first != second
    assert is_asked_to_sign_in(site.get("/", first))
    assert site.get("/", second).status == 200


def test_a_session_ends(site: Site) -> None:
    """An hour without use ends it, and twelve hours with use, too."""
    cookie, used = site.session(), site.session(Role.VIEWER)
    for _ in range(13):
        site.now += timedelta(minutes=55)
        assert site.get("/", used).status == 200
    assert is_asked_to_sign_in(site.get("/", cookie))
    site.now += timedelta(minutes=10)
    assert is_asked_to_sign_in(site.get("/", used))


def test_an_account_has_at_most_twenty_sessions(site: Site) -> None:
    """A further one ends that which was not used for longest."""
    site.add_user()
    cookies = []
    for _ in range(accounts.MOST_SESSIONS + 1):
        site.now += timedelta(seconds=1)
        cookies.append(cookie_of(site.sign_in()))
    assert [is_asked_to_sign_in(site.get("/", one)) for one in cookies] == [True, *[False] * accounts.MOST_SESSIONS]


@pytest.mark.parametrize(
    "new", [{"is_disabled": True}, {"role": Role.VIEWER}, {"password": hash_password("another password")}]
)
def test_a_changed_account_signs_in_anew(site: Site, new: dict[str, object]) -> None:
    """Disabling it, another role and another password end its sessions; a disabled one can't sign in."""
    site.add_user()
    cookie = cookie_of(site.sign_in())
    with site.store.database.begin() as connection:
        found = accounts.account_of(connection, "ada")
        assert found is not None
        accounts.change_account(connection, replace(found, **new))  # type: ignore[arg-type]
    assert is_asked_to_sign_in(site.get("/", cookie))
    assert site.sign_in().status == (303 if "role" in new else 401)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda form, _: form.pop("csrf"), 403),
        (lambda form, _: form.update(csrf="x"), 403),
        (lambda form, _: form.update(csrf=""), 403),
        (lambda _, headers: headers.update(origin="https://evil.example"), 403),
        (lambda _, headers: headers.update(origin="null"), 403),
        (lambda _, headers: headers.update({"sec-fetch-site": "cross-site"}), 403),
        (lambda _, headers: headers.update({"sec-fetch-site": "same-site"}), 403),
        (lambda _, headers: headers.update({"content-type": "text/plain"}), 415),
        (lambda _, headers: headers.update(origin=f"http://{HOST}"), 303),
    ],
)
def test_a_form_of_another_site_does_nothing(
    site: Site, change: Callable[[dict[str, str], dict[str, str]], object], status: int
) -> None:
    """A form needs the token of its session, and comes from no other site (CSRF)."""
    cookie = site.session()
    form, headers = {"csrf": csrf_of(site.get("/", cookie))}, dict[str, str]()
    change(form, headers)
    assert site.post("/sign-out", form, cookie, headers).status == status
    assert (site.get("/", cookie).status == 200) is (status != 303)


def test_a_token_of_another_session_is_refused(site: Site) -> None:
    """A form's token is of one session alone."""
    other = csrf_of(site.get("/", site.session(Role.ADMIN)))
    assert site.post("/sign-out", {"csrf": other}, site.session()).status == 403


def test_another_site_signs_nobody_in(site: Site) -> None:
    """A form of another site can't sign a browser in under its own account."""
    site.add_user()
    form = {"name": "ada", "password": PASSWORD}
    answer = site.post("/sign-in", form, headers={"origin": "https://evil.example"})
    assert (answer.status, answer.cookies) == (403, ())


@pytest.mark.parametrize("body", [b"\xff=1", b"a=%ff", b"&".join([b"a=1"] * 2001)])
def test_a_form_that_cannot_be_read_is_refused(site: Site, body: bytes) -> None:
    """Bytes that are not a form's, and too many fields, are 400."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert site.call("POST", "/sign-in", headers=headers, body=body).status == 400


def test_attempts_are_limited(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sixth wrong password of a name from an address waits, others may go on; right ones use nothing up."""
    monkeypatch.setattr(access, "monotonic", lambda: 1.0)
    site.add_user()
    site.add_user("bob")
    assert [site.sign_in().status for _ in range(6)] == [303] * 6
    assert [site.sign_in(password="wrong password!").status for _ in range(6)] == [401] * 5 + [429]
    waiting = site.sign_in()
    assert (waiting.status, waiting.headers["retry-after"]) == (429, "31")
    assert site.sign_in("bob").status == 303
    site.address = "127.0.0.2"
    assert site.sign_in().status == 303


def test_one_address_tries_twenty_names(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying one password with many names is limited by address, of IPv6 by the network of a customer."""
    monkeypatch.setattr(access, "monotonic", lambda: 1.0)
    statuses = []
    for number in range(21):
        site.address = f"2001:db8::{number:x}"
        statuses.append(site.sign_in(f"name{number}", "password1234").status)
    assert statuses == [401] * 20 + [429]


def test_others_attempts_keep_nobody_out_who_was_in(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many addresses that try one name use up its attempts; from where its owner has signed in, it still goes."""
    monkeypatch.setattr(access, "monotonic", lambda: 1.0)
    monkeypatch.setattr(sign_in, "_fits", lambda _, password: password == PASSWORD)
    site.add_user()
    assert site.sign_in().status == 303
    for number in range(100):
        site.address = f"198.51.100.{number}"
        assert site.sign_in(password="wrong password!").status == 401
        site.address = f"203.0.113.{number}"
        assert site.sign_in("127.0.0.1 ada", "wrong password!").status == 401
    assert site.sign_in().status == 429
    site.address = "127.0.0.1"
    assert site.sign_in().status == 303


def test_too_many_at_once_are_put_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks of passwords take much memory: where others wait long enough, one is asked to come back."""

    class Full:
        """A lock that nobody gets."""

        def acquire(self, timeout: float) -> bool:
            """Waits in vain."""
            return timeout < 0

    monkeypatch.setattr(sign_in, "_AT_ONCE", Full())
    answer = site.sign_in()
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_a_flood_of_passwords_leaves_threads_to_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few wait for a check of their password; who comes beside them is put off at once, and no thread waits."""
    site.add_user()
    places = threading.Semaphore(1)
    monkeypatch.setattr(sign_in, "_ADMITTED", places)
    with places:
        assert (site.sign_in().status, site.get("/sign-in").status) == (503, 200)
    assert site.sign_in().status == 303


@pytest.mark.parametrize("password", ["", "short", "x" * 11, "x" * 1025])
def test_a_password_has_a_length(password: str) -> None:
    """Twelve characters at least, 1,024 at most."""
    with pytest.raises(UsageError, match=f"{len(password)} characters"):
        hash_password(password)


@pytest.mark.parametrize(
    ("console", "why"),
    [
        ('user_header = "X-User"\n', "trusted_proxies or on a unix socket"),
        ('user_header = "X User"\n', "user_header"),
        ('user_header = ""\n', "user_header"),
        ('idle = "1m"\n', "idle must be"),
        ('idle = "2h"\nsession = "1h"\n', "idle must be"),
        ('session = "31d"\n', "idle must be"),
        ('[console.roles]\ngod = ["x"]\n', "god"),
    ],
)
def test_an_unsafe_sign_in_is_refused(console: str, why: str) -> None:
    """A header that nobody could be trusted for, and sessions without an end, don't start (2)."""
    with pytest.raises(ConfigError, match=why):
        parse(f"[console]\n{console}", Path("/x/redirectd.toml"))


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nowhere", "/sign-out", "/api/v1/nowhere"])
def test_every_answer_has_the_headers(site: Site, path: str) -> None:
    """No page runs inline scripts, is framed, cached or guessed at, also where it is an error."""
    headers = site.get(path).headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
