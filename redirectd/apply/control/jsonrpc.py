"""JSON-RPC 2.0 as Kamailio's jsonrpcs module speaks it, over each of its carriers.

``jsonrpc:unix:/PATH`` is its unix datagram socket, ``jsonrpc:http://HOST:PORT/RPC`` (https too) is xhttp with
jsonrpc_dispatch(), and ``jsonrpc:fifo:/PATH`` its FIFO, ``?reply_dir=/DIR`` behind it naming its fifo_reply_dir.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import ssl
import stat
from http.client import HTTPException, parse_headers
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from redirectd.apply.control.channel import kamailio_error
from redirectd.apply.control.wait import MAX_REPLY, Deadline, SocketStream, connect, unreachable
from redirectd.errors import PeerError
from redirectd.plan.target import Command, Reply
from redirectd.sip.text import printable


def request_id() -> int:
    """Draw the id that ties an answer to its question; Kamailio's ids are 31-bit numbers."""
    return secrets.randbelow(2**31 - 1) + 1


def encode(command: Command, number: int, reply_name: str | None = None) -> bytes:
    """Write a request; `reply_name` is the FIFO's own addition."""
    request: dict[str, object] = {"jsonrpc": "2.0", "method": command.name, "params": list(command.args), "id": number}
    if reply_name is not None:
        request["reply_name"] = reply_name
    return json.dumps(request).encode("ascii")


def decode(where: str, command: Command, number: int, data: bytes) -> Reply:
    """Read an answer; AnswerError or RetryLater for an error, PeerError for what does not answer this question."""
    try:
        answer = json.loads(data.decode("utf-8", "replace"), strict=False)
    except ValueError:
        shown = printable(data[:200].decode("latin-1"), 200)
        raise PeerError(where, f"answered no JSON: {shown!r}", "see what listens there") from None
    if not isinstance(answer, dict) or answer.get("id") != number:
        raise PeerError(where, "answered another question than the one asked", "try again")
    error = answer.get("error")
    if isinstance(error, dict):
        code = error.get("code")
        raise kamailio_error(where, command, code if isinstance(code, int) else 0, str(error.get("message")))
    if "result" not in answer:
        raise PeerError(where, "answered with neither a result nor an error", "see what listens there")
    result: Reply = answer["result"]
    return result


def answers_to(number: int, data: bytes) -> bool:
    """Say if a datagram belongs to this question, not to an earlier one that came too late."""
    try:
        answer = json.loads(data.decode("utf-8", "replace"), strict=False)
    except ValueError:
        return True  # `decode` says what is wrong with it
    return not isinstance(answer, dict) or answer.get("id") in {number, None}


def version(reply: Reply) -> str:
    """Give the text of `core.version`."""
    return printable(str(reply).strip(), 200)


_MAX_DATAGRAM = 1 << 21


class JsonRpcUnix:
    """Asks over datagrams, from a socket in the abstract name space.

    Kamailio sends its answer to the address the question came from. A path would have to be reachable and
    writable for Kamailio's user, through both services' private /tmp; an abstract name needs neither. Anyone on
    the host can send to it, so an answer counts only with the question's random id.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._where = f"jsonrpc:unix:{path}"
        self._socket: socket.socket | None = None

    def ask(self, command: Command) -> Reply:
        """Ask and wait for the answer with this question's id; answers to earlier questions are passed over."""
        deadline = Deadline(self._where, self._timeout)
        number = request_id()
        sock = self._open()
        try:
            sock.settimeout(deadline.left("sending"))
            sock.sendto(encode(command, number), self._path)
            while True:
                sock.settimeout(deadline.left("waiting for the answer"))
                data = sock.recv(_MAX_DATAGRAM)
                if answers_to(number, data):
                    return decode(self._where, command, number, data)
        except TimeoutError:
            raise PeerError(
                f"{self._where}, {command.name}",
                f"no answer within {self._timeout:g} s",
                "see whether Kamailio hangs; an answer over 131,072 bytes (some hundred destinations) never comes this"
                " way and needs jsonrpc:http",
            ) from None
        except OSError as error:
            raise unreachable(self._where, error, unix=True) from None

    def _open(self) -> socket.socket:
        if self._socket is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sock.bind(f"\0redirectd-{secrets.token_hex(16)}")
            self._socket = sock
        return self._socket

    def describe(self) -> str:
        """Name the socket."""
        return f"Kamailio, JSON-RPC over the unix datagram socket {self._path}"

    def probe(self) -> str:
        """Ask for Kamailio's version."""
        return version(self.ask(Command("core.version")))

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


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
        number = request_id()
        body = encode(command, number)
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        stream = connect(self._where, self._address, deadline, self._tls)
        try:
            stream.send(head.encode("ascii") + body, deadline)
            return decode(self._where, command, number, self._body(stream, deadline))
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
        return version(self.ask(Command("core.version")))

    def close(self) -> None:
        """Nothing is held open."""


