"""Who reaches the API at all: hosts, proxies, tokens that end, and limits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn
from structlog.testing import capture_logs
from uvicorn.server import ServerState

from redirectd.config.load import parse
from redirectd.console.access import RateLimit
from redirectd.console.serve import Connection
from redirectd.errors import ConfigError
from redirectd.store.tokens import Role, hashed
from tests.console.conftest import HOST, PASSWORD, Site

ME = "/api/v1/me"
BEYOND = 'listen = "192.0.2.1:8301"\nurl = "https://review.example"\n'
PROXY = f'{BEYOND}trusted_proxies = ["192.0.2.80/32"]\n'


@pytest.mark.parametrize(
    ("console", "why"),
    [
        ('listen = "0.0.0.0:80"\n', "needs TLS or a proxy"),
        ('listen = "192.0.2.1:80"\nurl = "https://x.example"\n', "needs TLS or a proxy"),
        ('listen = "192.0.2.1:80"\ntrusted_proxies = ["192.0.2.80"]\n', "set url"),
        ('tls_key = "x.key"\n', "go together"),
        ('listen = "localhost:80"\n', "listen"),
        ('listen = "unix:relative"\n', "absolute path"),
        ('url = "ftp://x.example"\n', "http or https"),
        ('url = "https://x.example/path"\n', "http or https"),
        ('url = "https://user@x.example"\n', "http or https"),
        ("nonsense = 1\n", "nonsense"),
    ],
)
def test_an_unsafe_configuration_is_refused(console: str, why: str) -> None:
    """Beyond this host it takes TLS or a proxy, and a name; else it does not start (2)."""
    with pytest.raises(ConfigError, match=why):
        parse(f"[console]\n{console}", Path("/x/redirectd.toml"))


def test_it_is_off_by_default() -> None:
    """Without a table [console] there is none."""
    assert parse("", Path("/x/redirectd.toml")).console is None


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (HOST, 200),
        ("localhost:8301", 200),
        ("LOCALHOST:8301", 200),
        ("[::1]:8301", 200),
        ("evil.example:8301", 421),
        ("127.0.0.1", 421),
        ("127.0.0.1:80", 421),
        ("127.0.0.1:8301.evil.example", 421),
        ("", 421),
    ],
)
def test_only_its_own_host_is_answered(site: Site, host: str, status: int) -> None:
    """A page of another name that leads to this address (DNS rebinding) gets nothing."""
    assert site.call("GET", ME, token=site.token(), headers={"host": host}).status == status


def test_two_hosts_are_none(site: Site) -> None:
    """A request that names two hosts is refused."""
    assert site.call("GET", ME, token=site.token(), raw=[("host", HOST)]).status == 421


@pytest.mark.parametrize(
    ("address", "forwarded", "seen"),
    [
        ("192.0.2.80", "198.51.100.7", "198.51.100.7"),
        ("192.0.2.80", "10.0.0.1, 198.51.100.7", "198.51.100.7"),
        ("192.0.2.80", "198.51.100.7, 192.0.2.80", "198.51.100.7"),
        ("192.0.2.80", "nonsense", "192.0.2.80"),
        ("192.0.2.80", "", "192.0.2.80"),
        ("::ffff:192.0.2.80", "::ffff:198.51.100.7", "198.51.100.7"),
        ("192.0.2.80", "fe80::1%\x1b[2J" + "x" * 9000, "fe80::1"),
        ("198.51.100.9", "127.0.0.1", None),
        ("127.0.0.1", "", None),
    ],
)
def test_behind_a_proxy_nobody_else_is_answered(site: Site, address: str, forwarded: str, seen: str | None) -> None:
    """Without TLS of its own only trusted proxies may connect; the address is what they say last, not what a client
    says."""
    site.configure(console=PROXY)
    site.address = address
    headers = {"host": "review.example"} | ({"x-forwarded-for": forwarded} if forwarded else {})
    answer = site.call("GET", ME, token=site.token(), headers=headers)
    assert answer.status == (403 if seen is None else 200)
    if seen is not None:
        token = site.call("GET", "/api/v1/tokens", token=site.token(Role.ADMIN), headers=headers).json["tokens"][0]
        assert token["used_from"] == seen


@pytest.mark.parametrize(
    ("host", "status"), [("review.example", 200), ("review.example:443", 200), ("review.example:80", 421)]
)
def test_a_host_may_have_its_usual_port(site: Site, host: str, status: int) -> None:
    """Some proxies send Host with the port that goes without saying."""
    site.configure(console=PROXY)
    site.address = "192.0.2.80"
    assert site.call("GET", ME, token=site.token(), headers={"host": host}).status == status


def test_a_url_may_have_its_usual_port(site: Site) -> None:
    """Browsers leave it out of an origin: a form came from another site, to a console whose url has it."""
    site.configure(console='url = "https://review.example:443"\n')
    site.add_user()
    headers = {"host": "review.example", "origin": "https://review.example"}
    form = {"name": "ada", "password": PASSWORD}
    assert site.post("/sign-in", form, headers=headers).status == 303
    assert site.post("/sign-in", form, headers={**headers, "origin": "https://review.example:444"}).status == 403


def test_a_request_with_two_ends_is_refused(site: Site) -> None:
    """A proxy may see another end of it, so that a second request hides in its body: the connection ends with it."""
    answer = site.call("GET", ME, token=site.token(), headers={"content-length": "0", "transfer-encoding": "chunked"})
    assert (answer.status, answer.headers["connection"]) == (400, "close")


def test_nothing_leads_elsewhere(site: Site) -> None:
    """A slash too many is 404: behind a proxy with TLS a redirect would have the token sent without it."""
    assert site.call("GET", "/api/v1/remaps/", token=site.token()).status == 404


def test_strangers_learn_nothing_of_the_database(site: Site) -> None:
    """Without a token that counts nobody sees where the database is or what is wrong with it."""
    file = site.store.database.file
    assert file is not None
    file.unlink()
    answer = site.call("GET", ME, token="rdt_wrong")
    assert answer.status == 503
    assert str(file.parent) not in answer.text
    assert "removed" not in answer.text


@pytest.mark.parametrize("path", ["/queue", "/sign-in?next=/queue"])
def test_a_page_says_nothing_of_the_database_to_strangers(site: Site, path: str) -> None:
    """A cookie is soon made up: without a session that counts a page does not say where the database is, either."""
    file = site.store.database.file
    assert file is not None
    site.add_user()
    file.unlink()
    for answer in (site.get(path, "redirectd=x"), site.sign_in()):
        assert answer.status == 503
        assert str(file.parent) not in answer.text
        assert "removed" not in answer.text


def test_a_nul_character_is_refused(site: Site) -> None:
    """PostgreSQL takes none, which would look like a database that is away: it is 400 for every kind of database."""
    assert site.call("GET", "/api/v1/remaps?peer=%00", token=site.token()).status == 400
    assert site.get("/queue?domain=a%00b", site.session()).status == 400
    assert site.sign_in("ada\0").status == 400


class _Hasty(Connection):
    """One that waits for less than a person can notice."""

    head_seconds, reply_seconds = 0.05, 5.0


async def _sent(site: Site, what: bytes, *, is_ended: bool) -> bytes:
    """What a server answers to bytes before it closes the connection; `is_ended`: nothing more comes."""
    config = uvicorn.Config(site.app, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: _Hasty(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(what)
        if is_ended:
            writer.write_eof()
        found = await reader.read()
        writer.close()
        await asyncio.gather(*state.tasks)
    assert not state.connections
    return found


@pytest.mark.parametrize(
    "what", [b"", b"GET /api/v1/me HTTP/1.1\r\nHost: ", b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: %b\r\n\r\nGET"]
)
def test_who_says_nothing_does_not_keep_others_out(site: Site, what: bytes) -> None:
    """A connection without a whole request ends by itself, also behind a request that was answered."""
    found = asyncio.run(_sent(site, what.replace(b"%b", HOST.encode()), is_ended=False))
    assert found.count(b"HTTP/1.1 200") == what.count(b"%b")


def test_who_leaves_early_is_no_defect(site: Site) -> None:
    """A client that goes before the end of its body leaves no error in the log."""
    what = f"POST /api/v1/remaps/1/reject HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\n{{".encode()
    with capture_logs() as logs:
        asyncio.run(_sent(site, what, is_ended=True))
    assert not logs


def test_a_client_cannot_name_its_address(site: Site) -> None:
    """X-Forwarded-For of somebody who is not a proxy is not believed."""
    token = site.token()
    site.call("GET", ME, token=token, headers={"x-forwarded-for": "198.51.100.7"})
    assert site.call("GET", "/api/v1/tokens", token=token).json["tokens"][0]["used_from"] == "127.0.0.1"


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer ", "Basic dXNlcjp4", "bearer rdt_x", "Bearer rdt_\udcff", "Bearer a b"]
)
def test_what_is_no_token_is_401(site: Site, value: str | None) -> None:
    """Without a token that counts nothing is answered, and it is said how to send one."""
    answer = site.call("GET", ME, headers={} if value is None else {"authorization": value})
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_two_tokens_are_none(site: Site) -> None:
    """A request with two Authorization headers is refused, whatever they hold."""
    token = site.token()
    assert site.call("GET", ME, token=token, raw=[("authorization", f"Bearer {token}")]).status == 401


def test_a_token_ends(site: Site) -> None:
    """A token counts until it expires; a cookie or the query never takes its place."""
    token = site.token(days=1)
    assert site.call("GET", ME, token=token).json == {"account": "unix:ada", "role": "reviewer", "token": 1}
    assert site.call("GET", f"{ME}?token={token}", headers={"cookie": f"token={token}"}).status == 401
    site.now += timedelta(days=1, seconds=1)
    assert site.call("GET", ME, token=token).status == 401


def test_the_database_has_no_secret(site: Site) -> None:
    """What is stored of a token is a hash: neither it nor the hash is a token."""
    token = site.token()
    with site.store.database.read() as connection:
        stored = str(connection.exec_driver_sql("select * from api_token").all())
    assert token not in stored
    assert hashed(token) in stored
    assert site.call("GET", ME, token=hashed(token)).status == 401


def test_the_last_use_is_kept(site: Site) -> None:
    """When and from where a token was used last is shown."""
    token = site.token()
    assert site.call("GET", "/api/v1/tokens", token=token).json["tokens"][0]["used_at"] == "2026-03-01T12:00:00Z"
    site.now += timedelta(minutes=5)
    assert site.call("GET", "/api/v1/tokens", token=token).json["tokens"][0]["used_at"] == "2026-03-01T12:05:00Z"


def test_wrong_tokens_are_limited_and_right_ones_are_not_kept_out(site: Site) -> None:
    """Guessing from one address ends in 429 with the time to wait; a right token from there still counts."""
    token = site.token()
    codes = [site.call("GET", ME, token="rdt_wrong") for _ in range(55)]
    assert codes[0].status == 401
    assert (codes[-1].status, int(codes[-1].headers["retry-after"]) > 0) == (429, True)
    assert site.call("GET", ME, token=token).status == 200


def test_a_limit_knows_only_the_latest_keys() -> None:
    """However many addresses ask, the memory for them is bounded."""
    limit = RateLimit(1, 1, most=3)
    assert [limit.take(str(number)) for number in range(9)] == [0] * 9
    assert limit.take("8") > 0
    assert limit.take("0") == 0


@pytest.mark.parametrize("path", [ME, "/api/v1/openapi.json", "/nonsense", "/", "/../etc/passwd", "/api/v1/remaps/1"])
def test_every_response_has_the_headers(site: Site, path: str) -> None:
    """Nothing of it is framed, sniffed, cached or run, errors included; strict transport where it is https."""
    for console in ("", 'url = "https://review.example"\n'):
        site.configure(console=console)
        headers = site.call("GET", path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert headers["cache-control"] == "no-store"
        assert ("strict-transport-security" in headers) == bool(console)
