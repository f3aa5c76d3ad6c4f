"""No channel (``none``): the file is written and parsed back, and no server is notified or asked."""

from __future__ import annotations

from typing import NoReturn

from redirectd.errors import PeerError
from redirectd.plan.target import Command


class NoChannel:
    """The channel where `reload` is ``none``; can't be asked anything."""

    def ask(self, command: Command) -> NoReturn:
        """Raise PeerError: there is nobody to ask."""
        raise PeerError(f"reload = none, {command.name}", "there is no server to ask", "set `reload` to a channel")

    def describe(self) -> str:
        """Say that nobody is notified."""
        return "no server is reloaded or queried"

    def probe(self) -> str:
        """Give an empty text: nothing can be wrong with no channel."""
        return ""

    def close(self) -> None:
        """Nothing is held open."""
