"""A host for the documentation's commands: its folders are below a temporary one, its logs are those of the corpus."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cli.conftest import KEY, proven
from tests.docs.elsewhere import reason
from tests.docs.page import Block, Command, commands

CONFIG = """\
node = "sip1"

[database]
url = "sqlite:////var/lib/redirectd/redirectd.db"

[policy]
trusted_peers = ["127.0.0.0/8"]
allowed_target_networks = ["127.0.0.0/8", "2001:db8::/32"]
allow_foreign = true

[limits]
first_creates = 100

[daemon]
socket = "/run/redirectd/status.sock"

[[source]]
name = "asterisk"
path = "/var/log/asterisk/full"
timezone = "UTC"

[[source]]
name = "kamailio"
path = "/var/log/kamailio.log"
record_keys = ["/etc/redirectd/record.key"]

[[target]]
name = "gateways"
kind = "kamailio-dispatcher"
path = "/etc/kamailio/redirectd/dispatcher.list"
base = "/etc/kamailio/dispatcher.list"
reload = "none"

[[target]]
name = "users"
kind = "kamailio-htable"
path = "/etc/kamailio/redirectd/redirectd_htable"
reload = "none"

[[target]]
name = "asterisk"
kind = "asterisk-dialplan"
width = "user"
path = "/etc/asterisk/redirectd/extensions_redirectd.conf"
hosts = ["127.0.31.1:6003"]
reload = "none"
"""
FOLDERS = (
    "var/lib/redirectd-asterisk",
    "etc/redirectd",
    "etc/kamailio/redirectd",
    "etc/asterisk/redirectd",
    "var/log/asterisk",
    "var/lib/redirectd",
)
DISPATCHER = """\
1 sip:127.0.30.1:5060 8 10 duid=carrier-a;weight=60
1 sip:127.0.30.7:5060 8 10 duid=carrier-b;weight=40   # stays where it is
"""
_OF_HOST = re.compile(r"(?<![\w.\-])/(?=(?:etc|var|run|srv)/)")
_RELOAD = re.compile(r'(?m)^reload = ".*"')
_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|\+00:00)?)?"), "TIME"),
    (re.compile(r"\d+\.\d+ s \([\d,.]+ [kM]?B/s\)"), "SPEED"),
    (re.compile(r"\b[0-9a-f]{16,64}\b"), "HASH"),
    (re.compile(r"[\d,]+ bytes"), "SIZE"),
    (re.compile(r"\bverified\b"), "installed"),  # no server here; its answer is the matter of tests/peers
    (re.compile(r"\s+"), " "),
)


class Host:
    """Runs the commands of a page, one after another, and compares what they show."""

    def __init__(self, folder: Path, corpus: Path) -> None:
        self.root = folder / "h"
        for name in (*FOLDERS, "run/redirectd", "bin", "work", "srv"):
            (self.root / name).mkdir(parents=True)
        shutil.copy(corpus / "asterisk/ast22-pjsip.full.log", self.root / "var/log/asterisk/full")
        shutil.copy(corpus / "asterisk/ast22-pjsip.full.log", self.root / "var/log/asterisk/redirectd")
        kamailio = proven((corpus / "kamailio/snippet-all-cases.log").read_bytes(), KEY)
        (self.root / "var/log/kamailio.log").write_bytes(kamailio)
        with gzip.open(self.root / "var/log/kamailio.log.2.gz", "wb") as older:
            older.write(kamailio)
        key = self.root / "etc/redirectd/record.key"
        key.write_bytes(KEY)
        key.chmod(0o640)
        (self.root / "etc/kamailio/dispatcher.list").write_text(DISPATCHER)
        self.config = self.root / "etc/redirectd/redirectd.toml"
        shim = self.root / "bin/redirectd"
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m redirectd --config "{self.config}" "$@"\n')
        shim.chmod(0o755)
        self.replaced: dict[str, str] = {}

    def place(self, text: str) -> str:
        """A text with the paths of the host turned into those of the folder, and no server to reload."""
        for before, after in self.replaced.items():
            text = text.replace(before, after)
        return _RELOAD.sub('reload = "none"', _OF_HOST.sub(f"{self.root}/", text))

    def play(self, parts: Sequence[Block], name: str) -> int:
        """Do all that the blocks of a page say; the count of commands that were run."""
        lines = [command.text for block in parts if block.language == "console" for command in commands(block)]
        self.config.write_text(self.place(CONFIG))
        if any(line.startswith("redirectd init") for line in lines):
            self.config.unlink()
        count = 0
        for block in parts:
            if block.mark[0] in {"file", "append"}:
                self._write(block)
            if block.language == "console":
                for command in commands(block):
                    if reason(command.text) is None:
                        self._run(f"{name}:{command.line}", command)
                        count += 1
        return count

    def _write(self, block: Block) -> None:
        kind, name = block.mark
        file = Path(self.place(name))
        with file.open("a" if kind == "append" else "w", encoding="utf-8") as out:
            out.write(self.place(block.text))

    def _run(self, place: str, command: Command) -> None:
        environ = {
            **os.environ,
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "NO_COLOR": "1",
            "LOGNAME": "root",
            "TZ": "UTC",
        }
        for name in ("SUDO_USER", "REDIRECTD_DATABASE_URL", "CREDENTIALS_DIRECTORY"):
            environ.pop(name, None)
        done = subprocess.run(
            ["bash", "-c", self.place(command.text)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.root / "work",
            env=environ,
            timeout=120,
            check=False,
        )
        told = f"{place}: $ {command.text}\n{done.stdout[-6000:]}"
        assert done.returncode == command.code, f"exit code {done.returncode}, not {command.code}\n{told}"
        if command.text.startswith("redirectd init"):  # it has looked at this very machine
            self.config.write_text(self.place(CONFIG))
        missing = first_missing(command.shown, done.stdout.replace(str(self.root), ""))
        assert missing is None, f"{told}\nthe page shows, and it was not printed there: {missing}"


def first_missing(shown: list[str], printed: str) -> str | None:
    """The first shown line that was not printed, in the shown order; times, speeds, sizes and blanks don't count."""
    rest = iter([_mask(line) for line in printed.splitlines()])
    for line in shown:
        wanted = re.compile(".*".join(map(re.escape, _mask(line).split("..."))))
        if line.strip() != "..." and not any(wanted.fullmatch(found) for found in rest):
            return line
    return None


def _mask(line: str) -> str:
    for pattern, word in _MASKS:
        line = pattern.sub(word, line)
    return line.strip()
