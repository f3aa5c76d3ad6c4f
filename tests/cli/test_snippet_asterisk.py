"""`snippet` and `check` with a folder of Asterisk's or FreePBX's: what is missing, nothing twice, and what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from redirectd.targets.asterisk_odbc import AsteriskOdbc
from tests.cli.conftest import Cli
from tests.docs.page import ROOT, blocks

TRUNK = """
[[target]]
name = "trunk"
kind = "asterisk-dialplan"
width = "user"
path = "/etc/asterisk/redirectd/extensions_redirectd.conf"
reload = "asterisk -C {folder}/asterisk.conf -rx"
"""
LOOKUP = "exten => s,1,NoOp()\n"


class AsteriskHost:
    """A folder of Asterisk's, and what `snippet` finds of it."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.folder = cli.folder / "asterisk"
        self.folder.mkdir()
        cli.configure(TRUNK.format(folder=self.folder))

    def __call__(self, **files: str) -> Any:
        for name, text in files.items():
            (self.folder / f"{name}.conf").write_text(text)
        return self.cli("snippet", "asterisk", "--json").json

    def parts(self, name: str, **files: str) -> list[tuple[str, int | None, str]]:
        """Position, line and text of the parts for one file."""
        return [
            (part["position"], part["line"], part["text"])
            for part in self(**files)["parts"]
            if part["file"] == str(self.folder / f"{name}.conf")
        ]


@pytest.fixture
def asterisk(cli: Cli) -> AsteriskHost:
    """The command line with a folder of Asterisk's."""
    return AsteriskHost(cli)


def test_sections_that_are_there_are_kept(asterisk: AsteriskHost) -> None:
    """A second [global], or a second [logfiles], is never printed: the line goes into the one that is there."""
    files = {"pjsip": "\n[global]\ntype=global\n", "logger": "[general]\n[logfiles]\nfull => notice\n"}
    found = asterisk(**files)["parts"]
    debug = next(part for part in found if part["text"] == "debug=yes")
    assert (debug["position"], debug["line"], debug["place"]) == ("after", 2, "into the [global] you have")
    assert ("after", 1, "dateformat=%FT%T.%6q%z") in asterisk.parts("logger")
    assert ("replace", 3, "full => notice,verbose") in asterisk.parts("logger")
    assert asterisk.parts("pjsip", pjsip="[a]\ntype=endpoint\n") == [("end", None, "[global]\ntype=global\ndebug=yes")]
    assert asterisk.parts("pjsip", pjsip="[global]\ntype=global\ndebug=yes\n") == []


def test_what_asterisk_would_drop_is_said(asterisk: AsteriskHost) -> None:
    """A second section of a name that Asterisk drops, a switched-off logger: named with their lines."""
    found = asterisk(
        pjsip="[global]\ntype=global\n[global]\ndebug=yes\n",
        logger="[logfiles]\nfull => verbose\n[logfiles]\nx => notice\n[general]\ndateformat=%T\n",
    )["wrong"]
    assert [one["where"].rpartition("/")[2] for one in found] == [
        "pjsip.conf, line 3",
        "logger.conf, line 3",
        "logger.conf, line 6",
    ]
    findings = asterisk.cli("check", "--json", code=1).json["findings"]
    assert {one["where"] for one in found} <= {one["where"] for one in findings if one["level"] == "fault"}


def test_words_for_yes_and_no(asterisk: AsteriskHost) -> None:
    """`y`, `t`, `n` and `f` are what Asterisk takes them for."""
    assert asterisk.parts("pjsip", pjsip="[global]\ntype=global\ndebug=y\n") == []
    assert asterisk.parts("pjsip", pjsip="[global]\ntype=global\ndebug=n\n") == [("replace", 3, "debug=yes")]


