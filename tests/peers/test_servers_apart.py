"""What one server can't take, or is not there to take, keeps nothing from the others, nor from the rest of its own."""

from __future__ import annotations

import json

import pytest

from redirectd.targets.asterisk_name import digest_of
from redirectd.targets.kamailio_dialplan import KamailioDialplan
from tests.peers.conftest import StartAsterisk, StartKamailio
from tests.peers.lab.asterisk import Setup
from tests.peers.lab.kamailio import Script
from tests.peers.operator import Operator

HTABLE = """
[[target]]
name = "{name}"
kind = "kamailio-htable"
path = "{path}"
reload = "jsonrpc:unix:{socket}"
"""
ASTDB = """
[[target]]
name = "astdb"
kind = "asterisk-astdb"
width = "user"
path = "{folder}/astdb.txt"
"""


@pytest.mark.peer("asterisk")
def test_a_value_that_asterisk_cuts(operator: Operator, start_asterisk: StartAsterisk) -> None:
    """AstDB of 16.28 answers 255 characters at most: a longer Contact is refused by name, and the others go in."""
    server = start_asterisk(Setup(""))
    operator.configure(ASTDB.format(folder=operator.folder) + server.control("ami"))
    long = "sip:" + "x" * 270 + "@new.test"
    operator.import_moves(
        {"sip:ann@old.test": "sip:ann@new.test", "sip:bob@old.test": long, "sip:cat@old.test": "sip:cat@new.test"}
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
    operator.import_moves({"sip:a@old.test": "sip:a@new.test", "sip:b@old.test": "sip:b@new.test"})

    first = operator.json("apply", "--force", code=1)

    assert [target["outcome"] for target in first["targets"]] == ["verified", "installed", "refused"]
    assert [unit["targets"] for unit in first["units"]] == [["users"], ["away"], ["broken"]]
    operator.run("revoke", "1", "--reason", "wrong")
    operator.json("apply", "--force", code=1)
    dump = str(server.rpc("htable.dump", "redir"))
    assert "sip:a@new.test" not in dump
    assert "sip:b@new.test" in dump


@pytest.mark.peer("asterisk")
def test_a_manager_user_that_may_not_write_is_named(operator: Operator, start_asterisk: StartAsterisk) -> None:
    """Exit code 4 for AstDB names the class that the manager user lacks, and it works as soon as it has it."""
    server = start_asterisk(Setup(""), start=False)
    manager = server.config_file.parent / "manager.conf"
    whole = manager.read_text()
    manager.write_text(whole.replace("write = system,command,", "write = command,"))
    server.start()
    operator.configure(ASTDB.format(folder=operator.folder) + server.control("ami"))
    operator.import_moves({"sip:ann@old.test": "sip:ann@new.test"})

    done = operator.try_run("apply")

    assert done.returncode == 4
    assert "usual cause: the manager user lacks a class: `write = system,command`" in done.stderr
    manager.write_text(whole)
    server.rx("manager reload")
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"


@pytest.mark.peer("kamailio")
def test_rules_that_kamailio_reads_elsewhere_are_named(operator: Operator, start_kamailio: StartKamailio) -> None:
    """Exit code 4 for a dialplan that Kamailio reads from another file names db_url, table_name and db_mode."""
    modules = (
        'loadmodule "dialplan.so"\nmodparam("dialplan", "db_url", "text://FOLDER/dbtext")\n'
        'modparam("dialplan", "table_name", "others")'
    )
    folder = operator.folder / "rules"
    folder.mkdir()
    (folder / "redirectd_dialplan").write_bytes(KamailioDialplan().render([], None).content)
    (folder / "others").write_bytes(KamailioDialplan(dpid=7).render([], None).content)
    (folder / "version").write_text("table_name(string) table_version(int)\nothers:2\n", encoding="ascii")
    server = start_kamailio(Script(), modules=modules.replace("FOLDER/dbtext", str(folder)))
    operator.configure(
        f'[[target]]\nname = "rules"\nkind = "kamailio-dialplan"\npath = "{folder}/redirectd_dialplan"\n'
        f'reload = "binrpc:unix:{server.ctl_socket}"\n'
    )
    operator.import_moves({"sip:ann@old.test": "sip:ann@new.test"})

    done = operator.try_run("apply")

    assert done.returncode == 4
    assert "usual cause: Kamailio did not read this file" in done.stderr
    assert '"db_url" and "table_name" of dialplan' in done.stderr


DIALPLAN = """
[[target]]
name = "{name}"
kind = "asterisk-dialplan"
width = "user"
hosts = ["{host}"]
path = "{path}"
reload = "asterisk -C {config} -rx"
"""


@pytest.mark.peer("asterisk")
def test_two_dialplan_targets_with_one_prefix(operator: Operator, start_asterisk: StartAsterisk) -> None:
    """`check` calls it a fault; with a prefix of its own both are verified, and an apply without it changes nothing."""
    server = start_asterisk(Setup("#tryinclude extensions_other.conf\n"))
    other = server.dialplan_file.with_name("extensions_other.conf")
    one = DIALPLAN.format(name="one", host="old.test", path=server.dialplan_file, config=server.config_file)
    two = DIALPLAN.format(name="two", host="b.test", path=other, config=server.config_file)
    operator.configure(one, two)
    operator.import_moves({"sip:ann@old.test": "sip:ann@new.test", "sip:ann@b.test": "sip:ann@newer.test"})

    faults = [each["where"] for each in operator.json("check", code=1)["findings"] if each["level"] == "fault"]
    assert "target two, prefix" in faults
    operator.configure(one, two + 'prefix = "other-map"\n')
    assert [each["outcome"] for each in operator.json("apply")["targets"]] == ["verified", "verified"]
    contexts = [f"{prefix}-{digest_of('ann')[:2]}" for prefix in ("redirectd-map", "other-map")]
    live = [server.rx(f"dialplan show {context}") for context in contexts]
    assert "Return(sip:ann@new.test)" in live[0]
    assert "Return(sip:ann@newer.test)" in live[1]
    operator.configure(one, two)

    done = operator.try_run("apply")

    assert done.returncode == 1
    assert "the target one writes the contexts redirectd-map-..., too" in done.stderr
    assert [server.rx(f"dialplan show {context}") for context in contexts] == live


AORS = "[gw-a]\ntype = aor\n{option}contact = sip:127.0.0.5\n"


@pytest.mark.peer("asterisk")
def test_an_option_of_an_aor_with_a_digit(operator: Operator, start_asterisk: StartAsterisk) -> None:
    """The base is read with it; an Asterisk that knows it is verified, an older one gets its old file back, by name."""
    server = start_asterisk(Setup(""))
    base = operator.folder / "aors.conf"
    operator.configure(
        f'[[target]]\nname = "trunks"\nkind = "asterisk-pjsip-aor"\nwidth = "gateway"\nbase = "{base}"\n'
        f'path = "{server.pjsip_file}"\n{server.control()}'
    )
    base.write_text(AORS.format(option=""))
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"
    base.write_text(AORS.format(option="qualify_2xx_only = yes\n"))

    found = json.loads(operator.try_run("check", "--json").stdout)["findings"]
    done = operator.try_run("apply")

    assert [one["level"] for one in found if one["where"] == f"target trunks, base {base}"] == ["ok"]
    refuses = "qualify_2xx_only" in server.full_log.read_text()
    assert done.returncode == (4 if refuses else 0), done.stderr
    if refuses:
        assert "it has no option qualify_2xx_only" in done.stderr
        assert "sip:127.0.0.5" in server.rx("pjsip show aor gw-a")
        base.write_text(AORS.format(option="qualify_timeout = 2\n"))
        assert operator.json("apply")["targets"][0]["outcome"] == "verified"
