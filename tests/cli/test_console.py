"""`redirectd console`: the server as a process, and the tokens that it takes."""

from __future__ import annotations

import http.client
import io
import json
import os
import pwd
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

CHILD = "import sys; from redirectd.cli.main import main; main(sys.argv[1:])"
ME = f"unix:{pwd.getpwuid(os.getuid()).pw_name}"
Start = Callable[[str], subprocess.Popen[str]]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        """Connects to the path."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


@pytest.fixture
def start(filled: Cli) -> Iterator[Start]:
    """Starts a console with these keys, and ends it."""
    running: list[subprocess.Popen[str]] = []

    def begin(keys: str) -> subprocess.Popen[str]:
        filled.config.write_text(f"{filled.config.read_text().partition('[console]')[0]}[console]\n{keys}\n")
        command = [sys.executable, "-c", CHILD, "--config", str(filled.config), "console"]
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        running.append(child)
        assert child.stderr is not None
        for line in child.stderr:
            if "console_listening" in line:
                break
        return child

    yield begin
    for child in running:
        child.kill()
        child.wait()
        assert child.stderr is not None
        child.stderr.close()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def asked(connection: http.client.HTTPConnection, path: str, token: str = "") -> tuple[int, Any]:
    """Status and JSON of a GET."""
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_a_token_is_shown_once(filled: Cli) -> None:
    """A token is printed when it is made, then never again; it has an owner, a role, an end and a last use."""
    made = filled("console", "add-token", "--label", "a\x1b[2Jb", "--role", "viewer", "--days", 7, "--json").json
    assert (made["owner"], made["role"], made["token"][:4]) == (ME, "viewer", "rdt_")
    listed = filled("console", "tokens", "--json")
    assert made["token"] not in listed.out
    (one,) = listed.json["tokens"]
    assert (one["owner"], one["role"], one["label"], one["used_at"]) == (ME, "viewer", "a\\x1b[2Jb", None)
    assert made["token"] not in filled("console", "tokens").out
    assert filled("console", "add-token").out.startswith("rdt_")


def test_tokens_are_revoked_and_audited(filled: Cli) -> None:
    """A revoked token is gone; one that is not there is wrong usage."""
    filled("console", "add-token")
    filled("console", "revoke-token", 1)
    assert filled("console", "tokens", "--json").json == {"tokens": []}
    assert "no tokens" in filled("console", "tokens").err
    filled("console", "revoke-token", 1, code=2)
    filled("console", "add-token", "--days", 0, code=2)
    filled("console", "add-token", "--role", "god", code=2)


def test_local_accounts(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts are made, changed, disabled and listed, audited without the password; each mistake says what to do."""

    def typed(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    assert "no local accounts" in filled("console", "users").err
    typed("correct horse battery\n")
    assert "local:ada.l may sign in as viewer" in filled("console", "add-user", "ada.l", "--role", "viewer").out
    typed("correct horse battery\n")
    assert "set-password" in filled("console", "add-user", "ada.l", code=2).err
    typed("short\n")
    assert "12 to 1024" in filled("console", "add-user", "bob", code=2).err
    for name in ("Ada", "", "a/b", "-", "x" * 65, "\x1b[2J"):
        assert "another one" in filled("console", "add-user", "--", name, code=2).err
    typed("another password\n")
    filled("console", "set-password", "ada.l")
    filled("console", "change-user", "ada.l", "--role", "applier", "--disable")
    (shown,) = filled("console", "users", "--json").json["users"]
    assert (shown["name"], shown["role"], shown["disabled"]) == ("ada.l", "applier", True)
    assert "disabled" in filled("console", "users").out
    filled("console", "change-user", "ada.l", "--enable")
    assert filled("console", "users", "--json").json["users"][0]["disabled"] is False
    assert "--role" in filled("console", "change-user", "ada.l", code=2).err
    assert "console users" in filled("console", "change-user", "bob", "--disable", code=2).err
    with sqlite3.connect(filled.config.parent / "redirectd.db") as kept:
        rows = kept.execute("select action, detail from audit where action like '%-user' or action like '%-password'")
        found = rows.fetchall()
    assert [action for action, _ in found] == ["add-user", "set-password", "change-user", "change-user"]
    assert "horse" not in str(found)


def test_without_its_table_it_does_not_start(filled: Cli) -> None:
    """It is off by default: without [console] the command says what to add (2)."""
    assert "add [console]" in filled("console", code=2).err


def test_without_its_packages_it_says_so(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra `console` the command names it (2)."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "redirectd.console.serve", raising=False)
    assert "redirectd[console]" in filled("console", code=2).err


def test_it_serves_this_host(filled: Cli, start: Start) -> None:
    """A request with a token is answered as the commands answer; another process on its port is refused (2)."""
    port = free_port()
    child = start(f'listen = "127.0.0.1:{port}"')
    token = filled("console", "add-token", "--json").json["token"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    status, found = asked(connection, "/api/v1/remaps?limit=1", token)
    (one,) = found["remaps"]
    assert status == 200
    assert filled("pending", "--limit", 1, "--json").json["remaps"] == [
        {name: value for name, value in one.items() if name != "version"}
    ]
    assert asked(connection, "/api/v1/remaps")[0] == 401
    assert "console.listen" in filled("console", code=2).err
    connection.close()
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x00\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"X" * 40_000])
def test_what_is_not_http_gets_the_headers_too(start: Start, sent: bytes) -> None:
    """A request that can't be read is 400, with the headers that every answer has, and the connection ends.

    Strangers write nothing into the console's log by it.
    """
    port = free_port()
    child = start(f'listen = "127.0.0.1:{port}"')
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(sent)
        answer = b""
        while part := client.recv(4096):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"x-content-type-options: nosniff" in answer.lower()
    assert b"frame-ancestors 'none'" in answer
    child.terminate()
    assert child.stderr is not None
    assert child.stderr.read() == ""


def test_it_serves_a_unix_socket(filled: Cli, start: Start) -> None:
    """The socket is for the user and the group; it is gone after the end, and a stale one is replaced."""
    path = filled.folder / "c.sock"
    for _ in range(2):
        child = start(f'listen = "unix:{path}"')
        assert path.stat().st_mode & 0o777 == 0o660
        assert asked(_UnixConnection(path), "/api/v1/openapi.json")[0] == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
        assert not path.exists()
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))


