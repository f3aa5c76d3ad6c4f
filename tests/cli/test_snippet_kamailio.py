"""`snippet` and `check` with a kamailio.cfg: what is missing, nothing twice, and what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from redirectd.cli.snippets import fitted
from tests.cli.conftest import Cli

HTABLE = """
[[target]]
name = "users"
kind = "kamailio-htable"
path = "/etc/kamailio/redirectd/redirectd_htable"
reload = "binrpc:unix:/run/kamailio/kamailio_ctl"
"""


class Kamailio:
    """A kamailio.cfg, and what `snippet` and `check` find of it."""

    def __init__(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cli = cli
        self.cfg = cli.folder / "kamailio.cfg"
        monkeypatch.setattr(fitted, "KAMAILIO_CFGS", (str(self.cfg),))
        monkeypatch.setattr(fitted, "INSTALL_FOLDER", cli.folder / "installed")
        cli.configure(HTABLE)

    def __call__(self, text: str, *more: str) -> Any:
        self.cfg.write_text(text)
        return self.cli("snippet", "kamailio", "--json", *more).json

    def wrong(self, text: str) -> list[str]:
        """What `snippet` says is wrong, which `check` has as faults at the same places."""
        found = self(text)["wrong"]
        findings = {one["where"]: one for one in self.cli("check", "--json", code=1).json["findings"]}
        assert [findings[one["where"]]["level"] for one in found] == ["fault"] * len(found)
        return [f"{one['where'].rpartition('/')[2]}: {one['why']}" for one in found]


@pytest.fixture
def kamailio(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Kamailio:
    """The command line with a kamailio.cfg of this host."""
    return Kamailio(cli, monkeypatch)


def put_in(text: str, block: str, call: str = "") -> str:
    """A configuration with a block behind it, and a call right before its t_relay()."""
    return text.replace("t_relay();", f"{call}\nt_relay();") + block + "\n"


def test_nothing_is_printed_twice(kamailio: Kamailio) -> None:
    """What was pasted is not asked for again, and `check` says that all is there."""
    base = 'loadmodule "tm.so"\nrequest_route {\n  t_relay();\n}\n'
    parts = kamailio(base)["parts"]
    assert [part["position"] for part in parts] == ["end", "before"]
    assert (parts[1]["line"], parts[1]["file"]) == (3, str(kamailio.cfg))
    assert 'loadmodule "tm.so"' not in parts[0]["text"]
    assert 'loadmodule "tmx.so"' in parts[0]["text"]
    done = put_in(base, parts[0]["text"], parts[1]["text"])
    assert kamailio(done) == {
        "files": [str(kamailio.cfg)],
        "unknown": [],
        "wrong": [],
        "warnings": [],
        "notes": [],
        "parts": [],
    }
    assert "has all that redirectd needs" in kamailio.cli("snippet", "kamailio").out
    findings = kamailio.cli("check", "--json", code=1).json["findings"]  # 1: nothing answers at the socket
    assert any(one["where"] == str(kamailio.cfg) and one["ok"] for one in findings)


def test_missing_lines_are_a_fault_of_check(kamailio: Kamailio) -> None:
    """A kamailio.cfg without our lines reroutes nothing: `check` names the places."""
    kamailio.cfg.write_text("request_route {\n  t_relay();\n}\n")
    findings = kamailio.cli("check", "--json", code=1).json["findings"]
    [found] = [one for one in findings if one["where"] == str(kamailio.cfg)]
    assert found["level"] == "fault"
    assert "before line 2: right before t_relay()" in found["why"]
    assert "redirectd snippet kamailio" in found["what_to_do"]


def test_own_reply_routes_call_ours(kamailio: Kamailio) -> None:
    """One onreply_route is armed at a time and there is one reply_route, so lines for these are printed."""
    text = (
        'route[R] {\n  t_on_reply("MINE");\n  t_relay();\n}\nonreply_route[MINE] {\n  drop;\n}\n'
        "reply_route {\n  drop;\n}\n"
    )
    found = {part["line"]: part["text"].strip() for part in kamailio(text)["parts"]}
    assert found[5] == "route(REDIRECTD_REPLY);"
    assert found[8] == "route(REDIRECTD_PING);"
    assert "reply_route {  #" not in found[None]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('modparam("ctl", "mode", 0600)', "line 1: its socket has mode 0600: redirectd can't ask there"),
        (
            'modparam("htable", "db_url", "mysql://k:secret@localhost/k")',
            "line 1: htable's db_url is mysql://k:***@localhost/k, and it exists once a module",
        ),
        ('loadmodule "htable.so"\nloadmodule "db_text.so"', "line 2: db_text is loaded after htable, which needs it"),
        (
            'modparam("htable", "htable", "redir=>size=8;dbtable=redirectd_htable;dbmode=1;")',
            "line 1: with dbmode=1 Kamailio empties the target's file when it stops",
        ),
        (
            'modparam("htable", "htable", "redir=>size=8;dbtable=other;")',
            "line 1: the htable redir is not filled from the target's file redirectd_htable",
        ),
        ('modparam("db_text", "db_mode", 0)', 'line 1: db_text\'s db_mode is "0": a reload would report success'),
        ('modparam("ctl", "binrpc", "unixs:/run/k/ctl")', "line 1: ctl listens at /run/k/ctl, and redirectd asks at"),
        ("reply_route { drop; }\nreply_route { drop; }", "line 2: there is a second reply_route"),
        ("route[REDIRECTD_KEY] { return; }", "line 1: route[REDIRECTD_KEY] is not that of this version"),
        ("pv_buffer_size=4096", "line 1: a record of over 4096 bytes would be lost"),
    ],
)
def test_what_is_wrong_is_said(kamailio: Kamailio, text: str, why: str) -> None:
    """What contradicts redirectd is named with its line by both commands; no password is shown."""
    wrong = kamailio.wrong(text + "\n")
    assert any(one.startswith(f"kamailio.cfg, {why}") for one in wrong), wrong
    assert "secret" not in kamailio.cli("snippet", "kamailio").out


def test_a_log_prefix_with_a_peers_text(kamailio: Kamailio, monkeypatch: pytest.MonkeyPatch) -> None:
    """R39: Debian's log_prefix prints the caller's Call-ID: a warning of both commands without a key, else a note."""
    key = kamailio.cli.folder / "redirectd-key.cfg"
    monkeypatch.setattr(fitted, "KAMAILIO_COPY", key)
    stock = 'log_prefix="{$mt $hdr(CSeq) $ci} "\n'
    [found] = kamailio(stock)["warnings"]
    assert found["where"] == f"{kamailio.cfg}, line 1"
    assert "a peer's text ($hdr(CSeq), $ci)" in found["why"]
    findings = kamailio.cli("check", "--json", code=1).json["findings"]
    assert [one["level"] for one in findings if one["where"] == found["where"]] == ["warning"]
    assert f"WARNING: {found['where']}" in kamailio.cli("snippet", "kamailio").out
    assert kamailio('log_prefix="{$mt $rs} "\n')["warnings"] == [], "nothing of a peer's"
    key.touch()
    keyed = kamailio(stock)
    assert keyed["warnings"] == []
    assert any("proven by their key" in note for note in keyed["notes"])


def test_ctl_over_a_network(kamailio: Kamailio) -> None:
    """`binrpc:tcp:` wants ctl to listen there, and says nothing of the modes of sockets."""
    kamailio.cli.configure(HTABLE.replace("unix:/run/kamailio/kamailio_ctl", "tcp:kamailio:2046"))
    line = 'modparam("ctl", "binrpc", "tcp:kamailio:2046")'
    text = kamailio("request_route { t_relay(); }\n")["parts"][0]["text"]
    assert line in text
    assert "dgram_mode" not in text
    assert line not in kamailio(f"{line}\nrequest_route {{ t_relay(); }}\n")["parts"][0]["text"]


def test_every_target_has_its_lines(kamailio: Kamailio) -> None:
    """dialplan, alias_db and dispatcher get their modules, parameters and lookups beside the htable."""
    kamailio.cli.configure(
        HTABLE
        + '[[target]]\nname = "rules"\nkind = "kamailio-dialplan"\npath = "/etc/kamailio/redirectd/rules"\n'
        + '[[target]]\nname = "aliases"\nkind = "kamailio-alias_db"\nwidth = "user@host"\n'
        + 'path = "/etc/kamailio/redirectd/mine"\nmatch = "incoming"\n'
        + '[[target]]\nname = "gateways"\nkind = "kamailio-dispatcher"\npath = "/etc/kamailio/redirectd/d.list"\n'
        + f'base = "{kamailio.cli.folder}/base.list"\n'
    )
    text = 'modparam("dispatcher", "list_file", "/etc/kamailio/dispatcher.list")\nroute[GO] {\n  t_relay();\n}\n'
    parts = kamailio(text)["parts"]
    block = next(part["text"] for part in parts if part["position"] == "end")
    for line in (
        'modparam("dialplan", "table_name", "rules")',
        'modparam("alias_db", "use_domain", 1)',
        'alias_db_lookup("mine")',
        'dp_translate("1",',
        'modparam("dispatcher", "ds_ping_reply_codes", "class=2;code=301")',
        'modparam("ctl", "mode", 0660)',
    ):
        assert line in block, line
    assert any(
        part["text"] == 'modparam("dispatcher", "list_file", "/etc/kamailio/redirectd/d.list")' for part in parts
    )
    assert any("if (route(REDIRECTD_INCOMING)) { route(GO); }" in part["text"] for part in parts)


def test_what_is_not_understood_gets_all_lines(kamailio: Kamailio) -> None:
    """A configuration that was not understood is named as such, and answered by all that is needed."""
    found = kamailio("route {\n  t_relay();\n")
    assert "was not understood" in found["unknown"][0]
    assert found["files"] == []
    assert 'loadmodule "tm.so"' in found["parts"][0]["text"]
    assert kamailio('loadmodule "tm.so"\n', "--generic")["parts"] == found["parts"]
    assert kamailio.cfg.read_text() == 'loadmodule "tm.so"\n'


@pytest.mark.parametrize("name", ["a\0b", "a\0*"])
def test_a_name_with_a_nul(kamailio: Kamailio, name: str) -> None:
    """An include that no file can have as its name is said to be not known, and the rest is read."""
    found = kamailio(f'include_file "{name}"\nloadmodule "tm.so"\n')
    assert any("is not the name of a file" in doubt for doubt in found["unknown"])
    (kamailio.cli.folder / "pjsip.conf").write_text(f"#include {name}\n[global]\ntype=global\n")
    found = kamailio.cli("snippet", "asterisk", "--file", str(kamailio.cli.folder), "--json").json
    assert found["unknown"] or "*" in name


def test_a_folder_that_one_may_not_look_into(kamailio: Kamailio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a person may not see what is installed, `snippet` and `check` answer as if nothing was."""
    look = os.stat

    def stat(path: Any, *more: Any, **options: Any) -> os.stat_result:
        if str(path).endswith("-snippet.cfg"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, *more, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert "route[REDIRECTD_KEY]" in str(kamailio('loadmodule "tm.so"\n')["parts"])
    assert kamailio.cli("check", "--json", code=1).json["findings"]


def test_install_writes_a_file_of_roots(kamailio: Kamailio) -> None:
    """--install puts the block into a file that only root can change, and one line to include it is left."""
    folder = kamailio.cli.folder / "installed"
    base = "request_route {\n  t_relay();\n}\n"
    kamailio.cfg.write_text(base)
    kamailio.cli("snippet", "kamailio", "--install", code=1)  # there is no such folder
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    assert "chown root" in kamailio.cli("snippet", "kamailio", "--install", code=1).err
    folder.chmod(0o755)
    if os.geteuid():
        assert "only root" in kamailio.cli("snippet", "kamailio", "--install", code=1).err
        return
    file = folder / "kamailio-snippet.cfg"
    beside = folder / ".kamailio-snippet.cfg.new"
    beside.mkdir()
    assert str(file) in kamailio.cli("snippet", "kamailio", "--install", code=1).err
    beside.rmdir()
    parts = kamailio(base, "--install")["parts"]
    assert parts[0]["text"] == f'include_file "{file}"'
    assert file.stat().st_mode & 0o777 == 0o644
    assert "route[REDIRECTD_KEY]" in file.read_text()
    before = file.read_text()
    done = put_in(base, parts[0]["text"], parts[1]["text"])
    assert kamailio(done)["parts"] == []
    kamailio(done, "--install")
    assert file.read_text() == before, "the same again"
    assert level(kamailio, file) == "ok"
    kamailio.cli.configure(HTABLE + 'table = "moved"\n')
    assert level(kamailio, file) == "warning", "outdated"
    file.chmod(0o666)
    assert level(kamailio, file) == "fault", "anybody can change it"


def level(kamailio: Kamailio, file: Path) -> str:
    """How `check` judges the installed file."""
    findings = kamailio.cli("check", "--json", code=1).json["findings"]
    return next(str(one["level"]) for one in findings if one["where"] == str(file))


@pytest.mark.parametrize(("language", "name"), [("lua", "redirectd.lua"), ("python", "redirectd_kemi.py")])
def test_routes_as_a_script(kamailio: Kamailio, language: str, name: str) -> None:
    """Where cfgengine says so, or --kemi, the routes are a script beside kamailio.cfg; an outdated one is named."""
    text = f'cfgengine "{language}"\ndebug=2\n'
    parts = kamailio(text)["parts"]
    assert "route[" not in parts[0]["text"]
    assert "#!define REDIRECTD_EXACT_KEYS" in parts[0]["text"]
    script = kamailio.cfg.parent / name
    assert parts[1]["file"] == str(script)
    assert kamailio("debug=2\n", "--kemi", language)["parts"] == parts
    script.write_text(parts[1]["text"])
    done = f"{text}{parts[0]['text']}\n"
    assert (kamailio(done)["parts"], kamailio(done)["wrong"]) == ([], [])
    script.write_text("old")
    assert "not that of this version" in kamailio(done)["wrong"][0]["why"]
    kamailio.cli("snippet", "asterisk", "--kemi", language, code=2)


@pytest.mark.parametrize("line", ["pv_buffer_size=@", 'modparam("jsonrpcs", "transport", "@")'])
def test_a_number_of_any_length(kamailio: Kamailio, line: str) -> None:
    """A number that Python would not convert is left to Kamailio."""
    assert kamailio(line.replace("@", "9" * 5000) + "\n")["wrong"] == []


def test_records_that_would_not_be_logged(kamailio: Kamailio) -> None:
    """Kamailio's own default logs no notice: a missing `debug` is printed, one below 1 is wrong, others are left."""
    assert "debug=1" in kamailio('loadmodule "tm.so"\n')["parts"][0]["text"]
    assert "debug=1" not in kamailio("#!define LEVEL 2\ndebug=LEVEL\n")["parts"][0]["text"]
    assert any("level notice" in one["why"] for one in kamailio("debug=0\n")["wrong"])
