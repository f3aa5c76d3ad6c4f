"""The service beside Debian's own servers under one systemd: the rights of the drop-ins, credentials, the timer."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.systemd.machine import ROOT, Machine
from tests.systemd.usual import LOG, configure, sightings, start, status

pytestmark = [pytest.mark.peer("systemd"), pytest.mark.xdist_group("systemd")]

KAMAILIO = """#!KAMAILIO
log_facility=LOG_LOCAL0
children=1
auto_aliases=no
dns=no
rev_dns=no
listen=udp:127.0.0.1:5060
loadmodule "kex.so"
loadmodule "pv.so"
loadmodule "db_text.so"
loadmodule "htable.so"
loadmodule "jsonrpcs.so"
modparam("jsonrpcs", "transport", 4)
modparam("jsonrpcs", "dgram_socket", "/run/kamailio/kamailio_rpc.sock")
modparam("db_text", "db_mode", 1)
modparam("htable", "db_url", "text:///etc/kamailio/redirectd")
modparam("htable", "htable", "redir=>size=4;dbtable=redirectd_htable;")
request_route { exit; }
"""

ASTERISK = {
    "asterisk.conf": "[options]\nverbose = 3\n[files]\nastctlgroup = asterisk\nastctlpermissions = 0660\n",
    "modules.conf": "[modules]\nautoload = no\nload = pbx_config.so\nload = func_md5.so\n",
    "logger.conf": "[general]\n[logfiles]\nfull => notice,warning,error,verbose\n",
    "manager.conf": "[general]\nenabled = yes\nbindaddr = 127.0.0.1\nport = 5038\n"
    "[redirectd]\nsecret = of-the-machine\nread = system,command,config\nwrite = system,command,config\n",
    "extensions.conf": "[general]\n[moved]\n#tryinclude redirectd/extensions_redirectd.conf\n",
}

CONFIG = f"""
node = "machine"
[schedule]
apply = ""
[policy]
trusted_peers = ["127.0.0.0/8"]
allowed_target_networks = ["127.0.0.0/8"]
[[source]]
name = "log"
path = "{LOG}"
"""

KAMAILIO_TARGET = """
[[target]]
name = "users"
kind = "kamailio-htable"
path = "/etc/kamailio/redirectd/redirectd_htable"
reload = "jsonrpc:unix:/run/kamailio/kamailio_rpc.sock"
"""

ASTERISK_TARGET = """
[[target]]
name = "trunk"
kind = "asterisk-dialplan"
width = "user"
path = "/etc/asterisk/redirectd/extensions_redirectd.conf"
reload = "{reload}"
"""


@pytest.fixture
def machine(booted: Machine, corpus: Path) -> Iterator[Machine]:
    """The machine with the corpus as its log, two approved remaps to come, and no server started."""
    log = booted.path(LOG)
    log.write_bytes((corpus / "kamailio/snippet-all-cases.log").read_bytes())
    booted.run("chown", "root:adm", LOG)
    log.chmod(0o640)
    booted.run(
        "systemctl", "reset-failed", "redirectd", "redirectd-apply", check=False
    )  # the starts counted so far, too
    yield booted
    for unit in ("redirectd-apply.timer", "redirectd-apply", "redirectd", "kamailio", "asterisk", "database"):
        booted.run("systemctl", "stop", unit, check=False)
    booted.run("systemctl", "reset-failed", check=False)
    for place in (
        "/etc/systemd/system/redirectd.service.d",
        "/etc/systemd/system/redirectd-apply.service.d",
        "/etc/systemd/system/redirectd-apply.timer.d",
        "/etc/redirectd/credentials",
        "/etc/kamailio/redirectd",
        "/etc/asterisk/redirectd",
        "/srv/postgresql",
        "/srv/mariadb",
        "/var/lib/redirectd",
    ):
        shutil.rmtree(booted.path(place), ignore_errors=True)
    booted.run("systemctl", "daemon-reload")


def grant(machine: Machine, *servers: str, more: str = "") -> None:
    """What the drop-ins say to do: the drop-ins themselves, for both services, and the folders they name."""
    for service in ("redirectd", "redirectd-apply"):
        folder = machine.path(f"/etc/systemd/system/{service}.service.d")
        folder.mkdir(exist_ok=True)
        for server in servers:
            shutil.copy(ROOT / f"systemd/drop-ins/{server}.conf", folder)
        (folder / "more.conf").write_text(f"[Service]\n{more}\n")
    for server in servers:
        machine.run("install", "-d", "-o", "redirectd", "-g", server, "-m", "2750", f"/etc/{server}/redirectd")
    machine.run("systemctl", "daemon-reload")


def approve_two(machine: Machine) -> None:
    """Reads the log by the service and approves two users' moves by hand, as an operator does."""
    start(machine)
    machine.until(lambda: sightings(machine) > 0, "the log is read")
    pending = redirectd(machine, "pending", "--json")["remaps"]
    plain = [str(remap["id"]) for remap in pending if set(remap["flags"]) <= {"unkeyed"} and remap["kind"] == "user"]
    redirectd(machine, "approve", *plain[:2], "--reason", "test")


