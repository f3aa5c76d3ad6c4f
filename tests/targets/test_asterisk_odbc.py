"""asterisk-odbc: its rows, what of them is refused, and what it makes of Asterisk's answers."""

from __future__ import annotations

import re

import pytest

from redirectd.plan.route import Route
from redirectd.plan.target import TargetError
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.targets.asterisk_name import digest_of
from redirectd.targets.asterisk_odbc import SQL, AsteriskOdbc

TARGET = AsteriskOdbc()


def _route(number: int, old: str, new: str) -> Route:
    old_uri, new_uri = parse_uri(old), parse_uri(new)
    assert isinstance(old_uri, SipUri)
    assert isinstance(new_uri, SipUri)
    return Route((number,), "user", old_uri, new_uri)


RENDERED = TARGET.render(
    [_route(1, "sip:alice@old.test", "sip:a@new.test;user=phone"), _route(2, "sip:b%27x@old.test", "sip:b@new.test")],
    None,
)


def test_a_row_is_the_hash_the_name_and_the_new_uri() -> None:
    """R41: the dialled name alone is the key; the text has the sentinel first and is what the table's rows give."""
    content = RENDERED.content
    rows = list(SQL.form.values(content))
    assert rows[0] == ("__gen__", "__gen__", RENDERED.token)
    assert sorted(rows[1:]) == sorted(
        [
            (digest_of("alice"), "alice", "sip:a@new.test;user=phone"),
            (digest_of("b%27x"), "b%27x", "sip:b@new.test"),
        ]
    )
    assert SQL.text(reversed(rows)) == content
    assert (
        TARGET.parse(content)
        == RENDERED.entries
        == {
            "user=alice": "sip:a@new.test;user=phone",
            "user=b%27x": "sip:b@new.test",
        }
    )
    assert TARGET.is_own(content)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (digest_of("alice").encode(), digest_of("Alice").encode()),
        (b":alice:", b":alicf:"),
        (b"sip\\:a@", b"sip\\:mine@"),
        (RENDERED.token.encode(), b"0123456789abcdef"),
        (b"0:__gen__:", b"0:__gem__:"),
        (b":b%27x:", b":b'x:"),
    ],
)
def test_a_change_by_hand_is_not_taken_for_ours(old: bytes, new: bytes) -> None:
    """Another hash, name, URI or token: the text is no more redirectd's, and none is read as an entry unseen."""
    changed = RENDERED.content.replace(old, new)
    assert changed != RENDERED.content
    with pytest.raises(TargetError):
        TARGET.parse(changed)
    assert not TARGET.is_own(changed)


def test_nothing_of_a_caller_is_in_the_statement() -> None:
    """The lookup sends an MD5, and the function's allow-list has no character that ends a text in SQL."""
    lines = TARGET.lines()
    assert "ODBC_REDIRECTD(${MD5(${REDIRECTD_USER})})" in lines.beside
    assert "${EXTEN}" not in lines.beside
    assert TARGET.statement() == ("SELECT new_uri FROM redirectd_map WHERE dialled_hash='${FILTER(0-9a-z_,${ARG1})}'")
    assert "[moved-to-lookup]" in AsteriskOdbc(function="MOVED_TO").lines().beside


SUCCESS = "No ethernet interface found\nReturn Value: Success (0)\nResult: {}\n"
FAILURE = "Return Value: Failure (-1)\nResult: \n"


def test_asterisks_answers_are_judged() -> None:
    """The sentinel and each changed user, one that is gone with nothing; without an answer nothing is proven."""
    asked = {
        question.command.name: question.judge for question in TARGET.questions(RENDERED, ["user=alice", "user=gone"])
    }
    [sentinel, alice, gone] = asked
    assert re.fullmatch(r"dialplan eval function ODBC_REDIRECTD\(__gen__\)", sentinel)
    assert digest_of("alice") in alice
    right = {sentinel: RENDERED.token, alice: "sip:a@new.test;user=phone", gone: ""}
    for name, judge in asked.items():
        assert judge(SUCCESS.format(right[name])) is None
        assert judge(SUCCESS.format("sip:other@x")) is not None
        assert judge(FAILURE) is not None
        assert judge("") is not None
    doubt = asked[sentinel](FAILURE)
    assert doubt
    assert "func_odbc.conf" in (TARGET.usual_cause(doubt) or "")
    assert "another database" in (TARGET.usual_cause(asked[sentinel](SUCCESS.format("x")) or "") or "")
    assert TARGET.usual_cause("user=alice gives nothing") is None


def test_the_function_is_compared() -> None:
    """`check`: the statement that Asterisk shows must be this target's, to the letter."""
    judge = TARGET.source().judge
    sent = TARGET.statement().replace("${FILTER(0-9a-z_,${ARG1})}", "__gen__")
    assert judge(f"some notice\n{sent}\n") is None
    assert judge(sent.replace("redirectd_map", "`redirectd_map`")) is None
    assert "does not send" in (judge(sent.replace("redirectd_map", "other")) or "")
    assert "does not send" in (judge(f"{sent} OR 1=1") or "")
    assert "no section [REDIRECTD]" in (judge("No such query 'ODBC_REDIRECTD'\nUsage: ...") or "")
