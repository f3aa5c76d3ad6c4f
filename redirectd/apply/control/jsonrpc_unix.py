"""Kamailio's jsonrpcs over its unix datagram socket (``jsonrpc:unix:/PATH``)."""

from __future__ import annotations

import secrets
import socket

from redirectd.apply.control import jsonrpc
from redirectd.apply.control.wait import Deadline, unreachable
from redirectd.errors import PeerError
from redirectd.plan.target import Command, Reply

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
        number = jsonrpc.request_id()
        sock = self._open()
        try:
            sock.settimeout(deadline.left("sending"))
            sock.sendto(jsonrpc.encode(command, number), self._path)
            while True:
                sock.settimeout(deadline.left("waiting for the answer"))
                data = sock.recv(_MAX_DATAGRAM)
                if jsonrpc.answers_to(number, data):
                    return jsonrpc.decode(self._where, command, number, data)
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
        return jsonrpc.version(self.ask(Command("core.version")))

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
