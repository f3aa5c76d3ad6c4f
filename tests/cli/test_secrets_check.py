"""`check` on secrets: who may read or change a key or a password, and whether both copies of a key agree."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from redirectd.cli.checks.as_user import Finding, Level
from redirectd.cli.checks.secrets_check import check_record_keys, check_secrets
from redirectd.cli.recordkey import make_copies
from redirectd.config.load import load
from redirectd.config.model import Config
from tests.cli.checked_setup import CheckedSetup
from tests.cli.conftest import Cli

root = pytest.mark.skipif(os.geteuid() != 0, reason="the files are to be root's")


@pytest.fixture
def keyed(tmp_path: Path) -> tuple[Config, Path, Path]:
    """A configuration with a record key, its file and Kamailio's copy, as `init` makes them."""
    own, copy = tmp_path / "record.key", tmp_path / "kamailio" / "redirectd-key.cfg"
    copy.parent.mkdir()
    make_copies(own, copy)
    file = tmp_path / "redirectd.toml"
    file.write_text(f'[[source]]\nname = "k"\npath = "/var/log/k"\nrecord_keys = ["{own}"]\n')
    return load(file), own, copy


def ill(keyed: tuple[Config, Path, Path]) -> list[Finding]:
    """What is not well about the keys; no text of it may show a key."""
    config, own, copy = keyed
    found = list(check_record_keys(config, copy))
    shown = " ".join(f"{one.where} {one.why} {one.what_to_do}" for one in found)
    for file in (own, copy):
        if file.exists():
            assert not any(word in shown for word in file.read_text().split() if len(word.strip('";')) == 64)
    return [one for one in found if not one.ok]


@root
def test_r39_two_equal_keys_in_order_are_well(keyed: tuple[Config, Path, Path]) -> None:
    """R39: what `init` makes has nothing to mend."""
    assert ill(keyed) == []


@root
@pytest.mark.parametrize(
    ("mode", "owner", "why"),
    [(0o644, 0, "may read it"), (0o660, 0, "may change it"), (0o640, 65534, "may change it"), (0o602, 0, "may change")],
)
@pytest.mark.parametrize("which", [1, 2])
def test_r39_whoever_could_forge_records_is_named(
    keyed: tuple[Config, Path, Path], which: int, mode: int, owner: int, why: str
) -> None:
    """R39: nobody but root may change either copy, and nobody but its group may read it."""
    file = keyed[which]
    assert isinstance(file, Path)
    file.chmod(mode)
    os.chown(file, owner, 0)
    (found,) = ill(keyed)
    assert (found.level, str(file) in found.where, why in found.why) == (Level.FAULT, True, True)
    assert f"chmod 0640 {file}" in found.what_to_do


@root
def test_r39_another_key_in_kamailio_is_a_fault(keyed: tuple[Config, Path, Path]) -> None:
    """R39: with a key of its own all of Kamailio's records would count as forged; a missing or torn one is named."""
    _, own, copy = keyed
    own.write_text("0" * 64 + "\n")
    assert "count as forged" in ill(keyed)[0].why
    copy.write_text("# nothing\n")
    assert "64 hex digits" in ill(keyed)[0].why
    copy.unlink()
    assert (ill(keyed)[0].level, "no proof" in ill(keyed)[0].why) == (Level.WARNING, True)
    own.unlink()
    assert "can't be read: No such file" in ill(keyed)[0].why


@root
def test_r39_an_unreadable_key_is_a_fault_by_name(setup_with_key: CheckedSetup) -> None:
    """R39: the service's user that may not read the key is told so, and the check goes on."""
    found = [one for one in setup_with_key.ill(user=65534) if "record.key" in one["where"]]
    assert [(one["level"], "Permission denied" in one["why"]) for one in found] == [("fault", True)]