REPLY_DIR = "/tmp/"  # noqa: S108 - the default of jsonrpcs' own fifo_reply_dir, where it looks for the reply FIFO


class JsonRpcFifo:
    """Writes each question into Kamailio's FIFO and reads the answer from a FIFO of its own.

    Kamailio makes the path of the reply FIFO by putting the name behind its ``fifo_reply_dir``, which therefore
    must end in ``/`` there; `reply_dir` must be the same folder.
    """

    def __init__(self, path: str, timeout: float, reply_dir: str = REPLY_DIR) -> None:
        self._path = path
        self._folder = Path(reply_dir)
        self._timeout = timeout
        self._where = f"jsonrpc:fifo:{path}"

    def ask(self, command: Command) -> Reply:
        """Ask, and read until Kamailio closes the reply FIFO."""
        deadline = Deadline(self._where, self._timeout)
        number = request_id()
        reply = self._folder / f"redirectd-{secrets.token_hex(16)}"
        reader = self._make(reply)
        try:
            self._send(encode(command, number, reply.name) + b"\n", deadline)
            return decode(self._where, command, number, self._receive(reader, deadline))
        finally:
            os.close(reader)
            reply.unlink(missing_ok=True)

    def _make(self, reply: Path) -> int:
        try:
            os.mkfifo(reply, 0o600)
            reply.chmod(0o622)  # Kamailio's user writes, and nobody else reads; the name can't be guessed
            return os.open(reply, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise PeerError(
                self._where,
                f"no reply FIFO can be made in {self._folder} ({error.strerror})",
                "name Kamailio's fifo_reply_dir by ?reply_dir=/DIR, and let redirectd write there",
            ) from None

    def _send(self, data: bytes, deadline: Deadline) -> None:
        try:
            writer = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise PeerError(self._where, "nobody reads this FIFO", "see whether Kamailio runs") from None
            raise unreachable(self._where, error, unix=True) from None
        try:
            if not stat.S_ISFIFO(os.fstat(writer).st_mode):
                raise PeerError(self._where, "is not a FIFO", "give the path that jsonrpcs' fifo_name names")
            if len(data) > 4096:  # PIPE_BUF: more could be mixed up with another client's question
                raise PeerError(self._where, "the question is too long for a FIFO", "use jsonrpc:unix or binrpc")
            deadline.left("sending")
            os.write(writer, data)
        except BlockingIOError:
            raise deadline.missed("sending into a full FIFO") from None
        except OSError as error:
            raise unreachable(self._where, error, unix=True) from None
        finally:
            os.close(writer)

    def _receive(self, reader: int, deadline: Deadline) -> bytes:
        data = bytearray()
        while True:
            deadline.readable(reader, "waiting for the answer")
            try:
                block = os.read(reader, 1 << 18)
            except BlockingIOError:
                continue
            if not block:
                return bytes(data)
            data += block
            if len(data) > MAX_REPLY:
                raise PeerError(self._where, f"answers with over {MAX_REPLY} bytes", "see what reads that FIFO")

    def describe(self) -> str:
        """Name the FIFO."""
        return f"Kamailio, JSON-RPC over the FIFO {self._path}, replies in {self._folder}"

    def probe(self) -> str:
        """Ask for Kamailio's version."""
        return version(self.ask(Command("core.version")))

    def close(self) -> None:
        """Nothing is held open."""
