"""Kamailio's jsonrpcs over HTTP (``jsonrpc:http://HOST:PORT/RPC``, https too): xhttp with jsonrpc_dispatch()."""

from __future__ import annotations

import ssl
from http.client import HTTPException, parse_headers
from io import BytesIO
from urllib.parse import urlsplit

from redirectd.apply.control import jsonrpc
from redirectd.apply.control.wait import MAX_REPLY, Deadline, SocketStream, connect
from redirectd.errors import PeerError
from redirectd.plan.target import Command, Reply
from redirectd.sip.text import printable


class JsonRpcHttp:
    """Posts each question over a connection of its own.

    Own HTTP, a page of it: the standard client bounds each read, not the whole answer, and a server that sends
    one byte a second would hold an apply for hours. Kamailio sends an error as status 500 with the JSON in it.
    """

    def __init__(self, url: str, timeout: float) -> None:
        """Take an http or https URL with a host; ValueError for others, and for user or password in it."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ValueError("is not an http://HOST:PORT/PATH")
        self._address = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._path = parts.path or "/"
        self._host = parts.netloc
        self._timeout = timeout
        self._where = f"jsonrpc:{url}"

    def ask(self, command: Command) -> Reply:
        """Ask, and wait for the whole answer."""
        deadline = Deadline(self._where, self._timeout)
        number = jsonrpc.request_id()
        body = jsonrpc.encode(command, number)
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        stream = connect(self._where, self._address, deadline, self._tls)
        try:
            stream.send(head.encode("ascii") + body, deadline)
            return jsonrpc.decode(self._where, command, number, self._body(stream, deadline))
        finally:
            stream.close()

    def _body(self, stream: SocketStream, deadline: Deadline) -> bytes:
        status, _, rest = stream.take_until(b"\r\n\r\n", deadline).partition(b"\r\n")
        words = status.decode("latin-1").split(" ")
        try:
            headers = parse_headers(BytesIO(rest))
            length = int(headers.get("Content-Length", ""))
        except (HTTPException, ValueError):
            length = -1
        if not words[0].startswith("HTTP/") or not 0 <= length <= MAX_REPLY:
            raise PeerError(
                self._where,
                f"answered no HTTP with a length: {printable(status.decode('latin-1'), 100)!r}",
                "see what listens there",
            )
        body = stream.take(length, deadline)
        if words[1:2] not in (["200"], ["500"]):
            raise PeerError(
                self._where,
                f"answered HTTP status {printable(words[1], 20) if words[1:] else ''}",
                "see whether the path is the one that event_route[xhttp:request] gives to jsonrpc_dispatch()",
            )
        return body

    def describe(self) -> str:
        """Name the address."""
        return f"Kamailio, JSON-RPC over HTTP at {self._where.removeprefix('jsonrpc:')}"

    def probe(self) -> str:
        """Ask for Kamailio's version."""
        return jsonrpc.version(self.ask(Command("core.version")))

    def close(self) -> None:
        """Nothing is held open."""
