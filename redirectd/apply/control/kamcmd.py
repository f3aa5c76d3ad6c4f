"""Kamailio's own client (``kamcmd``, ``kamcmd -s unixs:/PATH``): works everywhere, a program run for each question."""

from __future__ import annotations

import re
from collections.abc import Sequence

from redirectd.apply.control import jsonrpc
from redirectd.apply.control.binrpc_codec import as_struct
from redirectd.apply.control.channel import kamailio_error
from redirectd.apply.control.program import run
from redirectd.errors import PeerError
from redirectd.plan.target import Command, Reply

_ERROR = re.compile(r"error: (-?[0-9]+) - (.*)", re.DOTALL)


class Kamcmd:
    """Runs kamcmd. It exits 0 on errors of the server, so its text is read; numbers in answers stay texts."""

    def __init__(self, argv: Sequence[str], timeout: float) -> None:
        self._argv = (*argv,)
        self._timeout = timeout
        self._where = " ".join(argv)

    def ask(self, command: Command) -> Reply:
        """Ask; texts go with the prefix ``s:``, or else kamcmd sends what looks like a number as one."""
        args = [f"s:{arg}" if isinstance(arg, str) else str(arg) for arg in command.args]
        text = run(self._where, (*self._argv, command.name, *args), self._timeout)
        error = _ERROR.match(text)
        if error:
            raise kamailio_error(self._where, command, int(error[1]), error[2])
        try:
            return read_text(text)
        except ValueError:
            raise PeerError(self._where, "gave an answer that can't be read", "use binrpc or jsonrpc instead") from None

    def describe(self) -> str:
        """Name the program."""
        return f"Kamailio, {self._where}"

    def probe(self) -> str:
        """Ask for Kamailio's version."""
        return jsonrpc.version(self.ask(Command("core.version")))

    def close(self) -> None:
        """Nothing is held open."""


def read_text(text: str) -> Reply:
    """Read kamcmd's ``{ name: value }`` layout, one member a line; ValueError where it doesn't close."""
    lines = [line.strip("\t") for line in text.removesuffix("\n").split("\n")]
    values: list[Reply] = []
    at = 0
    while at < len(lines):
        if lines[at] == "{":
            value, at = _struct(lines, at + 1)
            values.append(value)
        else:
            values.append(lines[at])
            at += 1
    return values[0] if len(values) == 1 else values


def _struct(lines: Sequence[str], at: int) -> tuple[Reply, int]:
    members: list[tuple[str, Reply]] = []
    while at < len(lines):
        if lines[at] == "}":
            return as_struct(members), at + 1
        name, colon, value = lines[at].partition(":")
        if not colon:
            break
        if value.strip(" ") == "{":
            inner, at = _struct(lines, at + 1)
            members.append((name, inner))
        else:
            members.append((name, value.removeprefix(" ")))
            at += 1
    raise ValueError("a structure that does not close")
