"""`redirectd demo`: the whole job on shipped real logs, with nothing of this host touched."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import click

from redirectd.cli.output import say, shown_line
from redirectd.errors import InstallError, RedirectdError, UsageError

CONFIG = "redirectd.toml"
LOGS = ("asterisk-full.log", "kamailio.log")
SHIPPED = (CONFIG, "dispatcher.base.list", *LOGS)
GENERATED = ("dispatcher.list", "redirectd_htable", "extensions_redirectd.conf")
SHOWN_LINES = 8


@click.command("demo")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("redirectd-demo"),
    show_default=True,
    help="Where to put it; must not exist yet.",
)
def demo_command(folder: Path) -> None:
    """Show the whole job on shipped real logs, in a folder of its own.

    Reads what a real Asterisk and a real Kamailio logged, shows what waits, approves, plans and applies, with an SQLite
    database and files in that folder alone. Each command is shown as you would type it, and you can go on from there.
    """
    _fill(folder)
    step = _Steps(folder)
    say(f"$ cd {shlex.quote(str(folder))}")
    step.run("ingest", "--session-progress", "count", *LOGS)
    step.run("pending")
    waiting = step.ask("pending", "--json")["remaps"]
    plain = [str(remap["id"]) for remap in waiting if not remap["flags"] and remap["kind"] != "registrar"]
    several = [remap for remap in waiting if remap["flags"] == ["ambiguous"]]
    say("# What no flag holds is approved here; look at each with 'redirectd show ID' where it is your network.")
    step.run("approve", *plain)
    say("# Several Contacts came with this one, so somebody has to choose.")
    step.run("approve", str(several[-1]["id"]), "--contact", "1")
    step.run("plan")
    step.run("apply")
    for name in GENERATED:
        _show_file(folder, name)
    first = next(remap for remap in waiting if str(remap["id"]) in plain and remap["kind"] == "user")
    step.run("lookup", first["old_uri"])
    say(f"# Done. Go on in {folder}, or remove it. 'redirectd init' writes a configuration for this host.")


def _fill(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
        for name in SHIPPED:
            content = (resources.files("redirectd.cli") / "demo" / name).read_bytes()
            (folder / name).write_bytes(content)
    except FileExistsError as error:
        raise UsageError(
            str(folder), "this folder exists already", "remove it, or name another one with --folder"
        ) from error
    except OSError as error:
        raise InstallError(
            str(folder), f"the demo can't be put there: {error.strerror}", "name another place with --folder"
        ) from error


@dataclass(frozen=True, slots=True)
class _Steps:
    """Runs redirectd in the demo's folder, each time as a process of its own."""

    folder: Path

    def run(self, *args: str) -> None:
        """Shows a command as a person would type it, and runs it."""
        say(f"\n$ redirectd --config {CONFIG} {shlex.join(args)}")
        sys.stdout.flush()
        command = self._command("--no-pager", *args)
        code = subprocess.run(command, cwd=self.folder, check=False).returncode  # noqa: S603 - ourselves
        if code:
            raise RedirectdError(f"redirectd {args[0]}", f"it ended with exit code {code}", "see its message above")

    def ask(self, *args: str) -> Any:  # noqa: ANN401 - a JSON document
        """What a command says in JSON."""
        run = subprocess.run(self._command(*args), cwd=self.folder, check=True, capture_output=True)  # noqa: S603
        return json.loads(run.stdout)

    def _command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "redirectd", "--config", CONFIG, *args]


def _show_file(folder: Path, name: str) -> None:
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    say(f"\n$ head -n {SHOWN_LINES} {name}")
    for line in lines[:SHOWN_LINES]:
        say(shown_line(line))
    if len(lines) > SHOWN_LINES:
        say(f"# ... and {len(lines) - SHOWN_LINES} lines more")