def test_dials_are_found(asterisk: AsteriskHost) -> None:
    """Where a trunk is dialled, the lookup is printed with the number as it is sent, and for a numbered priority."""
    dialplan = (
        "[out]\nexten => _9X.,1,Dial(PJSIP/${EXTEN:1}@carrier,30)\n same => n,Hangup()\n"
        "exten => _X.,1,NoOp()\n same => n,Dial(PJSIP/${EXTEN}@carrier)\n"
    )
    found = asterisk.parts("extensions", extensions=dialplan)
    by_line = {(position, line): text for position, line, text in found}
    assert "Set(REDIRECTD_USER=${EXTEN:1})" in by_line["replace", 2]
    assert by_line["replace", 2].startswith("exten => _9X.,1,Set(")
    assert by_line["replace", 2].endswith(" same => n,Dial(PJSIP/${EXTEN:1}@carrier,30)")
    assert "same => n(moved2),Dial(PJSIP/carrier/${GOSUB_RETVAL},30)" in by_line["after", 3]
    assert "Set(REDIRECTD_USER=${EXTEN})" in by_line["before", 5]
    numbered = "[out]\nexten => _X.,1,Dial(PJSIP/${EXTEN}@carrier)\nexten => _X.,2,Hangup()\n"
    assert any(position == "by-hand" for position, _, _ in asterisk.parts("extensions", extensions=numbered))


def test_a_context_of_an_earlier_version_is_replaced(asterisk: AsteriskHost) -> None:
    """A lookup that is not this version's is named with its lines, one that is asks for nothing."""
    old = f"[a]\nexten => 1,1,Gosub(redirectd-lookup,s,1)\n[redirectd-lookup]\n{LOOKUP}"
    [(position, line, text)] = [one for one in asterisk.parts("extensions", extensions=old) if one[0] == "replace"]
    assert (position, line) == ("replace", 3)
    include = "#tryinclude /etc/asterisk/redirectd/extensions_redirectd.conf\n"
    new = old.replace(f"[redirectd-lookup]\n{LOOKUP}", f"{text}\n") + include
    assert asterisk.parts("extensions", extensions=new) == []


def test_other_targets_of_asterisk(asterisk: AsteriskHost) -> None:
    """astdb gets its account and lookup, a second trunk its own, AORs their include, and a duplicate is named."""
    base = asterisk.cli.folder / "aors.conf"
    base.write_text("[gw]\ntype=aor\ncontact=sip:192.0.2.1\n")
    asterisk.cli.configure(
        TRUNK.format(folder=asterisk.folder)
        + TRUNK.format(folder=asterisk.folder).replace('"trunk"', '"second"').replace("redirectd.conf", "second.conf")
        + 'prefix = "second"\n'
        + '[[target]]\nname = "db"\nkind = "asterisk-astdb"\nwidth = "user"\npath = "/var/lib/redirectd/db.txt"\n'
        + 'reload = "ami://redirectd@127.0.0.1:5038"\nfamily = "moved"\n'
        + '[[target]]\nname = "gateways"\nkind = "asterisk-pjsip-aor"\npath = "/etc/asterisk/redirectd/aors.conf"\n'
        + f'base = "{base}"\n'
    )
    found = asterisk(pjsip="[gw]\ntype=aor\n[gw]\ntype=endpoint\n", manager="[general]\nenabled=no\n")
    text = "\n".join(part["text"] for part in found["parts"])
    for line in (
        "[second-lookup]",
        "DB(moved/${MD5(${REDIRECTD_USER})})",
        "#tryinclude /etc/asterisk/redirectd/aors.conf",
        "write=system,command,reporting,config",
        "enabled=yes",
    ):
        assert line in text, line
    assert [one["where"].rpartition("/")[2] for one in found["wrong"]] == ["pjsip.conf, line 1", "manager.conf, line 2"]


ODBC = """
[[target]]
name = "users"
kind = "asterisk-odbc"
width = "user"
database = "mysql+pymysql://redirectd@db.example.net/asterisk"
reload = "asterisk -C {folder}/asterisk.conf -rx"
"""
PAGE = ROOT / "docs" / "targets-database.md"


