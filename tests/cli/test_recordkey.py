"""R39: the key of Kamailio's records is made once, in two copies that agree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from redirectd.cli.recordkey import key_in_cfg, make_copies
from redirectd.config.secrets import read_key
from tests.cli.conftest import Cli
from tests.collect.logs import read, record


def test_both_copies_are_made_and_nothing_is_overwritten(tmp_path: Path) -> None:
    """R39: the copies hold one key, others can't read them, no line shows it, and a second run changes nothing."""
    own, other = tmp_path / "record.key", tmp_path / "redirectd-key.cfg"
    lines = make_copies(own, other)
    key = read_key(own)
    assert key is not None
    assert key_in_cfg(other) == key
    assert len(lines) == 2
    assert key.decode() not in "".join(lines)
    assert all(file.stat().st_mode & 0o007 == 0 for file in (own, other))
    before = own.read_bytes(), other.read_bytes()
    assert make_copies(own, other) == []
    assert (own.read_bytes(), other.read_bytes()) == before


def test_a_missing_copy_is_made_from_the_other(tmp_path: Path) -> None:
    """R39: either copy is restored from the one that is left, never with a new key."""
    own, other = tmp_path / "record.key", tmp_path / "redirectd-key.cfg"
    make_copies(own, other)
    for gone in (own, other):
        before = gone.read_bytes()
        gone.unlink()
        make_copies(own, other)
        assert gone.read_bytes() == before


def test_what_holds_no_key_is_left_and_named(tmp_path: Path) -> None:
    """R39: copies that differ or hold something else are left as they are, and said so."""
    own, other = tmp_path / "record.key", tmp_path / "redirectd-key.cfg"
    own.write_text("not a key\n")
    assert "left as it is" in make_copies(own, other)[0]
    assert not other.exists()
    own.unlink()
    make_copies(own, other)
    own.write_text("0" * 64 + "\n")
    assert "different keys" in make_copies(own, other)[0]


def test_init_makes_a_missing_key_beside_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    """R39: where only the key is missing, as when it is renewed, `init` makes it and keeps the configuration."""
    own, other = tmp_path / "record.key", tmp_path / "redirectd-key.cfg"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("redirectd.config.secrets.DEFAULT", own)
    monkeypatch.setattr("redirectd.cli.recordkey.make_copies", lambda: make_copies(own, other))
    configuration = tmp_path / "redirectd.toml"
    configuration.write_text("# mine\n")
    cli("init", "--output", configuration)
    first = read_key(own)
    cli("init", "--output", configuration, code=2)
    own.rename(tmp_path / "record.key.old")
    other.unlink()
    cli("init", "--output", configuration)
    assert read_key(own) == key_in_cfg(other) != first
    assert configuration.read_text() == "# mine\n"


def test_records_of_the_old_and_of_the_new_key_are_proven(tmp_path: Path) -> None:
    """R39: after a renewed key, and with several Kamailios in one log, each key proves its own records."""
    keys = []
    for name in ("record.key", "record.key.old", "sip2.key"):
        make_copies(tmp_path / name, tmp_path / f"{name}.cfg")
        keys.append(read_key(tmp_path / name))
    old, new, other = (key for key in keys if key is not None)
    log = b"".join(
        record(f"<sip:n{number}@place.test>", buri=f"sip:o{number}@gw.test", call=f"c{number}", key=key)
        for number, key in enumerate((old, new, other, b"0" * 64))
    )
    found = read(log, keys=[new, old, other])
    assert [one.old_uri for one in found.learnt] == [f"sip:o{number}@gw.test" for number in range(3)]
    assert found.batch.losses == {"forged": 1}


def test_without_kamailio_no_key_is_made(tmp_path: Path) -> None:
    """R39: a host without /etc/kamailio needs none."""
    assert make_copies(tmp_path / "record.key", tmp_path / "missing" / "redirectd-key.cfg") == []
    assert not (tmp_path / "record.key").exists()
