"""A sound setup that a fault can be brought to, and what `check` finds of it, also with another user's eyes."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

from redirectd.cli.main import run
from tests.cli.conftest import CONFIG, KEY, proven

NOBODY = 65534
SOUND = """
[[source]]
name = "log"
path = "sip.log"
timezone = "UTC"
[[target]]
name = "users"
kind = "kamailio-htable"
path = "out/table"
reload = "none"
[[target]]
name = "gateways"
kind = "kamailio-dispatcher"
path = "out/dispatcher.list"
base = "base.list"
reload = "none"
"""


class CheckedSetup:
    """A sound setup in a folder that every user can reach, and the findings on it."""

    def __init__(self, folder: Path, corpus: Path) -> None:
        self.folder = folder
        self.config = folder / "redirectd.toml"
        self.log, self.out, self.base = folder / "sip.log", folder / "out", folder / "base.list"
        self.database = folder / "redirectd.db"
        self.start = ["--config", str(self.config)]
        self.write(SOUND)
        self.log.write_bytes(proven((corpus / "kamailio/snippet-all-cases.log").read_bytes(), KEY))
        self.base.write_text("1 sip:192.0.2.1:5060\n")
        self.out.mkdir()
        self("db", "upgrade")

    def write(self, more: str, *, instead: dict[str, str] | None = None) -> None:
        """The configuration anew, with own domains named and parts of it exchanged."""
        text = CONFIG.replace("[policy]", '[policy]\nown_domains = ["gw03.carrier.test"]') + more
        for old, new in (instead or {}).items():
            assert old in text
            text = text.replace(old, new)
        self.config.write_text(text)

    def __call__(self, *words: str) -> tuple[int, str]:
        """A command in this process: its exit code and what it printed."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = run([*self.start, *words])
        return code, out.getvalue()

    def ill(self, *, user: int | None = None) -> list[dict[str, Any]]:
        """All findings of `check` that are not well, as root or as another user sees them."""
        code, text = self("check", "--json") if user is None else self._as(user)
        findings: list[dict[str, Any]] = json.loads(text)["findings"]
        assert code == (2 if code == 2 else int(any(one["level"] == "fault" for one in findings)))
        return [one for one in findings if not one["ok"]]

    def _as(self, user: int) -> tuple[int, str]:
        return self.by(user, "check", "--json")

    def by(self, user: int, *words: str) -> tuple[int, str]:
        """A command as another user runs it: its exit code and what it printed, errors among it."""
        self(*words)  # so that all is imported: the other user can't read the program
        answer = self.folder / "answer"
        with answer.open("w") as sink:
            child = os.fork()
            if child == 0:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                with contextlib.redirect_stderr(sink):
                    code, text = self(*words)
                sink.write(text)
                sink.flush()
                os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code, answer.read_text()
