"""The API as tests call it: in this process, over a database with remaps in it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.types import ASGIApp, Message

from redirectd.config.load import parse
from redirectd.console.access import Access
from redirectd.console.desk import Desk
from redirectd.console.oidc import Oidc
from redirectd.console.pages import PAGES
from redirectd.console.sign_in import SignIn, hash_password
from redirectd.console.web import application
from redirectd.store import accounts, audit, tokens
from redirectd.store.audit import AuditEntry
from redirectd.store.database import Database
from redirectd.store.tokens import Role
from tests.review.remap_store import RemapStore, opened

PASSWORD = "correct horse battery"
HOST = "127.0.0.1:8301"
BASE = '[database]\nurl = "sqlite:///redirectd.db"\n[policy]\ntrusted_peers = ["192.0.2.0/24"]\n'


@dataclass(frozen=True, slots=True)
class Answered:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


@dataclass
class Site:
    """A console and its database; `now` is its clock, `address` where requests come from (None: a unix socket)."""

    store: RemapStore
    app: ASGIApp = field(init=False)
    desk: Desk = field(init=False)
    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)
    address: str | None = "127.0.0.1"

    def configure(self, more: str = "", console: str = "") -> None:
        """Begins anew with this configuration."""
        config = parse(f"{BASE}{more}\n[console]\n{console}", Path("/x/redirectd.toml"))
        self.store.policy = config.rules()
        self.desk = Desk(config, self.store.database, lambda: self.now)
        assert config.console is not None
        oidc = None if config.console.oidc is None else Oidc(config.console.oidc, "client secret", lambda: self.now)
        access = Access(config.console, self.store.database, lambda: self.now)
        self.app = application(self.desk, SignIn(access, oidc), PAGES)

    def call(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | object = b"",
        raw: list[tuple[str, str]] | None = None,
    ) -> Answered:
        """Sends one request; an object is sent as JSON."""
        given = {"host": HOST} | {name.lower(): value for name, value in (headers or {}).items()}
        if token:
            given["authorization"] = f"Bearer {token}"
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            given.setdefault("content-type", "application/json")
        fields = [*given.items(), *(raw or [])]
        plain, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": plain,
            "raw_path": plain.encode("utf-8", "surrogateescape"),
            "query_string": query.encode("utf-8", "surrogateescape"),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("utf-8", "surrogateescape")) for name, value in fields],
            "client": None if self.address is None else (self.address, 50000),
            "server": ("127.0.0.1", 8301),
        }
        return asyncio.run(_answered(self.app, scope, body))

    def token(self, role: Role = Role.REVIEWER, owner: str = "unix:ada", days: float = 1) -> str:
        """A new token of somebody."""
        with self.store.database.begin() as connection:
            expires = self.now + timedelta(days=days)
            return tokens.make_token(connection, owner, role, "test", now=self.now, expires_at=expires)[0]

    def add_user(self, name: str = "ada", role: Role = Role.REVIEWER, password: str = PASSWORD) -> None:
        """A local account."""
        with self.store.database.begin() as connection:
            accounts.add_account(connection, accounts.Account(name, role, hash_password(password), self.now))

    def sign_in(self, name: str = "ada", password: str = PASSWORD, **form: str) -> Answered:
        """Sends the form to sign in."""
        return self.post("/sign-in", {"name": name, "password": password, **form})

    def session(self, role: Role = Role.REVIEWER) -> str:
        """The cookie of a new session of a new user with this role."""
        self.add_user(f"user-{role.value}", role)
        return cookie_of(self.sign_in(f"user-{role.value}"))

    def get(self, path: str, cookie: str = "", headers: Mapping[str, str] | None = None) -> Answered:
        """Opens a page."""
        return self.call("GET", path, headers={**({"cookie": cookie} if cookie else {}), **(headers or {})})

    def post(
        self, path: str, form: Mapping[str, str], cookie: str = "", headers: Mapping[str, str] | None = None
    ) -> Answered:
        """Sends a form."""
        given = {"content-type": "application/x-www-form-urlencoded", **({"cookie": cookie} if cookie else {})}
        return self.call("POST", path, headers={**given, **(headers or {})}, body=urlencode(form).encode())

    def audited(self) -> list[AuditEntry]:
        """The audit."""
        with self.store.database.read() as connection:
            return [one for _, one in audit.page(connection, after=0, limit=500, remap_id=None)[0]]

    def version(self, number: int) -> str:
        """The version of a remap, as a viewer sees it."""
        found: str = self.call("GET", f"/api/v1/remaps/{number}", token=self.token(Role.VIEWER)).json["version"]
        return found

    def decide(self, number: int, action: str, *, token: str, seen: str | None = None, **body: object) -> Answered:
        """Decides on a remap as it is, or as it was `seen`."""
        headers = {"if-match": f'"{seen or self.version(number)}"'}
        return self.call("POST", f"/api/v1/remaps/{number}/{action}", token=token, headers=headers, body=body)


def cookie_of(answer: Answered) -> str:
    """What a browser sends back of the cookie that an answer sets."""
    (cookie,) = answer.cookies
    return cookie.partition(";")[0]


def is_asked_to_sign_in(answer: Answered) -> bool:
    """Whether the browser is sent to the page to sign in."""
    return answer.status == 303 and answer.headers["location"].startswith("/sign-in")


def csrf_of(answer: Answered) -> str:
    """The token in a page's form."""
    found = re.search(r'name="csrf" value="([^"]+)"', answer.text)
    assert found is not None, answer.text
    return found[1]


async def _answered(app: ASGIApp, scope: dict[str, Any], body: bytes) -> Answered:
    sent: list[Message] = []
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    headers = [(name.decode().lower(), value.decode()) for name, value in start["headers"]]
    cookies = tuple(value for name, value in headers if name == "set-cookie")
    content = b"".join(one.get("body", b"") for one in sent[1:])
    return Answered(start["status"], dict(headers), content, cookies)


@pytest.fixture(scope="session")
def filled_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with three pending remaps: 1 plain, 2 untrusted, 3 with two Contacts."""
    folder = tmp_path_factory.mktemp("console")
    with opened(folder) as store:
        store.sighted("sip:alice@old.example.com", "sip:alice@new.example.net", calls=3)
        store.sighted("sip:bob@old.example.com", "sip:bob@new.example.net", peer="203.0.113.66")
        store.sighted("sip:eve@old.example.com", "sip:eve@one.example", "sip:eve@two.example")
    return folder / "redirectd.db"


@pytest.fixture
def site(tmp_path: Path, filled_database: Path) -> Iterator[Site]:
    """A console over that database."""
    shutil.copy(filled_database, tmp_path)
    database = Database(f"sqlite:///{tmp_path / 'redirectd.db'}")
    made = Site(RemapStore(database, _number=count(100)))
    made.configure()
    yield made
    database.close()
