"""asterisk-odbc over MariaDB and PostgreSQL: a real Asterisk is called through, asked, and disturbed."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest
from sqlalchemy.engine import make_url

from redirectd.apply.control import open_channel, prove
from redirectd.apply.sql_rows import SqlRows
from redirectd.plan.planning import digest
from redirectd.targets.asterisk_name import digest_of
from redirectd.targets.asterisk_odbc import AsteriskOdbc
from tests.peers.breakouts import breakouts, list_fates
from tests.peers.conftest import Answer, StartAsterisk
from tests.peers.database_site import Site
from tests.peers.lab.asterisk import AMI_SECRET, AMI_USER, Asterisk, Setup, dial_plan
from tests.peers.lab.database import DatabaseServer
from tests.peers.lab.process import wait_until
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, moved_to, place_call
from tests.peers.operator import Operator
from tests.peers.test_targets_asterisk import BROKEN, TELL

BOTH = [
    pytest.param("mariadb", marks=pytest.mark.peer("asterisk", "odbc", "mariadb")),
    pytest.param("postgresql", marks=pytest.mark.peer("asterisk", "odbc", "postgresql")),
]
LOOK_UP_ODBC = f"\n{AsteriskOdbc().lines().beside}"
USERS = """
[[target]]
name = "users"
kind = "asterisk-odbc"
width = "user"
database = "{url}"
"""
MODULES = "preload => res_odbc_transaction.so\npreload => res_odbc.so\nload => func_odbc.so\n"


@dataclass
class OdbcSite(Site):
    """The same for Asterisk; `server` is what holds the database."""

    server: DatabaseServer = field(kw_only=True)

    @property
    def at(self) -> str:
        """What MariaDB has behind a user's name."""
        return "@'%'" if self.is_mysql else ""

    @property
    def target(self) -> str:
        """The target without a way to Asterisk."""
        return USERS.format(url=self.url_of("rd_writer"))

    def asked_by(self, server: Asterisk) -> str:
        """The target of this Asterisk."""
        return f'{self.target}reload = "asterisk -C {server.config_file} -rx"\n'

    def files(self, statement: str = AsteriskOdbc().statement()) -> dict[str, str]:
        """What an operator has pasted."""
        url = make_url(self.admin)
        driver, host = ("MariaDB Unicode", "SERVER") if self.is_mysql else ("PostgreSQL Unicode", "Servername")
        return {
            "odbc.ini": f"[redirectd]\nDriver={driver}\n{host}={url.host}\nPort={url.port}\nDatabase={url.database}\n",
            "res_odbc.conf": "[redirectd]\nenabled => yes\ndsn => redirectd\nusername => asterisk\npassword => any\n"
            "pre-connect => yes\nmax_connections => 5\n",
            "func_odbc.conf": f"[REDIRECTD]\ndsn=redirectd\nreadsql={statement}\n",
        }

    def setup(self, extensions: str, context: str = "from-caller") -> Setup:
        """An Asterisk whose lookup asks the table."""
        return Setup(extensions, context=context, modules=MODULES, files=self.files())

    def held(self) -> dict[str, str]:
        """Name and new URI of each row but the sentinel's."""
        found = self.run("SELECT dialled, new_uri FROM redirectd_map WHERE dialled_hash <> '__gen__'")
        assert len(dict(found)) == len(found)
        return dict(found)


@pytest.fixture
def site(request: pytest.FixtureRequest, operator: Operator) -> OdbcSite:
    """A database with the table that `db-target create` makes, on the server that the test names."""
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    made = OdbcSite(server.new_database(), server=server)
    for user in ("rd_writer", "asterisk"):
        if made.is_mysql:
            made.run(f"CREATE OR REPLACE USER {user}@'%' IDENTIFIED BY '{'any' if user == 'asterisk' else ''}'")
        elif not made.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{user}'"):
            made.run(f"CREATE ROLE {user} LOGIN PASSWORD 'any'")
    operator.configure(made.target)
    operator.run("db-target", "create", "users", "--admin", made.admin, "--from", "%")
    return made


