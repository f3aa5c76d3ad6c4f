"""What every control channel can do, and how its answers are judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from redirectd.errors import PeerError
from redirectd.plan.target import Command, Question, Reply, ServerFault
from redirectd.sip.text import printable

SHOWN = 300
"""Characters of a server's text that an error message shows."""


class AnswerError(PeerError):
    """The server was reached and answered with an error of its own: `code` (Kamailio's, 0 for Asterisk) and `text`."""

    def __init__(self, where: str, code: int, text: str, what_to_do: str = "") -> None:
        shown = printable(text.strip(), SHOWN)
        super().__init__(where, f"answered: {shown}", what_to_do or "look into the server's log")
        self.code = code
        self.text = shown


class RetryLater(AnswerError):  # noqa: N818 - it says what to do; nothing has failed
    """The server is busy with a reload and takes another one in some seconds (Kamailio: one in 5 s)."""


class UnknownMethodError(AnswerError):
    """The server has no such command: the module that brings it is not loaded (yet)."""


class Channel(Protocol):
    """A way to one server. Connects with the first question, and again after a failure."""

    def ask(self, command: Command) -> Reply:
        """Give the answer: JSON or binrpc values for Kamailio, text for Asterisk.

        Raises PeerError if the server can't be asked in time, AnswerError if it answers with an error, and
        RetryLater while a reload is under way.
        """
        ...

    def describe(self) -> str:
        """Name the channel for people: what it speaks, and where. No secrets."""
        ...

    def probe(self) -> str:
        """Ask for the server's version, which changes nothing; raises like `ask`."""
        ...

    def close(self) -> None:
        """Give back sockets and files; the channel can be used again."""
        ...


@runtime_checkable
class Pipelined(Protocol):
    """A channel that sends many commands ahead of their answers."""

    def pipelines(self, command: Command) -> bool:
        """Whether a command can be sent so."""
        ...

    def act(self, commands: Sequence[Command]) -> Sequence[object]:
        """Do them; AnswerError for the first that failed, after all."""
        ...


def prove(channel: Channel, question: Question) -> str | None:
    """Ask and judge; None if proven, else why not. An error that the server answers is an answer to judge.

    Raises PeerError if the server can't be asked, RetryLater if it is reloading.
    """
    try:
        reply: Reply | ServerFault = channel.ask(question.command)
    except RetryLater:
        raise
    except AnswerError as error:
        reply = ServerFault(error.code, error.text)
    return question.judge(reply)


def kamailio_error(where: str, command: Command, code: int, text: str) -> AnswerError:
    """Make the error for an answer of Kamailio: RetryLater for an ongoing reload."""
    place = f"{where}, {command.name}"
    if "ongoing reload" in text.lower():
        return RetryLater(place, code, text, "try again in 5 seconds")
    if "not found" in text.lower() and ("command" in text.lower() or "method" in text.lower()):
        return UnknownMethodError(place, code, text, f"load the module that has the RPC command {command.name}")
    if "internal error creating" in text.lower():  # ctl's answer to what is over its 32 kB
        hint = (
            "the answer may be too big: raise ctl's binrpc_max_body_size and binrpc_struct_max_body_size, or use HTTP"
        )
        return AnswerError(place, code, text, hint)
    return AnswerError(place, code, text)
