"""kamailio-htable: the db_text file and its keys."""

from __future__ import annotations

import pytest

from redirectd.plan.target import TargetError, token_of
from redirectd.sip.uri import parse_uri
from redirectd.targets.kamailio_htable import KamailioHtable
from redirectd.targets.kamailio_key import uri_of
from tests.targets.uris import route

HEAD = b"id(int,auto) key_name(string) key_type(int) value_type(int) key_value(string) expires(int)\n"


def test_golden_file() -> None:
    """The file, byte for byte: the sentinel first, keys in order, colons escaped, host in lower case."""
    rendered = KamailioHtable().render(
        [
            route(1, "sip:Bob@OLD.Test:5070", "sip:bob@new.test;transport=TCP"),
            route(2, "sip:alice@old.test", "sip:+4930222@192.0.2.9:5060;user=phone"),
        ],
        None,
    )
    assert rendered.content == (
        HEAD
        + f"0:__gen__:0:0:{rendered.token}:0\n".encode()
        + b"0:sip\\:Bob@old.test\\:5070;:0:0:sip\\:bob@new.test;transport=tcp:0\n"
        + b"0:sip\\:alice@old.test\\:;:0:0:sip\\:+4930222@192.0.2.9\\:5060;user=phone:0\n"
    )


def test_r41_the_key_is_the_whole_route_key() -> None:
    """R41, R24: scheme, port and transport are in the key, the user is canonical, and absent parts are empty."""
    moves = [
        "sip:%61%2cb@H:5060",
        "sips:a@h",
        "sip:a@h;transport=TLS;user=phone",
        "sip:h.test:6003",
        "sip:a@[2001:DB8:0::1]",
    ]
    rendered = KamailioHtable().render([route(i, old, "sip:x@y") for i, old in enumerate(moves, 1)], None)
    assert sorted(rendered.entries) == [
        "sip:@h.test:6003;",
        "sip:a%2Cb@h:5060;",
        "sip:a@[2001:db8::1]:;",
        "sip:a@h:;tls",
        "sips:a@h:;",
    ]
    assert [parse_uri(uri_of(key)) for key in sorted(rendered.entries)] == [
        parse_uri(text)
        for text in ("sip:h.test:6003", "sip:a%2Cb@h:5060", "sip:a@[2001:db8::1]", "sip:a@h;transport=tls", "sips:a@h")
    ]


OLD_TOKEN = token_of({"alice@h": "sip:alice@new", "bob@h": "sip:bob@new", "carol@h": "sip:carol@new"}).encode()
OLD = HEAD + b"0:__gen__:0:0:%b:0\n" % OLD_TOKEN
OLD += b"".join(b"0:%b@h:0:0:sip\\:%b@new:0\n" % (user, user) for user in (b"alice", b"bob", b"carol"))


def test_r41_old_rows_stay_while_their_remap_does_and_none_comes_in() -> None:
    """R41: of an earlier version's rows stay those still approved, unchanged; a new move gets its key alone."""
    moves = [
        route(1, "sip:alice@h:6003", "sip:alice@new"),
        route(2, "sip:bob@h", "sip:bob@elsewhere"),
        route(3, "sip:dora@h", "sip:dora@new"),
        route(4, "sip:alice@h:6004", "sip:alice@other"),
    ]
    exact = KamailioHtable().render(moves, None)
    assert all(key.startswith("sip:") for key in exact.entries)
    assert len(exact.entries) == 4

    kept = KamailioHtable().render_over(moves, None, OLD)

    assert kept.entries == {"alice@h": "sip:alice@new", **exact.entries}
    assert KamailioHtable().parse(kept.content) == kept.entries
    assert KamailioHtable().render_over(moves, None, kept.content).content == kept.content
    assert KamailioHtable(legacy_keys=False).render_over(moves, None, kept.content).content == exact.content
    assert KamailioHtable().render_over(moves, None, exact.content).content == exact.content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (HEAD + b"0:a@b:0:0:x:0\n", "does not name"),
        (HEAD + b"0:a@b:0:0:x:0", "not complete"),
        (HEAD.replace(b"expires(int)", b"expires(int) more(int)"), "columns"),
        (HEAD + b"# comment\n", "line 2: field"),
        (HEAD + b"0:a@b:0:0:sip:x:0\n", "line 2: field 6"),
        (HEAD + b"0:a@b:0:0:x\n", "line 2: field 5"),
        (HEAD + b"0:a@b:0:0:x\\y:0\n", "line 2: field 5"),
        (HEAD + b"0:a@b:0:0::0\n", "line 2: key_value is empty"),
        (HEAD + b"0:a@b:1:0:x:0\n", "line 2: key_type is not 0"),
        (HEAD + b"0:a@b:0:0:x:60\n", "line 2: expires is not 0"),
        (HEAD + b"0:a@b:0:0:x:0\n0:a@b:0:0:y:0\n", "line 3: duplicate key"),
        (HEAD + b"99999999999:a@b:0:0:x:0\n", "line 2: field|no 32-bit"),
        (HEAD + b"0:a\rb:0:0:x:0\n", "line 2: a byte"),
        (HEAD + b"0:a\0b:0:0:x:0\n", "line 2: a byte"),
        (b"\xef\xbb\xbf" + HEAD, "line 1: a byte"),
        (HEAD + b"0:__gen__:0:0:0000000000000000:0\n", "does not name"),
    ],
)
def test_the_reader_refuses_what_kamailio_would(content: bytes, reason: str) -> None:
    """A table that Kamailio would refuse, or read as something else, is refused with its line."""
    with pytest.raises(TargetError, match=reason):
        KamailioHtable().parse(content)


def test_questions_ask_for_the_sentinel_first_and_for_all_that_changed() -> None:
    """The sentinel, the count, then every changed key up to 200, the deleted ones too; over that a spread sample."""
    target = KamailioHtable(table="moved")
    rendered = target.render([route(1, "sip:a@h", "sip:b@h")], None)
    asked = [question.command for question in target.questions(rendered, ["sip:a@h:;", "gone@h"])]
    assert [(command.name, *command.args) for command in asked] == [
        ("htable.get", "moved", "__gen__"),
        ("htable.stats",),
        ("htable.get", "moved", "sip:a@h:;"),
        ("htable.get", "moved", "gone@h"),
    ]
    many = [f"u{i}@h" for i in range(1000)]
    spread = [question.command.args[-1] for question in target.questions(rendered, many)[2:]]
    assert (len(spread), spread[0], spread[-1]) == (200, "u0@h", "u995@h")


def test_an_operators_new_table_is_empty() -> None:
    """A table with its columns and no row, as one is set up by hand, has no entries."""
    assert KamailioHtable().parse(HEAD) == {}