def test_it_serves_tls(filled: Cli, start: Start, tmp_path: Path) -> None:
    """With a certificate it speaks TLS and nothing else; a key that does not fit is wrong configuration (2)."""
    certificate, key, port = tmp_path / "c.crt", tmp_path / "c.key", free_port()
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    keys = f'listen = "127.0.0.1:{port}"\ntls_certificate = "{certificate}"\ntls_key = "{key}"'
    start(keys)
    context = ssl.create_default_context(cafile=str(certificate))
    secure = http.client.HTTPSConnection("localhost", port, timeout=60, context=context)
    assert asked(secure, "/api/v1/openapi.json")[0] == 200
    secure.close()
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with pytest.raises((http.client.HTTPException, OSError)):
        asked(plain, "/api/v1/openapi.json")
    key.write_text("nonsense")
    filled.config.write_text(filled.config.read_text().replace(str(port), str(free_port())))
    assert "tls_certificate" in filled("console", code=2).err


def test_a_slow_client_holds_up_nobody(filled: Cli, start: Start) -> None:
    """Fifty connections that say nothing, and half a request: others are answered meanwhile."""
    port = free_port()
    start(f'listen = "127.0.0.1:{port}"')
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    idle[0].sendall(b"POST /api/v1/decisions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    assert asked(connection, "/api/v1/openapi.json")[0] == 200
    for one in idle:
        one.close()
