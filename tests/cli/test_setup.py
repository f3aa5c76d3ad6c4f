"""check, init, snippet and demo: from nothing to a configuration that works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from redirectd.cli.commands.demo import GENERATED
from redirectd.cli.survey import Host, look_around, values
from redirectd.config.load import parse
from redirectd.config.reference import template
from redirectd.store import settings
from redirectd.store.database import Database
from redirectd.targets import target_kinds
from tests.cli.conftest import Cli

RECORD = (
    "$var(rd_rec) = $_s(v=2 ev=$rs ts=$TV(Sn) m=$(rm{s.urlencode.param}) ci=$(ci{s.substr,0,256}{s.urlencode.param}) "
    "cseq=$(cs{s.urlencode.param}) br=$T_branch_idx src=$pr/$si/$sp "
    "ouri=$(T_req($ou){s.substr,0,512}{s.urlencode.param}) "
    "buri=$(T_branch(uri){s.substr,0,512}{s.urlencode.param}) nct=$hdrc(Contact) ctlen=$(hdr(Contact)[*]{s.len}) "
    "ct=$(hdr(Contact)[*]{s.substr,0,1200}{s.urlencode.param}) tt=$(T_req($tt){s.urlencode.param}) "
    "ex=$(hdr(Expires){s.substr,0,32}{s.urlencode.param}) rsn=$(hdr(Reason){s.substr,0,64}{s.urlencode.param}) "
    "rq=$(hdr(Require){s.substr,0,64}{s.urlencode.param}) rt=$avp(redirectd_at) sdp=$var(sdp));"
)


def test_check_finds_everything_at_once(cli: Cli) -> None:
    """`check` names each fault with place, reason and mend, in one go, and ends with 1."""
    cli.configure(
        '[[source]]\nname = "a"\npath = "missing.log"\n'
        '[[target]]\nname = "t"\nkind = "kamailio-htable"\npath = "no-such-folder/table"\n'
        'reload = "jsonrpc:unix:/nowhere/rpc.sock"\n'
        '[[target]]\nname = "d"\nkind = "kamailio-dispatcher"\npath = "d.list"\nbase = "missing.list"\n'
    )
    found = cli("check", "--json", code=1).json
    assert found["ok"] is False
    faults = {finding["where"] for finding in found["findings"] if finding["level"] == "fault"}
    for part in ("missing.log", "no-such-folder", "/nowhere/rpc.sock", "missing.list"):
        assert any(part in where for where in faults), part
    assert all(finding["what_to_do"] for finding in found["findings"] if not finding["ok"])
    assert not (cli.folder / "redirectd.db").exists(), "a check changes nothing"
    assert "4 errors" in cli("check", code=1).out


def test_check_of_a_sound_setup(filled: Cli) -> None:
    """A setup without faults ends with 0, warnings or not."""
    log = filled.corpus / "asterisk/ast22-pjsip.full.log"
    filled.config.write_text(filled.config.read_text() + f'[[source]]\nname = "a"\npath = "{log}"\ntimezone = "UTC"\n')
    found = filled("check", "--json").json
    assert found["ok"] is True
    assert any("SIP" in finding["why"] for finding in found["findings"])


def test_check_tells_what_to_switch_on(cli: Cli) -> None:
    """A log that only tells of forwarding is not a use, and check says what to switch on instead."""
    log = cli.corpus / "asterisk/ast22-verbose-only.log"
    cli.configure(f'[[source]]\nname = "a"\npath = "{log}"\n')
    found = cli("check", "--json").json["findings"]
    assert any("pjsip logger" in finding["what_to_do"] for finding in found)


def test_check_of_a_faulty_configuration(cli: Cli) -> None:
    """Faults of the configuration are findings, too, and end with 2."""
    cli.configure("[policie]\n")
    found = cli("check", "--json", code=2).json
    assert [finding["where"].rpartition(" ")[2] for finding in found["findings"]] == ["policie"]


def test_check_notices_a_changed_audit(filled: Cli) -> None:
    """R35: an audit entry that was changed behind redirectd's back is a fault."""
    import sqlite3

    filled("approve", "1", "--reason", "right")
    with sqlite3.connect(filled.folder / "redirectd.db") as connection:
        connection.execute("UPDATE audit SET reason = 'wrong'")
    connection.close()
    found = filled("check", "--json", code=1).json["findings"]
    assert any("audit entry" in finding["where"] for finding in found)


def test_init_writes_what_reads_back(cli: Cli) -> None:
    """`init` writes a commented file that is valid as it is, and never over an existing one unless forced."""
    file = cli.folder / "new.toml"
    cli("init", "--output", file)
    parse(file.read_text(), file)
    assert "# " in file.read_text()
    cli("init", "--output", file, code=2)
    cli("init", "--output", file, "--force")
    assert cli("init", "--output", "-").out.startswith("# ")
    assert "trusted_peers" in cli("init", "--reference").out


