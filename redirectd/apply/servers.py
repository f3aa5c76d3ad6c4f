"""Making Kamailio and Asterisk read their files again, and asking them what they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Protocol

from redirectd.apply.control import AnswerError, Channel, RetryLater, UnknownMethodError
from redirectd.apply.control import prove as ask_and_judge
from redirectd.apply.control.channel import Pipelined
from redirectd.errors import PeerError
from redirectd.plan.target import Command, Question
from redirectd.sip.text import printable

SPACING = 5.0
"""Seconds between two reloads of one server: Kamailio refuses more (`Ongoing reload`)."""

PATIENCE = 30.0
"""Seconds that a reload is retried while the server asks for patience."""

_RETRY = 1.0
_ASK_AGAIN = 3


class OpenChannel(Protocol):
    """The way from a ``reload`` key to a channel, `redirectd.apply.control.open_channel`."""

    def __call__(self, spec: str, *, timeout: float) -> Channel:
        """Make the channel; it connects with its first question."""
        ...


class ServerDown(Exception):  # noqa: N818 - a state of affairs that apply remembers, not an error it ends with
    """The server can't be reached: it will read the file when it starts, and be asked then."""

    def __init__(self, error: PeerError) -> None:
        super().__init__(str(error))
        self.error = error


class Servers:
    """All servers of this host; keeps the time of each one's last reload, so it lives as long as the daemon."""

    def __init__(
        self,
        open_channel: OpenChannel,
        sleep: Callable[[float], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._open_channel = open_channel
        self._sleep = sleep
        self._monotonic = monotonic
        self._reloaded: dict[str, float] = {}

    def reload(
        self,
        control: str,
        timeout: float,
        orders: Callable[[Channel], Sequence[Command]],
        after: Callable[[Channel], Sequence[Command]] = lambda _: (),
    ) -> Mapping[Command, str]:
        """Have a server read its files again: each command of `orders` once, patiently.

        `orders` may ask the server what it holds, and so may `after`, whose commands come when all is done. Gives the
        commands of `orders` that the server does not know, each with its answer: their module is not loaded, so what
        they reload is read when the server starts with it.

        Raises:
            ServerDown: nobody is there; no command was sent to anyone.
            AnswerError: the server says that it refused; what it took of it has had its `after`, too.
            PeerError: no answer came in time; the server may have read the files all the same.
        """
        try:
            opened = self._open_channel(control, timeout=timeout)
        except PeerError as error:
            raise ServerDown(error) from error
        with closing(opened) as channel:
            try:
                channel.probe()
            except AnswerError:
                pass  # it won't give its version, but it is there
            except PeerError as error:
                raise ServerDown(error) from error
            self._space(control)
            try:
                unknown, refusal = self._carry_out(channel, orders(channel))
                try:
                    for command in after(channel):
                        self._patiently(channel, command)
                except AnswerError as error:
                    refusal = refusal or error
            finally:
                self._reloaded[control] = self._monotonic()
        if refusal is not None:
            raise refusal
        return unknown

    def _carry_out(
        self, channel: Channel, commands: Sequence[Command]
    ) -> tuple[Mapping[Command, str], AnswerError | None]:
        """Give the commands that the server does not know, and what it refused the first of the others with."""
        unknown: dict[Command, str] = {}
        rest = commands
        if isinstance(channel, Pipelined):
            channel.act([command for command in commands if channel.pipelines(command)])
            rest = [command for command in commands if not channel.pipelines(command)]
        for command in dict.fromkeys(rest):
            try:
                self._patiently(channel, command)
            except UnknownMethodError as error:
                unknown[command] = str(error)
            except AnswerError as error:
                return unknown, error
        return unknown, None

    def preflight(self, control: str, timeout: float, question: Question) -> str | None:
        """Give why the server would not read a file as it is meant; None also where it can't be asked."""
        try:
            with closing(self._open_channel(control, timeout=timeout)) as channel:
                return judged(channel, question)
        except PeerError:
            return None  # the reload will show whether it is there, and what it reads then

    def doubts(self, control: str, timeout: float, questions: Sequence[Question], *, patient: bool = True) -> list[str]:
        """Give what the server's answers disprove, or why it can't be asked."""
        try:
            return self.disproved(control, timeout, questions, _ASK_AGAIN if patient else 1)
        except PeerError as error:
            return [str(error)]

    def disproved(
        self, control: str, timeout: float, questions: Sequence[Question], attempts: int = _ASK_AGAIN
    ) -> list[str]:
        """Give what the server's answers disprove; those that fail are asked again a little later.

        Raises PeerError where the server can't be asked.
        """
        left = list(questions)
        faults: list[str] = []
        for attempt in range(attempts):
            if attempt:
                self._sleep(_RETRY)
            with closing(self._open_channel(control, timeout=timeout)) as channel:
                answers = [(question, judged(channel, question)) for question in left]
            left = [question for question, fault in answers if fault is not None]
            faults = [fault for _, fault in answers if fault is not None]
            if not left:
                return []
        return faults

    def answers(self, control: str, timeout: float, questions: Sequence[Question]) -> list[str | None]:
        """Give for each question what its answer disproves, None where it proves; raises PeerError without answers."""
        with closing(self._open_channel(control, timeout=timeout)) as channel:
            return [judged(channel, question) for question in questions]

    def _space(self, control: str) -> None:
        last = self._reloaded.get(control)
        if last is not None:
            rest = last + SPACING - self._monotonic()
            if rest > 0:
                self._sleep(rest)

    def _patiently(self, channel: Channel, command: Command) -> None:
        end = self._monotonic() + PATIENCE
        while True:
            try:
                channel.ask(command)
            except RetryLater:
                if self._monotonic() >= end:
                    raise
                self._sleep(_RETRY)
            else:
                return


def judged(channel: Channel, question: Question) -> str | None:
    """Give the fault of one answer; raises PeerError where none comes."""
    try:
        fault = ask_and_judge(channel, question)
    except RetryLater as error:
        return str(error)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        fault = f"unexpected answer to {question.command.name}: {error}"
    return None if fault is None else printable(fault, 500)