def test_what_func_odbc_needs(asterisk: AsteriskHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's function, pool, unixODBC's section and lookup are printed, and nothing of them where they are."""
    ini = asterisk.folder / "odbc.ini"
    monkeypatch.setenv("ODBCINI", str(ini))
    asterisk.cli.configure(ODBC.format(folder=asterisk.folder))
    shown = {b.mark[1]: b.text.strip() for b in blocks(PAGE) if b.mark[1].startswith("asterisk-odbc")}
    files = {"modules": "[modules]\nautoload=no\n", "pjsip": "", "logger": "", "extensions": "", "res_odbc": "[ENV]\n"}
    texts = {
        part["file"].rpartition("/")[2]: part["text"].strip() for part in asterisk(**files)["parts"] if part["file"]
    }
    assert texts["func_odbc.conf"] == shown["asterisk-odbc-function"]
    assert texts["res_odbc.conf"] == shown["asterisk-odbc-pool"]
    assert texts["odbc.ini"] == shown["asterisk-odbc-ini"]
    assert texts["extensions.conf"] == shown["asterisk-odbc"]
    loads = "preload => res_odbc_transaction.so\npreload => res_odbc.so\nload => func_odbc.so"
    assert texts["modules.conf"] == loads
    ini.write_text(texts["odbc.ini"])
    done = {
        "modules": f"[modules]\nautoload=no\n{loads}\n",
        "func_odbc": texts["func_odbc.conf"],
        "res_odbc": texts["res_odbc.conf"],
        "extensions": texts["extensions.conf"],
    }
    left = asterisk(**done)
    assert left["wrong"] == []
    assert not {"func_odbc.conf", "res_odbc.conf", "odbc.ini", "modules.conf"} & {
        part["file"].rpartition("/")[2] for part in left["parts"] if part["file"]
    }


def test_a_table_of_a_reserved_name_is_quoted(asterisk: AsteriskHost) -> None:
    """The function's statement quotes a name that is one of the database's own words, as the table was made."""
    target = ODBC.format(folder=asterisk.folder) + 'table = "group"\n'
    asterisk.cli.configure(target)
    assert "FROM `group` WHERE" in str(asterisk()["parts"])
    asterisk.cli.configure(target.replace("mysql+pymysql", "postgresql+psycopg"))
    assert 'FROM "group" WHERE' in str(asterisk()["parts"])


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("func_odbc", "[REDIRECTD]\ndsn=own\nreadsql=SELECT v FROM t WHERE k='${ARG1}'\n", "readsql=SELECT new_uri"),
        ("func_odbc", "[REDIRECTD]\nprefix=X\ndsn=own\nreadsql={statement}\n", "prefix=ODBC"),
        ("res_odbc", "[redirectd]\nenabled => no\ndsn => own\n", "enabled => yes"),
        ("modules", "[modules]\nautoload=yes\nnoload => func_odbc.so\n", "load => func_odbc.so"),
    ],
)
def test_what_keeps_func_odbc_from_the_table_is_wrong(asterisk: AsteriskHost, name: str, text: str, line: str) -> None:
    """Another statement, which a caller could break out of, another name, a pool that is off, a module left out."""
    asterisk.cli.configure(ODBC.format(folder=asterisk.folder))
    found = asterisk(**{name: text.replace("{statement}", AsteriskOdbc().statement())})["wrong"]
    assert [line in one["what_to_do"] for one in found] == [True]
    findings = asterisk.cli("check", "--json", code=1).json["findings"]
    assert found[0]["where"] in {one["where"] for one in findings if one["level"] == "fault"}


GENERATED = (
    "; this file is auto-generated by {maker}\n[globals]\nOUT_1 = PJSIP\nOUT_1_SUFFIX = @carrier\nOUT_2 = SIP/old\n"
    "OUT_3 = AMP:PJSIP/$OUTNUM$@other\n[macro-dialout-trunk]\nexten => s,1,{call}\n"
)
MACRO = "Macro(dialout-trunk-predial-hook,)"
GOSUB = "Gosub(macro-dialout-trunk-predial-hook,s,1())"
CUSTOM = "#include extensions_additional.conf\n#include extensions_custom.conf\n"
HOOK = "[macro-dialout-trunk-predial-hook]\n"


def generated(asterisk: AsteriskHost, call: str, *, maker: str = "FreePBX", custom: str = "", pjsip: str = "") -> Any:
    """What is printed for generated files that call the hook this way, with the user's own ones as they are."""
    target = TRUNK.format(folder=asterisk.folder).replace("/etc/asterisk/redirectd", "/var/lib/redirectd-asterisk")
    asterisk.cli.configure(target)
    (asterisk.folder / "extensions_custom.conf").write_text(custom)
    return asterisk(extensions=CUSTOM, extensions_additional=GENERATED.format(maker=maker, call=call), pjsip=pjsip)


@pytest.mark.parametrize(("call", "end"), [(MACRO, "MacroExit()"), (GOSUB, "Return()")])
def test_the_hook_ends_as_it_is_called(asterisk: AsteriskHost, call: str, end: str) -> None:
    """Macro or Gosub is taken from the generated text; only pjsip trunks are listed; files of the user's are named."""
    parts = {part["file"].rpartition("/")[2]: part["text"] for part in generated(asterisk, call)["parts"]}
    assert set(parts) == {"extensions_custom.conf", "pjsip_custom_post.conf", "logger_logfiles_custom.conf"}
    assert parts["extensions_custom.conf"].endswith(f"same => n,{end}")
    block = next(part["text"] for part in generated(asterisk, call)["parts"] if "[redirectd-freepbx]" in part["text"])
    assert "exten => 1,1,Return(PJSIP/carrier)\n; trunk 2 is SIP, which can't dial another host\nexten => 3,1," in block
    assert parts["pjsip_custom_post.conf"] == "debug=yes"


def test_issabel_gets_a_section(asterisk: AsteriskHost) -> None:
    """Issabel includes its last pjsip file outside of [global], so that the option comes with its section."""
    parts = generated(asterisk, MACRO, maker="IssabelPBX")["parts"]
    assert any(part["text"] == "[global](+)\ntype=global\ndebug=yes" for part in parts)


def test_an_own_hook_stays(asterisk: AsteriskHost) -> None:
    """A hook of the user's gets our call before it ends; a wrong end and a second hook are named."""
    own = f"{HOOK}exten => s,1,NoOp()\n same => n,Return()\n"
    found = generated(asterisk, GOSUB, custom=own)
    [call] = [part for part in found["parts"] if "redirectd-freepbx,s,1" in part["text"]]
    assert (call["position"], call["line"], call["text"]) == ("before", 3, " same => n,Gosub(redirectd-freepbx,s,1)")
    ours = own.replace("NoOp()", "Gosub(redirectd-freepbx,s,1)")
    wrong = generated(asterisk, MACRO, custom=ours)["wrong"]
    assert "ends in Return(): every call over a trunk fails" in wrong[0]["why"]
    findings = asterisk.cli("check", "--json", code=1).json["findings"]
    assert any(one["where"] == wrong[0]["where"] and one["level"] == "fault" for one in findings)
    wrong = generated(asterisk, GOSUB, custom=own + ours)["wrong"]
    assert any("this one does nothing" in one["why"] for one in wrong)


def test_what_harms_a_freepbx(asterisk: AsteriskHost) -> None:
    """A target's file below /etc/asterisk is a fault there, and AstDB is advised against."""
    generated(asterisk, MACRO)
    target = '[[target]]\nname = "db"\nkind = "asterisk-astdb"\nwidth = "user"\npath = "/var/lib/redirectd/db.txt"\n'
    asterisk.cli.configure(
        TRUNK.format(folder=asterisk.folder) + target + 'reload = "ami://redirectd@127.0.0.1:5038"\n'
    )
    found = asterisk()
    assert "fwconsole chown" in found["wrong"][0]["why"]
    assert any("whole AstDB" in note for note in found["notes"])
    assert any(part["file"].endswith("manager_custom.conf") for part in found["parts"])


def test_snippet_freepbx_without_its_files(asterisk: AsteriskHost) -> None:
    """Without generated files all is printed, with both ends of the hook."""
    out = asterisk.cli("snippet", "freepbx", "--generic").out
    assert "[redirectd-freepbx]" in out
    assert "MacroExit()   ; FreePBX 17: Return()" in out


@pytest.mark.parametrize("mode", ["0980", "\u00b2", "rw"])
def test_a_mode_that_is_no_number(cli: Cli, mode: str) -> None:
    """A mode that Asterisk could not read either is nothing to stumble over."""
    cli.configure(TRUNK.format(folder=cli.folder))
    (cli.folder / "asterisk.conf").write_text(f"[files]\nastctlpermissions = {mode}\n")
    assert cli("snippet", "asterisk", "--file", str(cli.folder), "--json").json["files"]


def test_a_file_that_could_not_be_read(asterisk: AsteriskHost) -> None:
    """What is in it is not known: nothing is missing for sure, and no second section is printed for its end."""
    (asterisk.folder / "pjsip.conf").mkdir()
    found = asterisk(logger="[general]\ndateformat=%F\n[logfiles]\nfull => verbose\n")
    assert "can't be read" in found["unknown"][0]
    [part] = [one for one in found["parts"] if "debug=yes" in one["text"]]
    assert part["position"] == "by-hand"
    assert "could not be read" in part["place"]
    findings = asterisk.cli("check", "--json", code=1).json["findings"]  # 1: nothing answers
    levels = {one["level"] for one in findings if one["where"] == str(asterisk.folder)}
    assert levels == {"warning"}