def test_init_finds_kamailio_and_asterisk(tmp_path: Path) -> None:
    """What stands on a host becomes sources and targets, each valid; a dispatcher list in use becomes the base."""
    for folder in ("etc/kamailio", "etc/asterisk", "var/log/asterisk", "run/kamailio", "var/lib"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("etc/kamailio/dispatcher.list", "var/log/kamailio.log", "var/log/asterisk/full"):
        (tmp_path / file).touch()
    (tmp_path / "etc/group").write_text("root:x:0:\nkamailio:x:105:\n")
    config = parse(template(values(look_around(tmp_path))), tmp_path / "redirectd.toml")
    assert [source.name for source in config.source] == ["kamailio", "asterisk"]
    assert {target.kind for target in config.target} == set(target_kinds.kinds()) & {
        "kamailio-htable",
        "kamailio-dispatcher",
        "asterisk-dialplan",
    }
    dispatcher = next(target for target in config.target if target.kind == "kamailio-dispatcher")
    assert dispatcher.base == tmp_path / "etc/kamailio/dispatcher.list"
    assert dispatcher.path != dispatcher.base
    dialplan = next(target for target in config.target if target.kind == "asterisk-dialplan")
    assert dialplan.path == tmp_path / "etc/asterisk/redirectd/extensions_redirectd.conf", (
        "where a drop-in lets it write"
    )
    groups = {target.kind: target.group for target in config.target}
    assert groups == {"kamailio-htable": "kamailio", "kamailio-dispatcher": "kamailio", "asterisk-dialplan": None}


def test_init_reads_the_journal_where_no_syslog_writes_files(tmp_path: Path) -> None:
    """Debian 12 installs no syslog: Kamailio's lines are in the journal alone; a log that is there wins."""
    for folder in ("etc/kamailio", "var/log/journal", "var/lib"):
        (tmp_path / folder).mkdir(parents=True)
    config = parse(template(values(look_around(tmp_path))), tmp_path / "redirectd.toml")
    assert [(source.kind, source.units) for source in config.source] == [("journal", ["kamailio.service"])]
    (tmp_path / "var/log/kamailio.log").touch()
    config = parse(template(values(look_around(tmp_path))), tmp_path / "redirectd.toml")
    assert [source.kind for source in config.source] == ["file"]


def test_init_writes_the_family_of_the_logs(tmp_path: Path, corpus: Path) -> None:
    """R38: what a log's first entries show is configured, so that nothing that comes later decides; else `auto`."""
    for folder in ("etc/kamailio", "etc/asterisk", "var/log/asterisk", "var/lib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "var/log/kamailio.log").write_bytes((corpus / "kamailio/xlog-syslog.log").read_bytes())
    (tmp_path / "var/log/asterisk/full").write_bytes((corpus / "asterisk/ast22-pjsip.full.log").read_bytes())
    config = parse(template(values(look_around(tmp_path))), tmp_path / "redirectd.toml")
    assert [source.dialect for source in config.source] == ["syslog", "asterisk"]
    (tmp_path / "var/log/kamailio.log").write_bytes(b"")
    config = parse(template(values(look_around(tmp_path))), tmp_path / "redirectd.toml")
    assert [source.dialect for source in config.source] == ["auto", "asterisk"]


@pytest.mark.parametrize(
    ("dialect", "level", "why"),
    [
        ("auto", "ok", "read as asterisk (as it begins now)"),
        ("asterisk-pjsip", "ok", "read as asterisk-pjsip (configured)"),
        ("kamailio", "warning", "begins with entries of asterisk, which are not read"),
    ],
)
def test_check_shows_the_family(cli: Cli, dialect: str, level: str, why: str) -> None:
    """R38: what a source is read as, by whose decision, and a log that does not fit it."""
    log = cli.corpus / "asterisk/ast22-pjsip.full.log"
    cli.configure(f'[[source]]\nname = "a"\npath = "{log}"\ndialect = "{dialect}"\n')
    [found] = [one for one in cli("check", "--json").json["findings"] if one["where"] == "source a, dialect"]
    assert found["level"] == level
    assert why in found["why"]


def test_check_shows_the_decision_of_the_service(cli: Cli) -> None:
    """R38: the decision that is kept with the source's position is the one that is shown and compared."""
    log = cli.corpus / "asterisk/ast22-pjsip.full.log"
    cli.configure(f'[[source]]\nname = "a"\npath = "{log}"\n')
    cli("db", "upgrade")
    database = Database(f"sqlite:///{cli.folder / 'redirectd.db'}")
    node = cli("status", "--json").json["daemon"]["node"]
    with database.begin() as connection:
        settings.save_position(connection, node, "a", {"family": "kamailio"}, datetime(2026, 11, 30, tzinfo=UTC))
    database.close()
    [found] = [one for one in cli("check", "--json").json["findings"] if one["where"] == "source a, dialect"]
    assert found["level"] == "warning"
    assert "read as kamailio (decided when it was read first)" in found["why"]
    assert 'dialect = "asterisk"' in found["what_to_do"]


def test_init_on_a_bare_host() -> None:
    """A host with neither server, and a user without rights, still gets a valid file with its own database."""
    bare = Host(None, None, None, None, None, None, can_own=False)
    config = parse(template(values(bare)), Path("/home/me/redirectd.toml"))
    assert (config.source, config.target) == ([], [])
    assert config.database.url == "sqlite:///redirectd.db"


def test_snippet_kamailio_has_the_record(cli: Cli) -> None:
    """The one-line record is printed as it was verified on running Kamailios, with the target's own paths."""
    out = cli("snippet", "kamailio").out
    assert RECORD in out
    assert not re.search("@[A-Z]+@", out), "all marks are filled in"
    cli.configure('[[target]]\nname = "t"\nkind = "kamailio-htable"\npath = "/srv/k/moved"\ntable = "old"\n')
    out = cli("snippet", "kamailio").out
    assert 'modparam("htable", "db_url", "text:///srv/k")' in out
    assert "old=>size=14;dbtable=moved;" in out


@pytest.mark.peer("kamailio")
def test_snippet_kamailio_is_taken_by_kamailio(cli: Cli) -> None:
    """A kamailio.cfg made of the printed lines passes Kamailio's own check of syntax, modules and parameters."""
    import shutil

    kamailio = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if kamailio is None:
        if os.environ.get("CI"):
            pytest.fail("kamailio is not installed")
        pytest.skip("kamailio is not installed")
    parts = cli("snippet", "kamailio", "--json").json["parts"]
    block, call = (part["text"] for part in parts)
    text = f'#!KAMAILIO\nloadmodule "kex.so"\n{block}\nrequest_route {{\n{call}\n  t_relay();\n}}\n'
    file = cli.folder / "kamailio.cfg"
    file.write_text(text)
    done = subprocess.run([kamailio, "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_snippet_asterisk(cli: Cli) -> None:
    """Asterisk's part switches the pjsip logger on and looks numbers up in the target's own contexts."""
    cli.configure('[[target]]\nname = "t"\nkind = "asterisk-dialplan"\npath = "/srv/a.conf"\nprefix = "moved"\n')
    out = cli("snippet", "asterisk").out
    assert "debug=yes" in out
    assert "DIALPLAN_EXISTS(moved-${md5:0:2},${md5},1)" in out
    assert "#tryinclude /srv/a.conf" in out


def test_demo(tmp_path: Path) -> None:
    """The demo runs from logs to files in a folder of its own, and each command it shows works as it is shown."""
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "redirectd", "demo", "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all((folder / name).stat().st_size for name in GENERATED)
    assert "sip:127.0.30.2:5060" in (folder / "dispatcher.list").read_text()
    shown = [line[2:] for line in done.stdout.splitlines() if line.startswith("$ redirectd ")]
    assert [shlex.split(line)[3] for line in shown][:2] == ["ingest", "pending"]
    lookup = shlex.split(shown[-1])[1:]
    again = subprocess.run(
        [sys.executable, "-m", "redirectd", *lookup], cwd=folder, capture_output=True, text=True, check=True
    )
    assert "is routed to" in again.stdout
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2, "never into an existing folder"


@pytest.mark.parametrize(
    ("approved", "remedy"),
    [(20_001, ["-m 101 -M 24"]), (100_000, ["-m 244 -M 48", 'modparam("db_text", "max_result_rows", 200000)'])],
)
def test_check_reckons_kamailios_memory(filled: Cli, approved: int, remedy: list[str]) -> None:
    """More approved user moves than a default Kamailio can load: check says which options to raise, and to what."""
    import sqlite3

    columns = (
        "identity, old_hash, state, kind, old_key, old_uri, contacts, flags, facts, calls, first_seen, last_seen, note"
    )
    with sqlite3.connect(filled.folder / "redirectd.db") as connection:
        row = list(connection.execute(f"SELECT {columns} FROM remap WHERE id = 1").fetchone())
        rows = [(f"i{number}", f"h{number}", "approved", *row[3:]) for number in range(approved)]
        connection.executemany(f"INSERT INTO remap ({columns}) VALUES ({', '.join('?' * len(row))})", rows)
    connection.close()
    findings = filled("check", "--json", code=1).json["findings"]  # 1: nobody decided what stands there
    mends = [finding["what_to_do"] for finding in findings if finding["where"] == "target users"]
    assert mends
    assert [text for text in remedy if text not in mends[0]] == []
