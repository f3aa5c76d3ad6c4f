"""Signing in by a reverse proxy: people named by its header, believed from it alone."""

from __future__ import annotations

import pytest

from redirectd.store.tokens import Role
from tests.console.conftest import PASSWORD, Site, cookie_of, is_asked_to_sign_in

PROXY = (
    'listen = "192.0.2.1:8301"\nurl = "https://review.example"\ntrusted_proxies = ["192.0.2.80/32"]\n'
    'user_header = "X-User"\ngroups_header = "X-Groups"\n'
    '[console.roles]\nviewer = ["staff"]\nreviewer = ["voice"]\nadmin = ["ops", "root"]\n'
)
BEHIND = {"host": "review.example"}


def proxied(site: Site, console: str = PROXY) -> Site:
    """A console behind a proxy."""
    site.configure(console=console)
    site.address = "192.0.2.80"
    return site


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        ("staff", "viewer"),
        ("staff, voice", "reviewer"),
        ("x,ops,staff", "admin"),
        ("", None),
        ("Staff", None),
        ("staffvoice", None),
    ],
)
def test_the_proxy_names_who_it_is(site: Site, groups: str, role: str | None) -> None:
    """A person named by the trusted proxy is signed in with the role of the groups, audited; without one it is 403."""
    proxied(site)
    answer = site.get("/", headers={**BEHIND, "x-user": "ada", "x-groups": groups, "x-forwarded-for": "198.51.100.7"})
    if role is None:
        assert answer.status == 403
        assert "in no group that has a role" in answer.text
        return
    assert f"proxy:ada, {role}" in answer.text
    (entry,) = site.audited()
    assert (entry.actor, entry.action, entry.detail["via"]) == (
        "proxy:ada",
        "sign-in",
        {"address": "198.51.100.7", "by": "session"},
    )


def test_a_role_is_that_of_the_groups_now(site: Site) -> None:
    """Each request counts by its own headers: another name or a group less ends what was."""
    proxied(site)
    ada = {**BEHIND, "x-user": "ada", "x-groups": "voice"}
    cookie = cookie_of(site.get("/", headers=ada))
    assert site.get("/", cookie, ada).cookies == ()
    assert "proxy:ada, viewer" in site.get("/", cookie, {**ada, "x-groups": "staff"}).text
    assert site.get("/", cookie, {**ada, "x-groups": ""}).status == 403
    other = site.get("/", cookie, {**ada, "x-user": "bob"})
    assert "proxy:bob" in other.text
    assert other.cookies
    assert is_asked_to_sign_in(site.get("/", cookie, BEHIND))


def test_a_local_account_is_not_another_name(site: Site) -> None:
    """Where the proxy names somebody, a session of another account counts for nothing."""
    site.add_user("root", Role.ADMIN)
    proxied(site)
    form = {"name": "root", "password": PASSWORD}
    cookie = cookie_of(site.post("/sign-in", form, headers=BEHIND))
    assert "local:root" in site.get("/", cookie, BEHIND).text
    assert "proxy:ada, viewer" in site.get("/", cookie, {**BEHIND, "x-user": "ada", "x-groups": "staff"}).text


@pytest.mark.parametrize("name", ["X-User", "x-groups", "X-GROUPS"])
@pytest.mark.parametrize("path", ["/", "/sign-in", "/api/v1/me", "/api/v1/openapi.json", "/nowhere"])
def test_anybody_elses_header_is_refused(site: Site, name: str, path: str) -> None:
    """A request that carries the header and is not of the proxy is refused everywhere, also with a token."""
    tls = 'tls_certificate = "/x.crt"\ntls_key = "/x.key"\n'
    proxied(site, tls + PROXY).address = "198.51.100.9"
    assert site.call("GET", path, token=site.token(), headers={**BEHIND, name: "ada"}).status == 403
    assert site.call("GET", path, token=site.token(), headers=BEHIND).status != 403


def test_without_a_user_header_no_groups_are_taken(site: Site) -> None:
    """The usual header of groups is refused where no proxy signs anybody in."""
    assert site.get("/sign-in", headers={"X-Remote-Groups": "ops"}).status == 403


@pytest.mark.parametrize("name", ["a\x1b[2J", "ädä", "a" * 201])
def test_a_strange_name_is_refused(site: Site, name: str) -> None:
    """A name of the proxy is plain text of at most 200 characters."""
    assert proxied(site).get("/", headers={**BEHIND, "x-user": name, "x-groups": "ops"}).status == 400


def test_two_names_are_none(site: Site) -> None:
    """A proxy that adds its header to one of the browser's, instead of replacing it, is not believed."""
    answer = proxied(site).call("GET", "/", headers={**BEHIND, "x-user": "ada"}, raw=[("x-user", "root")])
    assert answer.status == 400


def test_who_opens_the_socket_is_the_proxy(site: Site) -> None:
    """On a unix socket the headers are believed: its mode says who may open it."""
    site.configure(console='listen = "unix:/run/x.sock"\nuser_header = "X-User"\n[console.roles]\nadmin = ["ops"]\n')
    site.address = None
    assert "proxy:ada, admin" in site.get("/", headers={"x-user": "ada", "x-remote-groups": "ops"}).text
