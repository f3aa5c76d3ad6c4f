"""Targets whose changes are put into the running server one by one: what it holds afterwards is the whole table."""

from __future__ import annotations

import re

import pytest

from redirectd.targets.asterisk_name import digest_of
from tests.peers.conftest import StartAsterisk, StartKamailio
from tests.peers.lab.asterisk import Asterisk, Setup
from tests.peers.lab.kamailio import Script
from tests.peers.operator import Operator

HTABLE = """
[[target]]
name = "users"
kind = "kamailio-htable"
path = "{path}"
reload = "binrpc:unix:{socket}"
live = 50
"""


def _approve(operator: Operator, *users: str) -> None:
    operator.import_moves({f"sip:{user}@old.test": f"sip:{user}@new.test" for user in users})


def _astdb(operator: Operator, server: Asterisk, *others: str) -> None:
    operator.configure(
        f'[[target]]\nname = "astdb"\nkind = "asterisk-astdb"\nwidth = "user"\npath = "{operator.folder}/astdb.txt"\n'
        f'{server.control("ami")}server = "pbx"\n',
        *others,
    )


def _held(server: Asterisk, family: str = "redirectd") -> dict[str, str]:
    """What a family of AstDB holds, without the content's name."""
    rows = re.findall(rf"^/{family}/(\S+?) *: (\S*) *$", server.rx("database show"), re.MULTILINE)
    return {key: value for key, value in rows if key != "redirectd:generation"}


def _moves(*users: str) -> dict[str, str]:
    return {digest_of(user): f"sip:{user}@new.test" for user in users}


@pytest.mark.peer("asterisk")
def test_a_broken_off_load_is_mended_by_the_next(operator: Operator, start_asterisk: StartAsterisk) -> None:
    """AstDB that holds half a load, a stranger and a wrong value holds just the table after the next apply."""
    server = start_asterisk(Setup(""))
    _astdb(operator, server)
    _approve(operator, "alice", "bob", "bob-x")
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"
    assert _held(server) == _moves("alice", "bob", "bob-x")
    server.rx("database put redirectd redirectd:generation -")  # what stands there while a load is under way
    server.rx(f"database put redirectd {digest_of('alice')} sip:wrong@new.test")
    server.rx("database put redirectd stray sip:stray@new.test")
    server.rx(f"database del redirectd {digest_of('bob')}")
    for family in ("REDIRECTD", "redirectdx"):
        server.rx(f"database put {family} kept yes")
    _approve(operator, "carol")

    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    assert _held(server) == _moves("alice", "bob", "bob-x", "carol")
    assert _held(server, "REDIRECTD") == _held(server, "redirectdx") == {"kept": "yes"}


@pytest.mark.peer("asterisk")
def test_a_database_that_was_lost_is_filled_again(operator: Operator, start_asterisk: StartAsterisk) -> None:
    """Where AstDB was lost, a change of one entry puts all of them, not that one alone."""
    server = start_asterisk(Setup(""))
    _astdb(operator, server)
    _approve(operator, "alice", "bob")
    operator.run("apply")
    server.rx("database deltree redirectd")
    _approve(operator, "carol")

    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    assert _held(server) == _moves("alice", "bob", "carol")


@pytest.mark.peer("asterisk")
def test_a_database_that_was_emptied_is_filled_without_a_change(
    operator: Operator, start_asterisk: StartAsterisk
) -> None:
    """Where AstDB was emptied and nothing was decided since, the next apply puts all entries back and says so."""
    server = start_asterisk(Setup(""))
    _astdb(operator, server)
    _approve(operator, "alice", "bob")
    operator.run("apply")
    server.rx("database deltree redirectd")
    assert _held(server) == {}

    result = operator.json("apply")

    assert (result["targets"][0]["outcome"], list(result["lost"])) == ("verified", ["astdb"])
    assert _held(server) == _moves("alice", "bob")
    server.rx(f"database put redirectd {digest_of('alice')} sip:wrong@new.test")
    assert operator.json("apply", "--verify")["targets"][0]["outcome"] == "verified"
    assert _held(server) == _moves("alice", "bob")


@pytest.mark.peer("asterisk")
def test_what_was_put_is_taken_out_when_another_target_fails(operator: Operator, start_asterisk: StartAsterisk) -> None:
    """A dialplan that nobody includes fails its proof: AstDB is as it was, at the first apply and at a later one."""
    server = start_asterisk(Setup(""))
    failing = (
        f'[[target]]\nname = "dialplan"\nkind = "asterisk-dialplan"\nwidth = "user"\n'
        f'path = "{operator.folder}/not_included.conf"\n'
        f'{server.control()}server = "pbx"\n'
    )
    _astdb(operator, server, failing)
    _approve(operator, "alice")
    result = operator.json("apply", code=4)
    assert [target["outcome"] for target in result["targets"]] == ["rolled-back", "rolled-back"]
    assert _held(server) == {}
    _astdb(operator, server)
    operator.run("apply")
    assert _held(server) == _moves("alice")
    _astdb(operator, server, failing)
    _approve(operator, "bob")

    operator.json("apply", code=4)

    assert _held(server) == _moves("alice")


@pytest.mark.peer("kamailio")
def test_a_table_that_is_not_the_last_one_is_read_anew(operator: Operator, start_kamailio: StartKamailio) -> None:
    """`live` puts changes alone only over the table they were reckoned from; else the whole file is loaded."""
    proxy = start_kamailio(Script())
    operator.configure(HTABLE.format(path=proxy.htable_file, socket=proxy.ctl_socket))
    _approve(operator, "alice", "bob")
    operator.run("apply")
    proxy.rpc("htable.sets", "redir", "__gen__", "-")  # a load was broken off
    proxy.rpc("htable.sets", "redir", "sip:alice@old.test:;", "sip:wrong@new.test")
    _approve(operator, "carol")

    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    for user in ("alice", "bob", "carol"):
        found = proxy.rpc("htable.get", "redir", f"sip:{user}@old.test:;")["item"]["value"]
        assert found == f"sip:{user}@new.test"


@pytest.mark.peer("kamailio")
def test_a_table_that_was_flushed_is_loaded_without_a_change(operator: Operator, start_kamailio: StartKamailio) -> None:
    """An htable flushed behind redirectd's back is loaded again by the next apply, and proven by its sentinel."""
    proxy = start_kamailio(Script())
    operator.configure(HTABLE.format(path=proxy.htable_file, socket=proxy.ctl_socket))
    _approve(operator, "alice", "bob")
    operator.run("apply")
    proxy.rpc("htable.flush", "redir")

    result = operator.json("apply")

    assert (result["targets"][0]["outcome"], list(result["lost"])) == ("verified", ["users"])
    assert proxy.rpc("htable.get", "redir", "sip:bob@old.test:;")["item"]["value"] == "sip:bob@new.test"
    assert operator.json("apply")["targets"][0]["outcome"] == "unchanged"
