"""What one server can't take, or is not there to take, keeps nothing from the others, nor from the rest of its own."""

from __future__ import annotations

import pytest

from redirectd.targets.asterisk_name import digest_of
from tests.peers.conftest import StartAsterisk, StartKamailio
from tests.peers.lab.asterisk import AMI_SECRET, AMI_USER, Setup
from tests.peers.lab.kamailio import Script
from tests.peers.operator import Operator

HTABLE = """
[[target]]
name = "{name}"
kind = "kamailio-htable"
path = "{path}"
reload = "jsonrpc:unix:{socket}"
"""


def _approve(operator: Operator, moves: dict[str, str]) -> None:
    rows = [f"{old},{new},approved" for old, new in moves.items()]
    file = operator.folder / "moves.csv"
    file.write_text("\n".join(["old_uri,new_uri,state", *rows, ""]), encoding="ascii")
    operator.run("import", "--approve", str(file))


@pytest.mark.peer("asterisk")
def test_a_value_that_asterisk_cuts(operator: Operator, start_asterisk: StartAsterisk) -> None:
    """AstDB of 16.28 answers 255 characters at most: a longer Contact is refused by name, and the others go in."""
    server = start_asterisk(Setup(""))
    secret = operator.folder / "ami.secret"
    secret.write_text(AMI_SECRET, encoding="ascii")
    operator.configure(
        f'[[target]]\nname = "astdb"\nkind = "asterisk-astdb"\nwidth = "user"\npath = "{operator.folder}/astdb.txt"\n'
        f'reload = "ami://{AMI_USER}@{server.address}:{server.ami_port}"\npassword_file = "{secret}"\n'
    )
    long = "sip:" + "x" * 270 + "@new.test"
    _approve(
        operator,
        {"sip:ann@old.test": "sip:ann@new.test", "sip:bob@old.test": long, "sip:cat@old.test": "sip:cat@new.test"},
    )

    result = operator.json("apply")

    [target] = result["targets"]
    held = server.rx("database show redirectd")
    assert "sip:ann@new.test" in held
    assert "sip:cat@new.test" in held
    if target["refused"]:  # 22 gives the whole value
        assert [one["id"] for one in target["refused"]] == [2]
        assert f"/redirectd/{digest_of('bob')} " not in held
    assert (target["outcome"], operator.json("apply")["generation"]) == ("verified", None)


@pytest.mark.peer("kamailio")
def test_an_instance_that_is_away_or_misconfigured(operator: Operator, start_kamailio: StartKamailio) -> None:
    """Approvals and revocations reach the healthy Kamailio while others are stopped or have an unusable file."""
    server = start_kamailio(Script())
    folder = operator.folder
    (folder / "broken.table").mkdir()
    operator.configure(
        HTABLE.format(name="users", path=server.htable_file, socket=server.rpc_socket),
        HTABLE.format(name="away", path=folder / "away.table", socket=folder / "nobody.sock"),
        HTABLE.format(name="broken", path=folder / "broken.table", socket=folder / "other.sock"),
    )
    _approve(operator, {"sip:a@old.test": "sip:a@new.test", "sip:b@old.test": "sip:b@new.test"})

    first = operator.json("apply", "--force", code=1)

    assert [target["outcome"] for target in first["targets"]] == ["verified", "installed", "refused"]
    assert [unit["targets"] for unit in first["units"]] == [["users"], ["away"], ["broken"]]
    operator.run("revoke", "1", "--reason", "wrong")
    operator.json("apply", "--force", code=1)
    dump = str(server.rpc("htable.dump", "redir"))
    assert "sip:a@new.test" not in dump
    assert "sip:b@new.test" in dump
