"""Kamailio's binrpc over ctl's stream socket (``binrpc:unix:/PATH``, ``binrpc:tcp:HOST:PORT``): the fastest way.

ctl's own bounds on an answer, 32 kB with 8 kB for each structure, are raised by its parameters
``binrpc_max_body_size`` and ``binrpc_struct_max_body_size``.
"""

from __future__ import annotations

import secrets

from redirectd.apply.control import jsonrpc
from redirectd.apply.control.binrpc_codec import BinRpcError, read_body, read_head, read_tail, request
from redirectd.apply.control.channel import kamailio_error
from redirectd.apply.control.wait import Deadline, SocketStream, connect
from redirectd.errors import PeerError
from redirectd.plan.target import Command, Reply


class BinRpc:
    """Keeps one connection for its questions; a failure closes it, and the next question opens another."""

    def __init__(self, address: str | tuple[str, int], timeout: float) -> None:
        """Take a unix socket's path, or host and port."""
        self._address = address
        self._timeout = timeout
        if isinstance(address, str):
            self._where = f"binrpc:unix:{address}"
        else:
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            self._where = f"binrpc:tcp:{host}:{address[1]}"
        self._stream: SocketStream | None = None

    def ask(self, command: Command) -> Reply:
        """Ask; several values in one answer come as a list, none as None."""
        deadline = Deadline(self._where, self._timeout)
        cookie = secrets.token_bytes(4)
        stream = self._kept() or connect(self._where, self._address, deadline)
        try:
            stream.send(request(command.name, command.args, cookie), deadline)
            values, is_fault = self._answer(stream, cookie, deadline)
        except BaseException:
            stream.close()
            raise
        self._stream = stream
        if is_fault:
            code, text = values[0] if values else 0, values[1] if len(values) > 1 else ""
            raise kamailio_error(self._where, command, code if isinstance(code, int) else 0, str(text))
        return values[0] if len(values) == 1 else values or None

    def _kept(self) -> SocketStream | None:
        stream, self._stream = self._stream, None  # it is kept again only after a whole answer
        if stream is not None and stream.is_closed:
            stream.close()
            return None
        return stream

    def _answer(self, stream: SocketStream, cookie: bytes, deadline: Deadline) -> tuple[list[Reply], bool]:
        try:
            head = read_head(stream.take(2, deadline))
            length = read_tail(head, stream.take(head.tail, deadline), cookie)
            return read_body(stream.take(length, deadline)), head.is_fault
        except BinRpcError as error:
            raise PeerError(
                self._where, f"answered with bytes that are wrong: {error}", "see what listens there"
            ) from None

    def describe(self) -> str:
        """Name the socket."""
        kind, _, place = self._where.removeprefix("binrpc:").partition(":")
        return f"Kamailio, binrpc over {'the unix socket ' if kind == 'unix' else ''}{place}"

    def probe(self) -> str:
        """Ask for Kamailio's version."""
        return jsonrpc.version(self.ask(Command("core.version")))

    def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