def redirectd(machine: Machine, *words: str) -> Any:
    done = machine.run("redirectd", *words, user="redirectd")
    return json.loads(done.stdout) if "--json" in words else None


def start_kamailio(machine: Machine) -> None:
    machine.path("/etc/kamailio/kamailio.cfg").write_text(KAMAILIO)
    machine.run("systemctl", "start", "kamailio")


def start_asterisk(machine: Machine) -> None:
    for name, text in ASTERISK.items():
        machine.path(f"/etc/asterisk/{name}").write_text(text)
    machine.run("systemctl", "start", "asterisk")
    machine.run("asterisk", "-rx", "core waitfullybooted")


def test_applies_to_both_servers_with_the_rights_of_the_drop_ins(machine: Machine) -> None:
    """Both drop-ins together: files with each server's group, reloaded and verified over each server's own socket."""
    configure(machine, CONFIG + KAMAILIO_TARGET + ASTERISK_TARGET.format(reload="asterisk -rx"))
    grant(machine, "kamailio", "asterisk")
    machine.run("systemctl", "start", "redirectd-apply", check=False)  # empty files: Kamailio needs its table to start
    start_kamailio(machine)
    start_asterisk(machine)
    approve_two(machine)
    machine.run("systemctl", "start", "redirectd-apply")
    said = machine.journal("redirectd-apply")
    assert [name for name in ("users", "trunk") if not re.search(rf"^{name} .* verified$", said, re.MULTILINE)] == []
    for server, file in (("kamailio", "redirectd_htable"), ("asterisk", "extensions_redirectd.conf")):
        owner = machine.run("stat", "-c", "%U:%G", f"/etc/{server}/redirectd/{file}").stdout.strip()
        assert owner == f"redirectd:{server}"
    assert machine.run("asterisk", "-rx", "dialplan show").stdout.count("Return(sip:") == 2
    found = json.loads(machine.run("redirectd", "check", "--json", check=False).stdout)["findings"]
    assert [one["ok"] for one in found if one["where"].startswith("reload of ")] == [True, True]


def test_what_root_made_first_is_the_services(machine: Machine) -> None:
    """As in the tutorial root applies, reads and approves by hand before the service ever ran, and it goes on."""
    configure(machine, CONFIG + KAMAILIO_TARGET)
    grant(machine, "kamailio")
    machine.run("systemd-tmpfiles", "--create", "redirectd.conf")
    machine.run("redirectd", "apply", check=False)  # Kamailio needs its table to start
    start_kamailio(machine)
    machine.run("redirectd", "ingest", "--session-progress", "count", LOG)
    pending = json.loads(machine.run("redirectd", "pending", "--json").stdout)["remaps"]
    first, second = [str(one["id"]) for one in pending if set(one["flags"]) <= {"unkeyed"} and one["kind"] == "user"][
        :2
    ]
    machine.run("redirectd", "approve", first, "--reason", "test")
    machine.run("redirectd", "apply")
    start(machine)
    machine.until(lambda: status(machine)["sources"][0]["lag_bytes"] == 0, "the log is read")
    redirectd(machine, "approve", second, "--reason", "test")
    machine.run("systemctl", "start", "redirectd-apply")
    assert re.search(r"^users .* verified$", machine.journal("redirectd-apply"), re.MULTILINE)
    for file in ("/var/lib/redirectd/redirectd.db", "/etc/kamailio/redirectd/redirectd_htable"):
        assert machine.run("stat", "-c", "%U", file).stdout.strip() == "redirectd"