def approve(operator: Operator, *users: str, to: str = "new.test") -> None:
    """Have users of old.test moved."""
    file = operator.folder / "moves.csv"
    rows = [f"sip:{user}@old.test,sip:{user}@{to},approved" for user in users]
    file.write_text("\n".join(["old_uri,new_uri,state", *rows, ""]))
    operator.run("import", "--approve", str(file))


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
    target = site.asked_by(server)
    if control == "ami":
        secret = operator.folder / "ami.secret"
        secret.write_text(AMI_SECRET)
        target = f'{site.target}reload = "ami://{AMI_USER}@{server.address}:{server.ami_port}"\n'
        target += f'password_file = "{secret}"\n'
    operator.configure(target)
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

    def faults() -> str:
        found = operator.json("check", code=operator.try_run("check").returncode)["findings"]
        about = [one for one in found if "users" in one["where"] and "reach" not in one["where"]]  # new.test: no DNS
        return "\n".join(f"{one['where']}: {one['why']}" for one in about if one["level"] != "ok")

    assert faults() == "", faults()
    reader, writer = ("asterisk@'%'", "rd_writer@'%'") if site.is_mysql else ("asterisk", "rd_writer")
    site.run(f"REVOKE SELECT ON redirectd_map FROM {reader}")
    assert "its database gives it no answer" in faults()
    site.run(f"GRANT SELECT ON redirectd_map TO {reader}", f"REVOKE DELETE ON redirectd_map FROM {writer}")
    assert "can't delete its rows" in faults()
    other = site.files(AsteriskOdbc().statement().replace("redirectd_map", "other_map"))["func_odbc.conf"]
    (server.config_file.parent / "func_odbc.conf").write_text(other)
    server.rx("module reload func_odbc.so")
    assert "does not send SELECT new_uri FROM redirectd_map" in faults()


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


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_a_call_goes_on_without_the_database(
    site: OdbcSite,
    operator: Operator,
    start_asterisk: StartAsterisk,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """Restarted between two calls, the second is moved; while it is away a call goes on as without redirectd."""
    new, old = answering_side(RINGS_AND_ANSWERS), answering_side(RINGS_AND_ANSWERS)
    plan = dial_plan((old.address, old.port)).partition("[redirectd-lookup]")[0]
    server = start_asterisk(site.setup(plan + LOOK_UP_ODBC))
    operator.configure(site.asked_by(server))
    approve(operator, "alice", to=f"{new.address}:{new.port}")
    operator.run("apply")
    call = (loopback_address, (server.address, server.port), f"sip:alice@{server.address}")
    assert place_call(*call).status == 200

    site.server.stop(by=signal.SIGINT)
    try:
        site.server.start_again()
        assert place_call(*call).status == 200
        assert (len(new.invites()), len(old.invites())) == (2, 0)
        site.server.stop(by=signal.SIGINT)
        assert place_call(*call).status == 200
        assert (len(new.invites()), len(old.invites())) == (2, 1)
        found = operator.json("check", code=1)["findings"]
        assert any("redirectd_map" in one["where"] and one["level"] == "fault" for one in found)
    finally:
        site.server.start_again()
    assert place_call(*call).status == 200
    assert len(new.invites()) == 3


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
    told = re.findall(r"(?m)TOLD \S+ <(.*)>$", server.full_log.read_text(errors="replace"))
    wanted = [answer.result or "" for answer in target.answers(routes, None, None, uris)]
    assert told == wanted
    assert wanted.count("") == len(INJECTIONS) - 2  # two are users with a remap of their own
    assert rows.read() == rendered.content
    assert not BROKEN.exists()
    list_fates(target.kind, table, rendered)


GATEWAYS = """
[[target]]
name = "gateways"
kind = "asterisk-pjsip-aor"
width = "gateway"
database = "{url}"
"""
# Asterisk's own schema, what of it matters here.
PS_AORS = (
    "CREATE TABLE ps_aors (id VARCHAR(40) NOT NULL, contact VARCHAR(255), max_contacts INTEGER, "
    "qualify_frequency INTEGER, UNIQUE (id))"
)
REALTIME = (
    "preload => res_odbc_transaction.so\npreload => res_odbc.so\npreload => res_config_odbc.so\n"
    "preload => res_sorcery_realtime.so\npreload => res_sorcery_memory_cache.so\n"
)
CACHE = "aor/cache=memory_cache,maximum_objects=100,expire_on_reload=no,object_lifetime_maximum=3600\n"
CARRIER = "[carrier]\ntype=endpoint\ncontext=nowhere\ndisallow=all\nallow=ulaw\naors=carrier\n"
DIAL_CARRIER = "[from-caller]\nexten => _X.,1,Dial(PJSIP/${EXTEN}@carrier,10)\n same => n,Hangup()\n"


def _aors(site: OdbcSite, operator: Operator, cache: str, carrier: str) -> Setup:
    """An Asterisk with realtime AORs, the table of which `db-target create` has given redirectd its rights on."""
    site.run(PS_AORS, f"INSERT INTO ps_aors (id, contact, max_contacts) VALUES ('carrier', '{carrier}', 1)")
    site.run("INSERT INTO ps_aors (id, contact) VALUES ('phone', NULL), ('other', 'sip:192.0.2.8:5060')")
    site.run(f"GRANT SELECT ON ps_aors TO asterisk{site.at}")
    operator.configure(GATEWAYS.format(url=site.url_of("rd_writer")))
    operator.run("db-target", "create", "gateways", "--admin", site.admin, "--from", "%")
    files = site.files() | {
        "sorcery.conf": f"[res_pjsip]\n{cache}aor=realtime,ps_aors\n",
        "extconfig.conf": "[settings]\nps_aors => odbc,redirectd,ps_aors\n",
    }
    return Setup(DIAL_CARRIER, pjsip=CARRIER, modules=REALTIME, files=files)


def _approve_gateway(operator: Operator, old: str, new: str) -> None:
    file = operator.folder / "moves.csv"
    file.write_text(f"old_uri,new_uri,kind,state\n{old},{new},gateway,approved\n")
    operator.run("import", "--approve", "--force", "--reason", "a test", str(file))


@pytest.mark.parametrize("cache", ["", CACHE], ids=["no cache", "cache"])
@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_a_moved_gateway_in_the_operators_aors(
    site: OdbcSite,
    cache: str,
    operator: Operator,
    start_asterisk: StartAsterisk,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """Calls go to the new gateway at once, cache or not; but for that contact the operator's rows are as they were."""
    old, new = answering_side(RINGS_AND_ANSWERS), answering_side(RINGS_AND_ANSWERS)
    was, moved = f"sip:{old.address}:{old.port}", f"sip:{new.address}:{new.port}^3Btransport=udp"
    server = start_asterisk(_aors(site, operator, cache, was))
    target = GATEWAYS.format(url=site.url_of("rd_writer")) + f'reload = "asterisk -C {server.config_file} -rx"\n'
    operator.configure(target)
    call = (loopback_address, (server.address, server.port), f"sip:100@{server.address}")
    assert place_call(*call).status == 200
    assert len(old.invites()) == 1
    _approve_gateway(operator, was, moved.replace("^3B", ";"))

    result = operator.json("apply")["targets"][0]

    assert (result["outcome"], result["error"]) == ("verified", None)
    assert site.run("SELECT id, contact, max_contacts FROM ps_aors ORDER BY id") == [
        ("carrier", moved, 1),
        ("other", "sip:192.0.2.8:5060", None),
        ("phone", None, None),
    ]
    assert place_call(*call).status == 200
    assert (len(old.invites()), len(new.invites())) == (1, 1)
    # The operator's own rows come through: what is his is no change by hand.
    site.run("UPDATE ps_aors SET contact = 'sip:192.0.2.9:5060' WHERE id = 'other'")
    site.run("INSERT INTO ps_aors (id, contact) VALUES ('added', 'sip:192.0.2.10:5060')")
    assert operator.json("apply")["targets"][0]["outcome"] in ("unchanged", "verified")
    # A moved contact that a person has changed is his, and shown, until --force.
    site.run("UPDATE ps_aors SET contact = 'sip:192.0.2.55:5060' WHERE id = 'carrier'")
    refusal = operator.try_run("apply")
    assert (refusal.returncode, "changed by hand" in refusal.stderr) == (3, True)
    assert "192.0.2.55" in operator.json("plan")["targets"][0]["diff"]
    site.run(f"UPDATE ps_aors SET contact = '{moved}' WHERE id = 'carrier'")
    [remap] = operator.json("list")["remaps"]
    operator.run("revoke", str(remap["id"]), "--reason", "moved back")
    assert operator.json("apply", "--force")["targets"][0]["outcome"] == "verified"
    assert place_call(*call).status == 200
    assert (len(old.invites()), len(new.invites())) == (2, 1)
    assert site.run("SELECT contact FROM ps_aors ORDER BY id") == [
        ("sip:192.0.2.10:5060",), (was,), ("sip:192.0.2.9:5060",), (None,),
    ]  # fmt: skip
    operator.run("rollback", str(operator.json("history")["generations"][-1]["number"]))
    assert place_call(*call).status == 200
    assert (len(old.invites()), len(new.invites())) == (2, 2)


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_aors_that_asterisk_does_not_read_are_put_back(
    site: OdbcSite, operator: Operator, start_asterisk: StartAsterisk
) -> None:
    """Asterisk has its AOR from a file: the proof fails, and the contact of before is back; `check` names rights."""
    setup = _aors(site, operator, "", "sip:192.0.2.1:5060")
    files = {**setup.files, "sorcery.conf": "", "extconfig.conf": ""}
    aor = f"{CARRIER}[carrier]\ntype=aor\ncontact=sip:192.0.2.1:5060\n"
    server = start_asterisk(Setup(DIAL_CARRIER, pjsip=aor, modules=REALTIME, files=files))
    operator.configure(
        GATEWAYS.format(url=site.url_of("rd_writer")) + f'reload = "asterisk -C {server.config_file} -rx"\n'
    )
    _approve_gateway(operator, "sip:192.0.2.1:5060", "sip:192.0.2.2:5060")

    refusal = operator.try_run("apply")

    assert (refusal.returncode, "does not take its AORs from ps_aors" in refusal.stderr) == (4, True)
    assert site.run("SELECT contact FROM ps_aors WHERE id = 'carrier'") == [("sip:192.0.2.1:5060",)]
    assert site.run("SELECT aor FROM redirectd_aor WHERE aor <> '__gen__'") == []
    site.run(f"REVOKE UPDATE (contact) ON ps_aors FROM rd_writer{site.at}")
    found = operator.json("check", code=1)["findings"]
    assert any("can't change contacts of ps_aors" in one["why"] for one in found)
