"""An operator at the keyboard: a configuration file and the `redirectd` command, run as a program of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redirectd.cli.recordkey import KAMAILIO_COPY, make_copies

BASICS = """
[database]
url = "sqlite:///{folder}/redirectd.db"

[policy]
trusted_peers = ["127.0.0.0/8"]
allowed_target_networks = ["127.0.0.0/8"]

[limits]
max_changes = 500
"""

DISPATCHER = """
[[target]]
name = "gateways"
kind = "kamailio-dispatcher"
path = "{folder}/dispatcher.list"
base = "{folder}/base.list"
reload = "jsonrpc:unix:{folder}/rpc.sock"
"""


@dataclass
class Operator:
    """Runs commands with the configuration `redirectd.toml` in `folder`."""

    folder: Path

    def configure(self, *parts: str) -> None:
        """Writes the configuration: the basics and the given tables."""
        (self.folder / "redirectd.toml").write_text(BASICS.format(folder=self.folder) + "\n".join(parts))

    def run(self, *arguments: str, code: int = 0) -> str:
        """Runs one command, expects its exit code, gives its standard output."""
        done = self.try_run(*arguments)
        assert done.returncode == code, f"redirectd {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def try_run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs one command, whatever becomes of it."""
        command = [sys.executable, "-m", "redirectd", "--config", str(self.folder / "redirectd.toml"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=self.folder)

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The JSON document that a command prints."""
        return json.loads(self.run(*arguments, "--json", code=code))

    def pending(self) -> list[dict[str, Any]]:
        """What waits for review."""
        remaps: list[dict[str, Any]] = self.json("pending")["remaps"]
        return remaps

    def faults(self, about: str) -> str:
        """What `check` has against things whose name has `about` in it, reachability aside: new.test has no DNS."""
        found = self.json("check", code=self.try_run("check").returncode)["findings"]
        named = [one for one in found if about in one["where"] and "reach" not in one["where"]]
        return "\n".join(f"{one['where']}: {one['why']}" for one in named if one["level"] != "ok")

    def import_moves(self, moves: Mapping[str, str], *options: str, kind: str = "") -> None:
        """Imports these moves (old URI: new URI) as approved; `options` are those of `import`, `kind` the remaps'."""
        rows = [f"{old},{new},{kind},approved" for old, new in moves.items()]
        file = self.folder / "moves.csv"
        file.write_text("\n".join(["old_uri,new_uri,kind,state", *rows, ""]), encoding="ascii")
        self.run("import", "--approve", *options, str(file))

    def keyed_record_snippet(self, folder: Path) -> tuple[str, Path]:
        """The same with a new key that Kamailio reads from `folder`, and redirectd's copy for `record_keys`."""
        own, copy = folder / "record.key", folder / "redirectd-key.cfg"
        make_copies(own, copy)
        copy.chmod(0o644)
        return self.record_snippet().replace(str(KAMAILIO_COPY), str(copy)), own

    def record_snippet(self) -> str:
        """The part of `redirectd snippet kamailio` that logs the one-line record, as an operator pastes it."""
        block = str(self.json("snippet", "kamailio", "--generic")["parts"][0]["text"])
        record = block[block.index("import_file ") : block.index("#!define REDIRECTD_EXACT_KEYS")]
        pings = block[block.index("reply_route {  #") :]
        return f'pv_buffer_size=16384\nmodparam("xlog", "buf_size", 16384)\n{record}\n{pings}\n'
