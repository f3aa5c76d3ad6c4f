"""Asterisk's own reading of a file before it is in service: the manager's action GetConfig.

Asterisk reads the whole file, whichever category it is asked for, and shows that one alone. So the last category of a
file shows that nothing before it ended the reading, at any size. It takes paths within its configuration folder only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redirectd.plan.target import Command, Question, Reply, ServerFault
from redirectd.sip.text import printable

_NO_VERDICT = ("not found", "ermission", "escalated")
"""Asterisk on another host or in another folder, or a manager account without the class `config`."""


def reads(path: str, category: str, name: str, values: Sequence[str]) -> Question:
    """Ask what Asterisk reads in `category` of the file at `path`: its settings `name` must be `values`."""

    def judge(reply: Reply | ServerFault) -> str | None:
        if isinstance(reply, ServerFault):
            if any(word in reply.text for word in _NO_VERDICT):
                return None  # parsing it back has to do, and the read-back after the reload decides
            return f"Asterisk's reading of the file: {reply.text}"
        if not isinstance(reply, Mapping):
            return None
        settings = (str(line).partition("=") for key, told in reply.items() if key.startswith("line-") for line in told)
        read = [value for setting, _, value in settings if setting == name]
        if read == list(values):
            return None
        shown = printable("; ".join(read) or "nothing", 200)
        return f"Asterisk reads {name} {shown} in [{category}] instead of {printable('; '.join(values), 200)}"

    return Question(Command("GetConfig", (path, category)), judge)
