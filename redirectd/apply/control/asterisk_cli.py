"""Asterisk's command line (``asterisk -rx``, ``asterisk -C FILE -rx``)."""

from __future__ import annotations

from collections.abc import Sequence

from redirectd.apply.control.channel import AnswerError, RetryLater
from redirectd.apply.control.program import run
from redirectd.errors import PeerError
from redirectd.plan.target import Command, Reply
from redirectd.sip.text import printable

_DONE = {"dialplan reload": "Dialplan reloaded", "module reload ": "reloaded successfully"}
"""What commands say when they have done it; their other texts (busy, not loaded, failed) come with exit code 0 too."""


_IF_LOADED = ("sorcery memory cache expire ",)
"""Commands whose module holds what they are about: without it there is nothing to do."""


class AsteriskCli:
    """Runs one remote console per question. Its exit code says nothing about the command, so the text is read."""

    def __init__(self, argv: Sequence[str], timeout: float) -> None:
        self._argv = (*argv,)
        self._timeout = timeout
        self._where = " ".join(argv)

    def ask(self, command: Command) -> Reply:
        """Give the text of a CLI command, its negative answers included."""
        line = command_line(self._where, command)
        text = run(self._where, (*self._argv, line), self._timeout)
        return judged(self._where, line, text)

    def describe(self) -> str:
        """Name the program."""
        return f"Asterisk, {self._where}"

    def probe(self) -> str:
        """Ask for Asterisk's version."""
        return printable(str(self.ask(Command("core show version"))).strip(), 200)

    def close(self) -> None:
        """Nothing is held open."""


def command_line(where: str, command: Command) -> str:
    """Write a CLI command as its one line."""
    line = " ".join([command.name, *map(str, command.args)])
    if not (line.isascii() and line.isprintable()):
        raise PeerError(where, f"{printable(line, 100)!r} is not a command line", "report this as a fault of redirectd")
    return line


def judged(where: str, line: str, text: str) -> str:
    """Give back a CLI answer, or raise for one that says the command did nothing, or says nothing at all."""
    if "No such command" in text and not line.startswith(_IF_LOADED):
        raise AnswerError(f"{where}, {line}", 0, text, "load the module that has this command")
    if "already in progress" in text:
        raise RetryLater(f"{where}, {line}", 0, text, "try again in some seconds")
    if not text.strip():
        raise PeerError(
            f"{where}, {line}",
            "gave no answer; a command that takes over 60 s goes on without one",
            "wait and look at the result in Asterisk; ami:// waits longer",
        )
    for command, done in _DONE.items():
        if line.startswith(command) and done not in text:
            raise AnswerError(f"{where}, {line}", 0, text)
    return text