@pytest.fixture
def setup_with_key(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckedSetup]:
    """A sound setup with a key that root alone may read."""
    monkeypatch.setenv("TZ", "")
    with tempfile.TemporaryDirectory(prefix="redirectd-setup-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        checked = CheckedSetup(folder, corpus)
        key = folder / "record.key"
        key.write_text("1" * 64)
        key.chmod(0o600)
        text = checked.config.read_text().replace('path = "sip.log"', 'path = "sip.log"\nrecord_keys = ["record.key"]')
        checked.config.write_text(text)
        checked.database.chmod(0o666)
        yield checked


def warnings(cli: Cli, where: str) -> list[str]:
    """Why what `where` names is warned of."""
    found = cli("check", "--json").json["findings"]
    return [one["why"] for one in found if where in one["where"] and one["level"] == "warning"]


def test_a_password_that_others_may_read_is_warned_of(cli: Cli) -> None:
    """A password file, and a configuration with a password in its URL, that every user may read."""
    secret = cli.folder / "ami.password"
    secret.write_text("not-this-one\n")
    cli.configure(
        '[[target]]\nname = "t"\nkind = "csv"\npath = "moved.csv"\nreload = "none"\npassword_file = "ami.password"\n'
    )
    secret.chmod(0o644)
    assert any("every user" in why and "not-this-one" not in why for why in warnings(cli, "ami.password"))
    secret.chmod(0o640)
    assert warnings(cli, "ami.password") == []


def test_the_password_of_a_targets_database_is_looked_at(cli: Cli) -> None:
    """Its own file, and a configuration with it in the target's URL, that every user may read."""
    secret = cli.folder / "db.password"
    secret.write_text("not-this-one\n")
    target = '[[target]]\nname = "t"\nkind = "kamailio-htable"\nreload = "none"\n'
    place = "redirectd{}@127.0.0.1:1/kamailio"
    cli.configure(f'{target}database = "mysql+pymysql://{place.format("")}"\ndatabase_password_file = "db.password"\n')
    secret.chmod(0o644)
    [found] = [one for one in check_secrets(load(cli.config)) if "database_password_file" in one.where]
    assert "every user" in found.why
    cli.configure(f'{target}database = "mysql+pymysql://{place.format(":s3cret")}"\n')
    cli.config.chmod(0o644)
    [found] = [one for one in check_secrets(load(cli.config)) if "target t, database" in one.where]
    assert "every user" in found.why
    assert "s3cret" not in cli("check", code=1).out


def test_who_trusts_everybody_is_warned(cli: Cli) -> None:
    """R26: 0.0.0.0/0 and ::/0, also as two halves, among trusted peers and the senders of a HEP listener."""
    text = cli.config.read_text().replace('["127.0.0.0/8"]\nallowed', '["0.0.0.0/1", "128.0.0.0/1", "::/0"]\nallowed')
    cli.config.write_text(
        text + '[[source]]\nname = "h"\nkind = "hep"\nlisten = "127.0.0.1:39061"\nallowed_senders = ["0.0.0.0/0"]\n'
    )
    assert len([why for why in warnings(cli, "policy.trusted_peers") if "whole internet" in why]) == 2
    assert any("whole internet" in why for why in warnings(cli, "source h, allowed_senders"))


def test_r39_records_without_a_proof_ask_for_the_upgrade(cli: Cli) -> None:
    """R39: v=1 in the log, and approved remaps known only from it, name `redirectd snippet kamailio`."""
    log = cli.corpus / "kamailio/snippet-all-cases.log"
    cli.configure(f'[[source]]\nname = "k"\npath = "{log}"\ntimezone = "UTC"\n')
    cli("ingest", "--session-progress", "count", log)
    [first] = [one for one in cli("pending", "--json").json["remaps"] if one["flags"] == ["unkeyed"]][:1]
    assert first["needs"] == ["reason"]
    refused = cli("approve", first["id"], code=3)
    assert f"redirectd approve {first['id']} --reason" in refused.err
    cli("approve", first["id"], "--reason", "asked the carrier")
    found = cli("check", "--json").json["findings"]
    asked = [one for one in found if "snippet kamailio" in one["what_to_do"] and one["level"] == "warning"]
    assert len(asked) == 2
    assert any(str(first["id"]) in one["why"] for one in asked)


def test_a_database_that_others_may_read_is_warned_of(cli: Cli) -> None:
    """An SQLite file of mode 0644, as older versions or a copy made it, holds call records."""
    cli.ingest("kamailio/snippet-all-cases.log")
    database = cli.folder / "redirectd.db"
    database.chmod(0o644)
    (why,) = (one for one in warnings(cli, "redirectd.db") if "every user" in one)
    assert "mode 0644" in why
    database.chmod(0o640)
    assert not any("every user" in one for one in warnings(cli, "redirectd.db"))
