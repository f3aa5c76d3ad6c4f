"""asterisk-astdb: what is written down, what is put into AstDB, and what is asked."""

from __future__ import annotations

import pytest

from redirectd.plan.route import Route
from redirectd.plan.target import Command, LiveTarget, TargetError, token_of
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.targets.asterisk_astdb import SENTINEL, AsteriskAstdb
from redirectd.targets.asterisk_name import digest_of


def _sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


def _route(number: int, old: str, new: str) -> Route:
    return Route((number,), "user", _sip(old), _sip(new))


def test_the_file_is_read_back_to_the_entries() -> None:
    """What render writes down means exactly the entries, and a target that loads live is known as one."""
    target = AsteriskAstdb()
    rendered = target.render([_route(1, "sip:alice@a.test", "sip:new@b.test;user=phone")], None)
    assert dict(rendered.entries) == {"user=alice": "sip:new@b.test;user=phone"}
    assert target.parse(rendered.content) == rendered.entries
    assert isinstance(target, LiveTarget)


@pytest.mark.parametrize("user", ["%23", "%2331%23", "%23include"])
def test_a_user_that_looks_like_a_comment_is_an_entry(user: str) -> None:
    """A service code as the old user is written and read back as any other: only the first line is a comment."""
    target = AsteriskAstdb()
    old = SipUri("sip", user, None, "a.test", None)
    rendered = target.render([Route((1,), "user", old, _sip("sip:new@b.test"))], None)
    assert list(rendered.entries.values()) == ["sip:new@b.test"]
    assert target.parse(rendered.content) == rendered.entries


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(b"alice", b"bob"),
        lambda text: text.replace(b"b.test", b"c.test"),
        lambda text: text + b"carol sip:x@y.test\n",
        lambda text: text.replace(b"alice ", b"alice\t"),
        lambda text: text.replace(b"user=alice", b"user=ali ce"),
    ],
)
def test_an_edited_file_is_told(damage: object) -> None:
    """A file that was edited, or lost its form, is not taken for what AstDB holds."""
    target = AsteriskAstdb()
    content = target.render([_route(1, "sip:alice@a.test", "sip:new@b.test")], None).content
    with pytest.raises(TargetError):
        target.parse(damage(content))  # type: ignore[operator]  # one of the functions above


def test_a_load_puts_deletes_and_names_the_content_last() -> None:
    """Changed keys are put, gone ones deleted whether they were there or not, and no token stands meanwhile."""
    target = AsteriskAstdb(family="moves")
    rendered = target.render([_route(1, "sip:alice@a.test", "sip:new@b.test")], None)
    assert target.load(rendered.entries, ["user=alice", "bob"]) == [
        Command("DBPut", ("moves", SENTINEL, "-")),
        Command("DBPut", ("moves", digest_of("alice"), "sip:new@b.test")),
        Command("DBPut", ("moves", "bob", "")),
        Command("DBDel", ("moves", "bob")),
        Command("DBPut", ("moves", SENTINEL, rendered.token)),
    ]


def test_a_replacement_takes_out_whatever_else_is_there() -> None:
    """What Asterisk shows of the family is compared: only what differs is put, and strangers are deleted."""
    target = AsteriskAstdb(family="moves")
    routes = [_route(1, "sip:alice@a.test", "sip:new@b.test"), _route(2, "sip:bob@a.test", "sip:new2@b.test")]
    entries = target.render(routes, None).entries
    long, alice = "x" * 79, digest_of("alice")
    shown = (
        f"/moves/{alice}                   : sip:old@b.test           \r\n"
        f"/moves/{digest_of('bob')}                   : sip:new2@b.test          \r\n"
        f"/moves/{long}: sip:y@b.test             \r\n"
        "/moves/redirectd:generation                       : -                        \r\n4 results found.\n"
    )
    done = target.replace(entries, shown)
    assert [command.args[1] for command in done] == [SENTINEL, alice, long, long, SENTINEL]
    assert [command.name for command in done] == ["DBPut", "DBPut", "DBPut", "DBDel", "DBPut"]


def test_the_answers_are_judged() -> None:
    """The right value proves an entry, "not found" a gone one; anything else disproves."""
    target = AsteriskAstdb()
    rendered = target.render([_route(1, "sip:alice@a.test", "sip:new@b.test")], None)
    token, alice, bob = target.questions(rendered, ["user=alice", "bob"])
    assert token.judge(f"Value: {rendered.token}\n") is None
    assert alice.judge("Value: sip:new@b.test\n") is None
    assert alice.judge("Value: sip:other@b.test\n") is not None
    assert alice.judge("Database entry not found.\n") is not None
    assert bob.judge("Database entry not found.\n") is None
    assert bob.judge("Value: -\n") is not None


def test_what_a_lookup_cannot_find_is_refused_by_name() -> None:
    """The same users are refused as in the dialplan, and hosts of others are not written."""
    target = AsteriskAstdb(hosts=["a.test"])
    rendered = target.render(
        [_route(1, "sip:a%3AX@a.test", "sip:new@b.test"), _route(2, "sip:carol@other.test", "sip:new@b.test")],
        None,
    )
    assert dict(rendered.entries) == {}
    assert [refusal.id for refusal in rendered.refused] == [1]


def test_a_value_that_the_manager_interface_would_cut_is_refused() -> None:
    """A new URI of over 255 characters can't be read back on Asterisk 16, so the plan refuses it by name."""
    most = "sip:" + "9" * (255 - len("sip:@b.test")) + "@b.test"
    rendered = AsteriskAstdb().render(
        [_route(1, "sip:a@a.test", most), _route(2, "sip:b@a.test", most.replace("9", "99", 1))], None
    )
    assert list(rendered.entries) == ["user=a"]
    assert [(each.id, "255" in each.reason) for each in rendered.refused] == [(2, True)]


def test_r41_old_entries_stay_under_their_plain_user() -> None:
    """R41: an entry of an earlier version that is still approved stays beside the new one, and no other."""
    token = token_of({"alice": "sip:new@b.test", "carol": "sip:new@b.test"})
    head = "# What redirectd has put into AstDB; edits are lost."
    old = f"{head}\nalice sip:new@b.test\ncarol sip:new@b.test\n{SENTINEL} {token}\n"
    moves = [_route(1, "sip:alice@a.test", "sip:new@b.test"), _route(2, "sip:bob@a.test", "sip:new@b.test")]

    kept = AsteriskAstdb().render_over(moves, None, old.encode())

    assert list(kept.entries) == ["alice", "user=alice", "user=bob"]
    assert AsteriskAstdb().parse(kept.content) == kept.entries
    commands = AsteriskAstdb().load(kept.entries, ["user=bob", "carol"])
    assert [each.args[1] for each in commands if each.name == "DBDel"] == ["carol"]
    ended = AsteriskAstdb(legacy_keys=False).render_over(moves, None, kept.content)
    assert list(ended.entries) == ["user=alice", "user=bob"]
