"""Which file is read, what it gives, and what holds without one."""

from __future__ import annotations

import os
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from redirectd.collect.policy import EMERGENCY_NUMBERS, AutoApprove, Policy
from redirectd.config import load as loading
from redirectd.config.load import load, parse
from redirectd.config.model import DEFAULT_URL, Config
from redirectd.config.secrets import database_url
from redirectd.config.specs import passwords, target_specs
from redirectd.errors import ConfigError
from redirectd.sip.uri import in_domains

FULL = """\
[policy]
trusted_peers = ["192.0.2.0/24", "2001:db8::1"]
own_domains = ["Example.NET."]
gateways = ["GW1.carrier.example:5060", "[2001:DB8:0::1]:5080"]
denied_prefixes = ["+49 900"]
tel_gateway = "pstn.example.net"
region = "de"
revalidate_after = "1d12h"

[policy.auto_approve]
peers = ["192.0.2.10"]
min_calls = 5
min_age = "2d"
allowed_domains = ["*.example.net"]
"""


def test_policy_in_plain_values() -> None:
    """The rules get networks parsed, domains in lower case without a trailing dot, durations as such."""
    assert parse(FULL, Path("x.toml")).rules() == Policy(
        trusted_peers=(ip_network("192.0.2.0/24"), ip_network("2001:db8::1/128")),
        own_domains=frozenset({"example.net"}),
        gateways=("gw1.carrier.example:5060", "[2001:db8::1]:5080"),
        denied_prefixes=("+49900",),
        tel_gateway="pstn.example.net",
        region="DE",
        revalidate_after=timedelta(hours=36),
        auto_approve=AutoApprove(
            peers=(ip_network("192.0.2.10/32"),),
            min_calls=5,
            min_age=timedelta(days=2),
            allowed_domains=frozenset({"*.example.net"}),
        ),
    )


@pytest.mark.parametrize("named", ["evil.test", "*.evil.test"])
def test_r27_a_denied_domain_takes_all_below_it(named: str) -> None:
    """R27: what is below a domain is in it, at any depth; with `*.` the domain's own name stays allowed."""
    denied = parse(f'[policy]\ndenied_domains = ["{named}"]', Path("x.toml")).rules().denied_domains
    assert in_domains("a.b.evil.test", denied)
    assert in_domains("evil.test", denied) is (named == "evil.test")
    assert not in_domains("notevil.test", denied)


def test_emergency_numbers_by_default() -> None:
    """R22: the common emergency numbers hold unless the configuration names others."""
    assert {"112", "911", "999", "000", "110"} <= Config().rules().emergency_numbers == EMERGENCY_NUMBERS
    named = parse('[policy]\nemergency_numbers = ["110"]', Path("x.toml")).rules()
    assert named.emergency_numbers == {"110"}


def test_auto_approve_is_off_by_default() -> None:
    """R29: without the table, a person approves everything."""
    assert Config().rules().auto_approve is None


def test_order_of_the_default_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --config the system's file comes before the one in the working folder, and defaults after both."""
    system = tmp_path / "etc" / "redirectd.toml"
    monkeypatch.setattr(loading, "DEFAULT_FILES", (system, Path("redirectd.toml")))
    monkeypatch.chdir(tmp_path)
    assert load(None).file is None
    (tmp_path / "redirectd.toml").write_text('node = "here"')
    assert load(None).node == "here"
    system.parent.mkdir()
    system.write_text('node = "system"')
    assert load(None).node == "system"


def test_named_file_must_exist(tmp_path: Path) -> None:
    """A file named with --config that is not there is an error with exit code 2, never the defaults."""
    with pytest.raises(ConfigError, match="No such file") as caught:
        load(tmp_path / "missing.toml")
    assert caught.value.exit_code == 2


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    """A relative SQLite path and target path mean the same whatever the working folder is."""
    text = '[database]\nurl = "sqlite:///a.db"\n[[target]]\nname = "t"\nkind = "kamailio-htable"\npath = "out/table"\n'
    config = parse(text, tmp_path / "redirectd.toml")
    assert database_url(config, {}) == f"sqlite:///{tmp_path}/a.db"
    assert target_specs(config)[0].path == str(tmp_path / "out" / "table")


def test_path_that_is_no_utf8(tmp_path: Path) -> None:
    """R25: a folder whose name is not UTF-8 can't be in a URL: an error says so and what to do, in printable text."""
    with pytest.raises(ConfigError, match=r"h\\xf6me.*UTF-8"):
        database_url(parse('[database]\nurl = "sqlite:///a.db"\n', tmp_path / "h\udcf6me" / "redirectd.toml"), {})


def test_byte_order_mark(tmp_path: Path) -> None:
    """A file that an editor began with a byte order mark is read as the one without."""
    (tmp_path / "redirectd.toml").write_bytes(b"\xef\xbb\xbf" + b'node = "marked"\r\n')
    assert load(tmp_path / "redirectd.toml").node == "marked"


