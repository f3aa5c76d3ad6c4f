"""kamailio.cfg is read as Kamailio reads it, within bounds, and what is not understood is said."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from redirectd.serverconf.conf_files import MOST_BYTES, MOST_FILES, ConfFiles
from redirectd.serverconf.kamailio_cfg import KamailioCfg, read_kamailio


def read(files: Mapping[str, str] | str, **without: list[str]) -> KamailioCfg:
    """Reads /k/kamailio.cfg out of these files."""
    tree = {"/k/kamailio.cfg": files} if isinstance(files, str) else files

    def content(path: str) -> bytes:
        if path not in tree:
            raise FileNotFoundError(2, "No such file or directory", path)
        if tree[path] == "secret":
            raise PermissionError(13, "Permission denied", path)
        return tree[path].encode()

    return read_kamailio("/k/kamailio.cfg", ConfFiles(content, lambda _: ()), **without)


def test_modules_parameters_and_settings() -> None:
    """Modules come in their order, a parameter put together of strings is one, and the last value counts."""
    cfg = read(
        'loadmodule "tm.so"\nloadmodule "/usr/lib/kamailio/tmx.so"\nlog_prefix="{$mt} "\n'
        'modparam("htable", "htable",\n  "a=>size=4;"\n  "dbtable=x;")\nmodparam("ctl", "mode", 0600)\n'
        'modparam("a|ctl", "mode", 0660)\n'
    )
    assert [name for name, _ in cfg.modules] == ["tm", "tmx"]
    found = cfg.value("htable", "htable")
    assert found is not None
    assert (found.value, found.place.line) == ("a=>size=4;dbtable=x;", 4)
    mode = cfg.value("ctl", "mode")
    assert mode is not None
    assert mode.value == "0660"
    assert cfg.setting("log_prefix") is not None


def test_what_is_switched_off_is_not_there() -> None:
    """Comments and parts of an #!ifdef whose name is not defined are left out, whatever their text is."""
    cfg = read(
        '#!define WITH_A\n#!ifdef WITH_B\nloadmodule "b.so" it\'s free text {\n#!ifdef WITH_A\nloadmodule "c.so"\n'
        '#!endif\n#!else\nloadmodule "d.so"\n#!endif\n# loadmodule "e.so"\n/* loadmodule "f.so"\n */\n'
        '#!ifndef WITH_A\nloadmodule "g.so"\n#!endif\n// loadmodule "h.so"\n'
    )
    assert [name for name, _ in cfg.modules] == ["d"]
    assert cfg.doubts == ()


def test_defines_and_substitutions() -> None:
    """A define's value comes in the place of its name, a plain #!subst in strings."""
    cfg = read(
        '#!define DBURL "mysql://u:p@h/k"\n#!trydef DBURL "other"\n#!substdef "!HERE!192.0.2.1!g"\n'
        'modparam("htable", "db_url", DBURL)\nmodparam("ctl", "binrpc", "tcp:HERE:2046")\n'
    )
    url, binrpc = cfg.value("htable", "db_url"), cfg.value("ctl", "binrpc")
    assert url is not None
    assert binrpc is not None
    assert (url.value, binrpc.value) == ("mysql://u:p@h/k", "tcp:192.0.2.1:2046")


def test_includes_are_followed() -> None:
    """Included files count at their place, with defines in force both ways; a missing import_file is skipped."""
    cfg = read(
        {
            "/k/kamailio.cfg": 'import_file "local.cfg"\nimport_file "none.cfg"\n#!include_file "/x/more.cfg"\n'
            '#!ifdef FROM_LOCAL\nloadmodule "b.so"\n#!endif\n',
            "/k/local.cfg": "#!define FROM_LOCAL\n",
            "/x/more.cfg": 'loadmodule "a.so"\n',
        }
    )
    assert [(name, place.file) for name, place in cfg.modules] == [("a", "/x/more.cfg"), ("b", "/k/kamailio.cfg")]
    assert cfg.include("/k/local.cfg") is not None
    assert cfg.doubts == ()


