"""asterisk-odbc over MariaDB and PostgreSQL: a real Asterisk is called through, asked, and disturbed."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from redirectd.apply.control import open_channel, prove
from redirectd.apply.sql_rows import SqlRows
from redirectd.plan.planning import digest
from redirectd.targets.asterisk_name import digest_of
from redirectd.targets.asterisk_odbc import AsteriskOdbc
from tests.peers.breakouts import breakouts, list_fates
from tests.peers.conftest import Answer, StartAsterisk
from tests.peers.database_site import approve
from tests.peers.lab.asterisk import AMI_SECRET, AMI_USER, Asterisk, Setup, dial_plan
from tests.peers.lab.process import wait_until
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, AnsweringSide, moved_to, place_call
from tests.peers.odbc_site import BOTH, LOOK_UP_ODBC, MODULES, OdbcSite, site
from tests.peers.operator import Operator
from tests.peers.test_targets_asterisk import BROKEN, TELL

__all__ = ["site"]

INJECTIONS = [
    "x' or '1'='1",
    "x'or'1'='1",
    "x'or(1=1)--",
    "x' or 1=1 -- ",
    "x\\' or 1=1 -- ",
    "x\\\\' or 1=1 -- ",
    "x' union select new_uri from redirectd_map -- ",
    "x'/**/union/**/select/**/new_uri/**/from/**/redirectd_map#",
    "x';delete from redirectd_map;-- ",
    "x'||(select new_uri from redirectd_map limit 1)||'",
    "$$ or 1=1 --",
    "E'x'",
    "__gen__",
    "x%27or%271%27=%271",
    "x\u2019 or 1=1",
    "%bf%27 or 1=1 -- ",
    "${SHELL(touch /tmp/broken)}",
    "${ODBC_REDIRECTD(__gen__)}",
    "a),b",
    digest_of("victim"),
]
"""Names that a caller dials, who would like another's row, or all of them."""


def _given(server: Asterisk, user: str) -> str:
    """What Asterisk's function gives for a dialled name."""
    return server.rx(f"dialplan eval function ODBC_REDIRECTD({digest_of(user)})").partition("Result: ")[2].strip()