def test_default_database() -> None:
    """The contract's default is SQLite in /var/lib/redirectd."""
    assert database_url(Config(), {}) == DEFAULT_URL


def test_database_password_sources(tmp_path: Path) -> None:
    """The environment comes before the systemd credential, which comes before the file that a key names."""
    (tmp_path / "pw").write_text("from-file\nsecond line\n")
    text = f'[database]\nurl = "postgresql+psycopg://u@h/d"\npassword_file = "{tmp_path}/pw"\n'
    config = parse(text, tmp_path / "x.toml")
    assert database_url(config, {}) == "postgresql+psycopg://u:from-file@h/d"
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "database-password").write_text("from-systemd")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert ":from-systemd@" in database_url(config, environ)
    environ["REDIRECTD_DATABASE_PASSWORD"] = "from-environment"
    assert ":from-environment@" in database_url(config, environ)


@pytest.mark.parametrize("content", [None, "", "\nx"])
def test_useless_password_file(tmp_path: Path, content: str | None) -> None:
    """A password file that is missing or has an empty first line is a fault, not an empty password."""
    if content is not None:
        (tmp_path / "pw").write_text(content)
    text = '[database]\nurl = "postgresql+psycopg://u@h/d"\npassword_file = "pw"\n'
    with pytest.raises(ConfigError, match="password file"):
        database_url(parse(text, tmp_path / "x.toml"), {})


@pytest.mark.parametrize("url", ["postgres:://u:hunter2@h", "mysql+pymysql://u:hunter2@h:port/d"])
def test_bad_url_hides_its_password(url: str) -> None:
    """A URL that can't be used is shown without its password."""
    config = parse(f'[database]\nurl = "{url}"\n', Path("x.toml"))
    with pytest.raises(ConfigError) as caught:
        database_url(config, {})
    assert "hunter2" not in str(caught.value)


def test_password_of_a_target(tmp_path: Path) -> None:
    """The password of a manager interface comes from the file that the target names."""
    (tmp_path / "ami").write_text("s3cret\n")
    text = (
        '[[target]]\nname = "ast-1"\nkind = "asterisk-dialplan"\npath = "/x"\n'
        'reload = "ami://me@127.0.0.1:5038"\npassword_file = "ami"\n'
    )
    config = parse(text, tmp_path / "x.toml")
    assert passwords(config, {}) == {"ami://me@127.0.0.1:5038": "s3cret"}
    assert passwords(config, {"REDIRECTD_TARGET_AST_1_PASSWORD": "other"}) == {"ami://me@127.0.0.1:5038": "other"}


def test_target_spec_values() -> None:
    """A target's mode, timeout and control reach the plan as it takes them; its own keys reach the kind."""
    text = (
        '[[target]]\nname = "t"\nkind = "kamailio-htable"\npath = "/x/table"\ntable = "moved"\nmode = "0600"\n'
        'timeout = "3s"\nreload = "jsonrpc:unix:/run/k.sock"\n'
    )
    spec = target_specs(parse(text, Path("/x/y.toml")))[0]
    assert (spec.mode, spec.timeout, spec.control) == (0o600, 3.0, "jsonrpc:unix:/run/k.sock")
    assert [command.args for command in spec.target.reload()] == [("moved",)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(tmp_path: Path) -> None:
    """A file this user may not read says so."""
    file = tmp_path / "x.toml"
    file.write_text("")
    file.chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        load(file)


def test_not_utf8(tmp_path: Path) -> None:
    """A file in another encoding is a fault with its line."""
    file = tmp_path / "x.toml"
    file.write_bytes(b'# one\nnode = "\xe9"\n')
    with pytest.raises(ConfigError, match="UTF-8") as caught:
        load(file)
    assert caught.value.where == f"{file}:2"


@pytest.mark.parametrize("second", ["{folder}/out/../out/table", "{folder}/link"])
def test_two_targets_cannot_write_one_file(second: str, tmp_path: Path) -> None:
    """Another spelling or a symbolic link does not make another file."""
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out" / "table")
    paths = (f"{tmp_path}/out/table", second.format(folder=tmp_path))
    text = "".join(
        f'[[target]]\nname = "t{number}"\nkind = "csv"\npath = "{path}"\n' for number, path in enumerate(paths)
    )
    with pytest.raises(ConfigError, match="the file that the target t0 writes, too") as caught:
        target_specs(parse(text, tmp_path / "redirectd.toml"))
    assert "t1" in caught.value.where


def test_a_target_cannot_write_over_a_base(tmp_path: Path) -> None:
    """What a target starts from stays the operator's: written over, it would grow with each apply."""
    text = '[[target]]\nname = "gw"\nkind = "kamailio-dispatcher"\npath = "list"\nbase = "./list"\n'
    with pytest.raises(ConfigError, match="it is the base of the target gw"):
        target_specs(parse(text, tmp_path / "redirectd.toml"))
