"""The command line as tests call it: in this process, with its own files, database and environment."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha512
from pathlib import Path
from typing import Any

import pytest

from redirectd.cli.main import run
from redirectd.cli.snippets import fitted
from redirectd.config import secrets

CONFIG = """\
node = "test"

[database]
url = "sqlite:///redirectd.db"

[policy]
trusted_peers = ["127.0.0.0/8"]
allowed_target_networks = ["127.0.0.0/8", "2001:db8::/32"]

[daemon]
socket = "status.sock"
"""

TARGET = """
[[target]]
name = "users"
kind = "kamailio-htable"
path = "redirectd_htable"
reload = "none"
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document it must be."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever servers this machine has: their configuration is none of a test's, unless it names one."""
    monkeypatch.setattr(fitted, "KAMAILIO_CFGS", ())
    monkeypatch.setattr(fitted, "KAMAILIO_DEFAULTS", Path("/nonexistent/kamailio"))
    monkeypatch.setattr(fitted, "ASTERISK_FOLDER", "/nonexistent/asterisk")


class Cli:
    """Runs commands against a configuration in a folder of its own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str], corpus: Path) -> None:
        self.folder = folder
        self.config = folder / "redirectd.toml"
        self.corpus = corpus
        self._capture = capture
        self.configure("")

    def configure(self, more: str) -> None:
        """Writes the configuration anew, with `more` behind it."""
        self.config.write_text(CONFIG + more)

    def __call__(self, *args: object, code: int = 0) -> Result:
        """Runs `redirectd --config FILE ARGS`; its exit code must be `code`."""
        self._capture.readouterr()
        found = run(["--config", str(self.config), *map(str, args)])
        printed = self._capture.readouterr()
        result = Result(found, printed.out, printed.err)
        assert result.code == code, result
        return result

    def ingest(self, name: str) -> Result:
        """Reads a log of the corpus."""
        return self("ingest", "--session-progress", "count", "--json", self.corpus / name)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line with an empty database."""
    monkeypatch.delenv("REDIRECTD_DATABASE_URL", raising=False)
    return Cli(tmp_path, capsys, corpus)


@pytest.fixture
def filled(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line with what the pjsip log and the one-line records hold, these as a Kamailio with a key writes
    them."""
    key = cli.folder / "record.key"
    key.write_bytes(KEY)
    cli.configure(TARGET)
    cli.ingest("asterisk/ast22-pjsip.full.log")
    log = cli.folder / "kamailio.log"
    log.write_bytes(proven((cli.corpus / "kamailio/snippet-all-cases.log").read_bytes(), KEY))
    with monkeypatch.context() as patch:
        patch.setattr(secrets, "DEFAULT", key)
        cli("ingest", "--session-progress", "count", log)
    return cli


KEY = b"7" * 64
_RECORD = re.compile(rb"REDIRECTD v=1 (ev=.*?) end=1")


def proven(log: bytes, key: bytes) -> bytes:
    """The log with each one-line record as `v=2`, with its proof."""

    def with_proof(record: re.Match[bytes]) -> bytes:
        fields = b"v=2 " + record[1]
        return b"REDIRECTD %b mac=%b end=1" % (fields, sha512(key + fields).hexdigest()[:40].encode())

    return _RECORD.sub(with_proof, log)