@pytest.mark.parametrize("control", ["asterisk -rx", "ami"])
@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_a_moved_user_is_rerouted_from_a_database(
    site: OdbcSite,
    control: str,
    operator: Operator,
    start_asterisk: StartAsterisk,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """From the 301 in the log to the next call at the new address; a restart, a revoke and a rollback hold, too."""
    new = answering_side(RINGS_AND_ANSWERS)
    moved = f"sip:+4930222@{new.address}:{new.port};user=phone"
    old = answering_side(moved_to(f"<{moved}>"))
    plan = dial_plan((old.address, old.port)).partition("[redirectd-lookup]")[0]
    server = start_asterisk(site.setup(plan + LOOK_UP_ODBC))
    operator.configure(site.asked_by(server, control))
    call = (loopback_address, (server.address, server.port))
    place_call(*call, f"sip:4930111@{server.address}")
    server.wait_for_log("BYE sip:")
    operator.run("ingest", str(server.full_log))
    [remap] = operator.pending()
    operator.run("approve", str(remap["id"]), "--reason", "seen")

    [target_result] = operator.json("apply")["targets"]

    assert target_result["outcome"] == "verified"
    before = len(old.invites())
    assert place_call(*call, f"sip:4930111@{server.address}").status == 200
    assert place_call(*call, f"sip:493011%31@{server.address}").status == 200
    assert (new.invites()[-2:], len(old.invites())) == ([moved, moved], before)
    place_call(*call, f"sip:493-0111@{server.address}")
    assert len(old.invites()) == before + 1
    [answer] = operator.json("lookup", f"sip:4930111@{old.address}:{old.port}")["targets"]
    assert (answer["name"], answer["result"]) == ("users", moved)
    assert operator.json("apply")["targets"][0]["outcome"] == "unchanged"
    operator.run("revoke", str(remap["id"]), "--reason", "moved back")
    assert "none be left" in operator.try_run("apply").stderr
    operator.run("apply", "--force")
    place_call(*call, f"sip:4930111@{server.address}")
    assert (len(old.invites()), site.held()) == (before + 2, {})
    operator.run("rollback", str(operator.json("history")["generations"][-1]["number"]))
    assert place_call(*call, f"sip:4930111@{server.address}").status == 200
    assert (len(old.invites()), site.held()) == (before + 2, {"4930111": moved})


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_the_least_rights_are_enough_and_checked(
    site: OdbcSite, operator: Operator, start_asterisk: StartAsterisk
) -> None:
    """`check` has nothing against what `db-target create` made, and names what is missing, on either side."""
    server = start_asterisk(site.setup(TELL.partition("[redirectd-lookup]")[0] + LOOK_UP_ODBC))
    operator.configure(site.asked_by(server))
    approve(operator, "alice")
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    assert operator.faults("users") == ""
    reader, writer = ("asterisk@'%'", "rd_writer@'%'") if site.is_mysql else ("asterisk", "rd_writer")
    site.run(f"REVOKE SELECT ON redirectd_map FROM {reader}")
    assert "its database gives it no answer" in operator.faults("users")
    site.run(f"GRANT SELECT ON redirectd_map TO {reader}", f"REVOKE DELETE ON redirectd_map FROM {writer}")
    assert "can't delete its rows" in operator.faults("users")
    other = site.files(AsteriskOdbc().statement().replace("redirectd_map", "other_map"))["func_odbc.conf"]
    (server.config_file.parent / "func_odbc.conf").write_text(other)
    server.rx("module reload func_odbc.so")
    assert "does not send SELECT new_uri FROM redirectd_map" in operator.faults("users")


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_rows_of_a_person_are_shown_and_kept(site: OdbcSite, operator: Operator, start_asterisk: StartAsterisk) -> None:
    """A row added, one changed and one removed by hand: plan shows them, and without --force nothing is written."""
    server = start_asterisk(site.setup(TELL.partition("[redirectd-lookup]")[0] + LOOK_UP_ODBC))
    operator.configure(site.asked_by(server))
    approve(operator, "alice", "bob", "carol")
    operator.run("apply")
    site.run(
        f"INSERT INTO redirectd_map (dialled_hash, dialled, new_uri) VALUES ('{digest_of('vip')}', 'vip', 'sip:vip@y')",
        "UPDATE redirectd_map SET new_uri = 'sip:mine@y' WHERE dialled = 'bob'",
        "DELETE FROM redirectd_map WHERE dialled = 'carol'",
    )
    approve(operator, "dave")
    there = site.held()

    [target] = operator.json("plan")["targets"]
    refusal = operator.try_run("apply")

    assert f"-0:{digest_of('vip')}:vip:sip\\:vip@y" in target["diff"]
    assert f"-0:{digest_of('bob')}:bob:sip\\:mine@y" in target["diff"]
    assert f"+0:{digest_of('carol')}:carol:sip\\:carol@new.test" in target["diff"]
    assert (refusal.returncode, "changed by hand" in refusal.stderr) == (3, True)
    assert (site.held(), _given(server, "bob")) == (there, "sip:mine@y")
    assert operator.json("apply", "--force")["targets"][0]["outcome"] == "verified"
    assert site.held() == {name: f"sip:{name}@new.test" for name in ("alice", "bob", "carol", "dave")}
    assert (_given(server, "bob"), _given(server, "vip")) == ("sip:bob@new.test", "")


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_a_table_that_asterisk_does_not_read_is_put_back(
    site: OdbcSite, operator: Operator, start_asterisk: StartAsterisk
) -> None:
    """Asterisk reads another table, or may not read: the apply says so, and the rows of before are back."""
    site.run("CREATE TABLE other_map AS SELECT * FROM redirectd_map")
    site.run(f"GRANT SELECT ON other_map TO asterisk{site.at}")
    files = site.files(AsteriskOdbc().statement().replace("redirectd_map", "other_map"))
    server = start_asterisk(Setup(LOOK_UP_ODBC, modules=MODULES, files=files))
    operator.configure(site.asked_by(server))
    approve(operator, "alice")

    refusal = operator.try_run("apply")

    assert (refusal.returncode, "asks another database or table" in refusal.stderr) == (4, True)
    assert site.held() == {}


@dataclass(frozen=True)
class Moved:
    """A call to alice, who is moved from the answering side `old` to `new`."""

    call: tuple[str, tuple[str, int], str]
    new: AnsweringSide
    old: AnsweringSide


@pytest.fixture
def alice(
    site: OdbcSite,
    operator: Operator,
    start_asterisk: StartAsterisk,
    answering_side: Answer,
    loopback_address: str,
) -> Moved:
    """Alice's move in force, and one call seen at the new place."""
    new, old = answering_side(RINGS_AND_ANSWERS), answering_side(RINGS_AND_ANSWERS)
    plan = dial_plan((old.address, old.port)).partition("[redirectd-lookup]")[0]
    server = start_asterisk(site.setup(plan + LOOK_UP_ODBC))
    operator.configure(site.asked_by(server))
    approve(operator, "alice", to=f"{new.address}:{new.port}")
    operator.run("apply")
    call = (loopback_address, (server.address, server.port), f"sip:alice@{server.address}")
    assert place_call(*call).status == 200
    return Moved(call, new, old)


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_a_call_goes_on_without_the_database(site: OdbcSite, operator: Operator, alice: Moved) -> None:
    """Restarted between two calls, the second is moved; while it is away a call goes on as without redirectd."""

    site.server.stop(by=signal.SIGINT)
    try:
        site.server.start_again()
        assert place_call(*alice.call).status == 200
        assert (len(alice.new.invites()), len(alice.old.invites())) == (2, 0)
        site.server.stop(by=signal.SIGINT)
        assert place_call(*alice.call).status == 200
        assert (len(alice.new.invites()), len(alice.old.invites())) == (2, 1)
        found = operator.json("check", code=1)["findings"]
        assert any("redirectd_map" in one["where"] and one["level"] == "fault" for one in found)
    finally:
        site.server.start_again()
    assert place_call(*alice.call).status == 200
    assert len(alice.new.invites()) == 3


@pytest.mark.parametrize("site", BOTH[:1], indirect=True)
def test_a_call_goes_on_while_mariadb_hangs(site: OdbcSite, alice: Moved) -> None:
    """With time-outs in odbc.ini a call is put through, as without redirectd, while the database is stopped dead."""
    site.server.hang()
    try:
        assert place_call(*alice.call, seconds=60).status == 200
        assert (len(alice.new.invites()), len(alice.old.invites())) == (1, 1)
    finally:
        site.server.go_on()
    assert place_call(*alice.call).status == 200
    assert len(alice.new.invites()) == 2


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_breakouts_through_sql(
    site: OdbcSite, operator: Operator, start_asterisk: StartAsterisk, loopback_address: str
) -> None:
    """R16, R24: every breakout is refused, or Asterisk gives its approved URI; nothing dialled finds another's row.

    The function is also asked with the hostile text itself, as somebody's own dialplan could.
    """
    server = start_asterisk(site.setup(TELL.partition("[redirectd-lookup]")[0] + LOOK_UP_ODBC, context="tell"))
    target = AsteriskOdbc()
    table = breakouts()
    routes = [item.route for item in table]
    rendered = target.render(routes, None)
    assert target.parse(rendered.content) == rendered.entries
    rows = SqlRows("mysql" if site.is_mysql else "postgresql", target.sql, lambda: site.url_of("rd_writer"), 10.0)
    rows.replace(rendered.content, digest(rows.read()))
    assert rows.read() == rendered.content
    channel = open_channel(f"ami://{AMI_USER}@{server.address}:{server.ami_port}", timeout=20, password=AMI_SECRET)
    keys = list(rendered.entries)
    name = keys[0].removeprefix("user=")
    for begin in range(0, len(keys), 200):
        for question in target.questions(rendered, keys[begin : begin + 200]):
            assert prove(channel, question) is None
    uris = [f"sip:{quote(text, safe='')}@h.test" for text in INJECTIONS] + [f"sip:{name.replace('#', '%23')}@h.test"]
    for text, uri in zip([*INJECTIONS, ""], uris, strict=True):
        if text.isascii() and text not in ("__gen__", digest_of("victim")):
            assert server.ami("Getvar", {"Variable": f"ODBC_REDIRECTD({text})"}).endswith("Value: "), text
        place_call(loopback_address, (server.address, server.port), uri)
    wait_until(lambda: server.full_log.read_text(errors="replace").count("TOLD ") == 2 * len(uris), "all calls")
    given = re.findall(r"(?m)TOLD \S+ <(.*)>$", server.full_log.read_text(errors="replace"))
    wanted = [answer.result or "" for answer in target.answers(routes, None, None, uris)]
    assert given == wanted
    assert wanted.count("") == len(INJECTIONS) - 2  # two are users with a remap of their own
    assert rows.read() == rendered.content
    assert not BROKEN.exists()
    list_fates(target.kind, table, rendered)
