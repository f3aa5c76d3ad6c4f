"""Asterisk's files are read as Asterisk reads them, `#exec` is never run, and what is not understood is said."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch

from redirectd.serverconf.asterisk_conf import AsteriskConf, read_asterisk
from redirectd.serverconf.conf_files import ConfFiles


def read(files: Mapping[str, str] | str, **without: list[str]) -> AsteriskConf:
    """Reads /a/x.conf out of these files."""
    tree = {"/a/x.conf": files} if isinstance(files, str) else files

    def content(path: str) -> bytes:
        try:
            return tree[path].encode()
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory", path) from None

    expand = lambda pattern: sorted(path for path in tree if fnmatch(path, pattern))  # noqa: E731 - one use
    return read_asterisk("/a/x.conf", "/a", ConfFiles(content, expand), **without)


def test_sections_and_settings() -> None:
    """Both signs, templates, sections that add, escaped semicolons and block comments; names without case."""
    conf = read(
        "[global] ; mine\nType = global\n;debug=yes\n;-- a comment\ndebug=yes\n--; x=1\n[tmpl](!)\na=b\\;c ; d\n"
        "[trunk](tmpl)\n[trunk](+)\nexten => _X.,1,Dial(PJSIP/x)\n"
    )
    assert [(one.name, one.modifiers, one.place.line) for one in conf.sections] == [
        ("global", (), 1),
        ("tmpl", ("!",), 7),
        ("trunk", ("tmpl",), 9),
        ("trunk", ("+",), 10),
    ]
    kind = conf.get("global", "type")
    assert kind is not None
    assert kind.value == "global"
    assert conf.get("global", "debug") is None
    assert [one.value for one in conf.settings("tmpl")] == ["b\\;c"]
    assert conf.settings("trunk")[0].value == "_X.,1,Dial(PJSIP/x)"


def test_includes() -> None:
    """Includes go from Asterisk's folder, by pattern too, and their lines go on with the section that is open."""
    conf = read(
        {
            "/a/x.conf": '[global]\n#include post.conf\n#tryinclude none.conf\n#include "d/*.conf"\n',
            "/a/post.conf": "debug=yes\n",
            "/a/d/1.conf": "[one]\n",
            "/a/d/2.conf": "[two]\n",
        }
    )
    debug = conf.get("global", "debug")
    assert debug is not None
    assert str(debug.place) == "/a/post.conf, line 1"
    assert [one.name for one in conf.sections] == ["global", "one", "two"]
    assert conf.include("/a/d/2.conf") is not None
    assert conf.doubts == ()


def test_what_is_not_understood_is_said() -> None:
    """#exec, a missing #include, an open comment or section name are doubts; a file that includes itself ends."""
    conf = read("#exec /bin/date\n#include gone.conf\n[open\n#include x.conf\n;-- ever\n")
    for part in ("#exec is not followed", "/a/gone.conf is missing", "not closed, and Asterisk drops", "over 10 deep"):
        assert any(part in doubt for doubt in conf.doubts), part


def test_no_file() -> None:
    """A file that is not there has nothing, and is not a doubt: not every Asterisk has each."""
    conf = read({})
    assert (conf.main, conf.doubts, conf.sections) == ("", (), ())
