"""kamailio-htable: the db_text file and its keys."""

from __future__ import annotations

import pytest

from redirectd.plan.target import TargetError
from redirectd.targets.kamailio_htable import KamailioHtable
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
        + b"0:Bob@old.test:0:0:sip\\:bob@new.test;transport=tcp:0\n"
        + b"0:alice@old.test:0:0:sip\\:+4930222@192.0.2.9\\:5060;user=phone:0\n"
    )


def test_both_spellings_of_an_escaped_user_are_keys() -> None:
    """R24: `$rU` is the user as it was sent, so the spelling seen and the canonical one are both written."""
    rendered = KamailioHtable().render([route(1, "sip:%61%2cb@h", "sip:x@y")], None)
    assert dict(rendered.entries) == {"%61%2cb@h": "sip:x@y", "a%2Cb@h": "sip:x@y"}


def test_a_user_is_needed() -> None:
    """A user move without a user has no key here and is refused by name."""
    rendered = KamailioHtable().render([route(1, "sip:old.test", "sip:new.test")], None)
    assert [(refusal.id, "no user" in refusal.reason) for refusal in rendered.refused] == [(1, True)]


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
        (HEAD + b"0:a@b:0:0:x:0\n0:a@b:0:0:y:0\n", "line 3: a key stands there twice"),
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
    asked = [question.command for question in target.questions(rendered, ["a@h", "gone@h"])]
    assert [(command.name, *command.args) for command in asked] == [
        ("htable.get", "moved", "__gen__"),
        ("htable.stats",),
        ("htable.get", "moved", "a@h"),
        ("htable.get", "moved", "gone@h"),
    ]
    many = [f"u{i}@h" for i in range(1000)]
    spread = [question.command.args[-1] for question in target.questions(rendered, many)[2:]]
    assert (len(spread), spread[0], spread[-1]) == (200, "u0@h", "u995@h")


def test_an_operators_new_table_is_empty() -> None:
    """A table with its columns and no row, as one is set up by hand, has no entries."""
    assert KamailioHtable().parse(HEAD) == {}