def test_routes_relays_and_armed_replies() -> None:
    """Routes are found with their extent, `t_relay()` with the statement it is in, and which reply route is armed."""
    cfg = read(
        'request_route {\n  if (is_method("INVITE"))\n    t_relay();\n  else t_relay();\n  { t_relay(); }\n}\n'
        'route[RELAY] {\n  t_on_reply("MANAGE");\n  xlog("$(ru{s.select,0,}}) }");\n  if (!t_relay()) {\n'
        "    sl_reply_error();\n  }\n}\nonreply_route[MANAGE] { drop; }\nreply_route {\n  route(REDIRECTD_PING);\n}\n"
    )
    assert [one.before and one.before.line for one in cfg.relays] == [2, None, None, 10]
    assert [(block.kind, block.name, block.end.line) for block in cfg.blocks] == [
        ("request_route", "", 6),
        ("route", "RELAY", 13),
        ("onreply_route", "MANAGE", 14),
        ("reply_route", "", 17),
    ]
    assert [name for name, _ in cfg.armed] == ["MANAGE"]
    assert cfg.blocks[2].opened is None
    assert cfg.called("REDIRECTD_PING")


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("route {\n t_relay();\n", "not closed, and was not understood"),
        ("#!ifdef A\n", "an #!ifdef is not closed"),
        ('include_file "gone.cfg"\n', "/k/gone.cfg is missing"),
        ("#!ifexp A == 1\n#!endif\n", "#!ifexp is not followed"),
        ('#!subst "/a(b|c)*/x/"\n', "this #!subst is not followed"),
        ('include_file "kamailio.cfg"\n', "over 10 deep"),
        ('#!subst "/a/aa/"\n' * 20 + 'modparam("m", "p", "a")\n', "makes over 65,536 characters of a string"),
        ('#!subst "/a/b/"\n' * 101, "cfg, line 101: this #!subst is not followed"),
    ],
)
def test_what_is_not_understood_is_said(text: str, doubt: str) -> None:
    """Whatever is not read as Kamailio would read it is a doubt, and never an error or an endless reading."""
    assert any(doubt in one for one in read(text).doubts), read(text).doubts


def test_a_file_that_may_not_be_read() -> None:
    """A file without the right to read it is named, and the rest is read."""
    cfg = read({"/k/kamailio.cfg": 'import_file "s.cfg"\nloadmodule "a.so"\n', "/k/s.cfg": "secret"})
    assert cfg.module("a") is not None
    assert "/k/s.cfg can't be read (Permission denied)" in cfg.doubts[0]


def test_reading_is_bounded() -> None:
    """No number of files and no size makes reading go on: what is beyond the bounds is named."""
    many = {f"/k/{number}.cfg": "" for number in range(MOST_FILES + 5)}
    main = "".join(f'import_file "{number}.cfg"\n' for number in range(MOST_FILES + 5))
    assert len(read({"/k/kamailio.cfg": main, **many}).files) == MOST_FILES
    huge = read({"/k/kamailio.cfg": 'import_file "huge.cfg"\n', "/k/huge.cfg": " " * (MOST_BYTES + 1)})
    assert any("huge.cfg" in doubt for doubt in huge.doubts)


def test_nothing_is_read_beyond_the_bytes() -> None:
    """After a file too large no further one is even opened, however often it is included."""
    read_files: list[str] = []

    def content(path: str) -> bytes:
        read_files.append(path)
        return b'import_file "huge.cfg"\n' * 100 if path == "/k/kamailio.cfg" else b" " * (MOST_BYTES + 1)

    read_kamailio("/k/kamailio.cfg", ConfFiles(content, lambda _: ()))
    assert read_files == ["/k/kamailio.cfg", "/k/huge.cfg"]


def test_a_file_can_be_left_out() -> None:
    """A file named in `without` is known to be included, and not read."""
    files = {"/k/kamailio.cfg": 'include_file "/r/s.cfg"\n', "/r/s.cfg": 'loadmodule "a.so"\n'}
    cfg = read(files, without=["/r/s.cfg"])
    assert cfg.include("/r/s.cfg") is not None
    assert cfg.module("a") is None