def test_the_timer_applies_without_a_daemon(machine: Machine) -> None:
    """redirectd-apply.timer alone: what is approved is installed when the timer comes, and by nothing else."""
    table = machine.path("/etc/kamailio/redirectd/redirectd_htable")
    configure(machine, CONFIG + KAMAILIO_TARGET)
    grant(machine, "kamailio")
    machine.run("systemctl", "start", "redirectd-apply", check=False)
    start_kamailio(machine)
    approve_two(machine)
    machine.run("systemctl", "stop", "redirectd")
    empty = table.read_text()
    folder = machine.path("/etc/systemd/system/redirectd-apply.timer.d")
    folder.mkdir()
    (folder / "often.conf").write_text("[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "redirectd-apply.timer")
    machine.until(lambda: table.read_text() != empty, "the timer came")
    machine.until(lambda: " verified" in machine.journal("redirectd-apply"), "Kamailio gave what was asked for")
    assert machine.show("redirectd-apply.timer", "LastTriggerUSec")


def test_a_credential_opens_the_manager_interface(machine: Machine) -> None:
    """A password that root alone can read reaches the service by LoadCredential=; without it the reload is refused."""
    secret = "/etc/redirectd/credentials/target-trunk-password"
    machine.run("install", "-d", "-m", "0700", "/etc/redirectd/credentials")
    machine.path(secret).write_text("of-the-machine\n")
    machine.path(secret).chmod(0o600)
    assert machine.run("cat", secret, user="redirectd", check=False).returncode != 0
    configure(machine, CONFIG + ASTERISK_TARGET.format(reload="ami://redirectd@127.0.0.1:5038"))
    grant(machine, "asterisk")
    approve_two(machine)
    start_asterisk(machine)
    assert machine.run("systemctl", "start", "redirectd-apply", check=False).returncode != 0
    assert "password" in machine.journal("redirectd-apply")
    grant(machine, "asterisk", more=f"LoadCredential=target-trunk-password:{secret}")
    machine.run("systemctl", "start", "redirectd-apply")
    assert "of-the-machine" not in machine.journal("redirectd-apply")
    assert machine.run("asterisk", "-rx", "dialplan show").stdout.count("Return(sip:") == 2


@pytest.mark.parametrize(("server", "encrypted"), [("postgresql", False), ("mariadb", True)])
def test_a_credential_opens_the_database(machine: Machine, server: str, *, encrypted: bool) -> None:
    """A database on this host by a password from a credential, also one encrypted with the host's key."""
    url = start_database(machine, server)
    folder = "/etc/redirectd/credentials"
    machine.run("install", "-d", "-m", "0700", folder)
    configure(machine, f'{CONFIG}[database]\nurl = "{url}"\n')
    grant(machine)
    if encrypted:
        words = (
            f"echo of-the-machine | systemd-creds encrypt --name database-password - {folder}/database-password.cred"
        )
        setting = f"LoadCredentialEncrypted=database-password:{folder}/database-password.cred"
    else:
        words = f"umask 077; echo of-the-machine >{folder}/database-password"
        setting = f"LoadCredential=database-password:{folder}/database-password"
    machine.run("sh", "-c", words)
    machine.run("systemctl", "start", "redirectd", check=False)
    assert machine.until(lambda: database(machine)["ok"] is False, "it is refused without the password")
    machine.run("systemctl", "stop", "redirectd")
    machine.run("env", "REDIRECTD_DATABASE_PASSWORD=of-the-machine", "redirectd", "db", "upgrade", user="redirectd")
    grant(machine, more=setting)
    start(machine)
    machine.until(lambda: sightings(machine) > 0, "the log is read into it")
    assert database(machine)["ok"]
    assert "of-the-machine" not in json.dumps(status(machine)) + machine.journal()


def database(machine: Machine) -> dict[str, Any]:
    shown: dict[str, Any] = status(machine)["database"]
    return shown


def start_database(machine: Machine, server: str) -> str:
    """A server that wants a password, as a unit of the machine; its URL without the password."""
    machine.run("systemctl", "reset-failed", check=False)
    if server == "postgresql":
        (programs,) = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[-1:]
        machine.run("install", "-d", "-o", "postgres", "-m", "0700", "/srv/postgresql")
        machine.path("/srv/password").write_text("of-the-machine\n")
        create = [str(programs), "-D", "/srv/postgresql", "-U", "redirectd", "-A", "scram-sha-256", "--no-sync"]
        machine.run(*create, "--pwfile=/srv/password", user="postgres")
        serve = [str(programs.with_name("postgres")), "-D", "/srv/postgresql", "-p", "15432", "-k", "/srv/postgresql"]
        machine.run("systemd-run", "--unit=database", "--uid=postgres", *serve)
        return "postgresql+psycopg://redirectd@127.0.0.1:15432/postgres"
    machine.run("install", "-d", "-o", "mysql", "-m", "0700", "/srv/mariadb")
    machine.run("mariadb-install-db", "--no-defaults", "--datadir=/srv/mariadb", "--user=mysql", "--skip-test-db")
    machine.path("/srv/init.sql").write_text(
        "CREATE DATABASE redirectd;\nCREATE USER redirectd@'%' IDENTIFIED BY 'of-the-machine';\n"
        "GRANT ALL ON redirectd.* TO redirectd@'%';\n"
    )
    serve = ["mariadbd", "--no-defaults", "--datadir=/srv/mariadb", "--user=mysql", "--bind-address=127.0.0.1"]
    serve += ["--port=13306", "--socket=/srv/mariadb/s", "--init-file=/srv/init.sql", "--skip-name-resolve"]
    machine.run("systemd-run", "--unit=database", *serve)
    return "mysql+pymysql://redirectd@127.0.0.1:13306/redirectd"


def test_init_installs_the_service(machine: Machine) -> None:
    """`init --systemd --run` alone gives the user, the folders with each server's group, and a unit that starts."""
    shown = machine.run("redirectd", "init", "--systemd", "--run").stdout
    try:
        assert "install -d -o redirectd -g kamailio -m 2750 /etc/kamailio/redirectd" in shown
        owner = machine.run("stat", "-c", "%U:%G %a", "/etc/kamailio/redirectd").stdout.strip()
        assert owner == "redirectd:kamailio 2750"
        assert machine.show("redirectd", "FragmentPath") == "/etc/systemd/system/redirectd.service"
        assert "redirectd.service.d/kamailio.conf" in machine.show("redirectd", "DropInPaths")
        start(machine)
    finally:
        machine.run("systemctl", "stop", "redirectd")
        for unit in machine.path("/etc/systemd/system").glob("redirectd*.*"):
            if unit.is_file():
                unit.unlink()
