"""The operator's own programs behind a file: `check` before it is installed, `reload` after, `verify` as the proof.

They are argument lists of the configuration. ``{file}`` in them is the path of the file, before it is installed that of
the staged one, and ``{token}`` the name of the content: nothing that a SIP message says is ever an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redirectd.plan.target import Command, Question, Rendered, Reply, ServerFault

FILE, TOKEN = "{file}", "{token}"
MOST_ARGUMENTS = 64


@dataclass(frozen=True, slots=True)
class Programs:
    """The argument lists, each empty where none is configured; the channel of ``run:`` runs them."""

    check: Sequence[str] = ()
    reload: Sequence[str] = ()
    verify: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Raise ValueError for what is not an absolute path with arguments."""
        for name in ("check", "reload", "verify"):
            argv = getattr(self, name)
            if argv and not (argv[0].startswith("/") and len(argv) <= MOST_ARGUMENTS and "\0" not in "".join(argv)):
                raise ValueError(f"{name} is not a program's absolute path and up to {MOST_ARGUMENTS} arguments")
        if any(TOKEN in argument for argument in self.check):
            raise ValueError("check takes {file} alone; {token} is for verify")
        if any(mark in argument for argument in self.reload for mark in (FILE, TOKEN)):
            raise ValueError("reload takes neither {file} nor {token}: what is to be read has one place")

    def reloading(self) -> Sequence[Command]:
        """Run `reload`."""
        return (Command("reload", tuple(self.reload)),) if self.reload else ()

    def checking(self, path: str) -> Question:
        """Run `check` on the staged file; with no such program nothing is run, and nothing is wrong."""
        return Question(Command("check", tuple(each.replace(FILE, path) for each in self.check)), _judge)

    def verifying(self, rendered: Rendered) -> Sequence[Question]:
        """Run `verify`."""
        argv = tuple(each.replace(TOKEN, rendered.token) for each in self.verify)
        return (Question(Command("verify", argv), _judge),) if argv else ()


def _judge(reply: Reply | ServerFault) -> str | None:
    return reply.text if isinstance(reply, ServerFault) else None
