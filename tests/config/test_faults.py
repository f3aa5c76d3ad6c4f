"""Every fault of a configuration file is told at once, with its file, line, key, reason and mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from redirectd.config.load import parse
from redirectd.errors import ConfigError

FILE = Path("/etc/redirectd/redirectd.toml")


def faults(text: str) -> dict[str, ConfigError]:
    """The faults of a text, by the line and key they name."""
    with pytest.raises(ConfigError) as caught:
        parse(text, FILE)
    found = {fault.where.removeprefix(f"{FILE}:"): fault for fault in caught.value.faults}
    assert all(isinstance(fault, ConfigError) and fault.why and fault.what_to_do for fault in found.values())
    return found  # type: ignore[return-value]  # asserted above


def test_all_faults_at_once() -> None:
    """Faults of single keys, of keys that don't go together and of unknown keys come in one go, in order of lines."""
    text = """\
nod = "x"
[database]
url = 5
[[source]]
name = "a"
timezone = "Europe/Berln"
[[source]]
name = "a"
kind = "hep"
listen = "somewhere"
[policy]
trusted_peers = ["192.0.2.1/24"]
revalidate_after = "1 year"
[schedule]
apply = "61 * * * *"
[[target]]
name = "d"
kind = "kamailio-dispatchr"
path = "/tmp/x"
"""
    assert list(faults(text)) == [
        "1: nod",
        "3: database.url",
        "4: source[0].path",
        "5: source[0].name",
        "6: source[0].timezone",
        "8: source[1].name",
        "10: source[1].listen",
        "12: policy.trusted_peers[0]",
        "13: policy.revalidate_after",
        "15: schedule.apply",
        "18: target[0].kind",
    ]


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ('[policy]\ntrusted_peer = ["192.0.2.1"]', "2: policy.trusted_peer", '"trusted_peers"'),
        ('[[source]]\nname = "a"\npath = "/x"\ntimezon = "UTC"', "4: source[0].timezon", '"timezone"'),
        ("[limit]\nmax_changes = 1", "1: limit", '"limits"'),
        (
            '[[target]]\nname = "t"\nkind = "kamailio-htable"\npath = "/x"\ntabel = "redir"',
            "5: target[0].tabel",
            '"table"',
        ),
        (
            '[[target]]\nname = "t"\nkind = "kamailio-htabel"\npath = "/x"',
            "3: target[0].kind",
            '"kamailio-htable"',
        ),
    ],
)
def test_misspelt_key_gets_nearest(text: str, place: str, hint: str) -> None:
    """A misspelt key or kind is answered with the nearest one that exists."""
    assert f"did you mean {hint}?" in faults(text)[place].what_to_do


def test_kind_decides_keys() -> None:
    """A source's keys must be those of its kind, and what its kind needs must be there."""
    text = (
        '[[source]]\nname = "j"\nkind = "journal"\npath = "/x"\n[[source]]\nname = "h"\nkind = "hep"\nunits = ["k"]\n'
    )
    assert list(faults(text)) == [
        "1: source[0].units",
        "4: source[0].path",
        "5: source[1].listen",
        "8: source[1].units",
    ]


def test_two_targets_one_file() -> None:
    """Two targets that write one file are refused: each would undo the other."""
    one = '[[target]]\nname = "{0}"\nkind = "kamailio-htable"\npath = "/x"\n'
    assert list(faults(one.format("a") + one.format("b"))) == ["4: target[0].path", "8: target[1].path"]


def test_incomplete_auto_approve() -> None:
    """R29: a rule for automatic approval must name all of its conditions."""
    found = faults('[policy.auto_approve]\npeers = ["192.0.2.1"]\nmin_calls = 3\n')
    assert list(found) == ["1: policy.auto_approve.min_age", "1: policy.auto_approve.allowed_domains"]


def test_one_table_where_several_go() -> None:
    """`[source]` instead of `[[source]]` says so in TOML's terms."""
    assert "[[source]]" in faults('[source]\nname = "a"')["1: source"].what_to_do


def test_broken_toml_names_the_line() -> None:
    """A text that is not TOML is one fault, with its line."""
    with pytest.raises(ConfigError) as caught:
        parse('[policy]\ntrusted_peers = ["192.0.2.1"\nregion = "DE"\n', FILE)
    assert caught.value.where.startswith(f"{FILE}:3")
    assert caught.value.exit_code == 2


def test_password_in_reload_is_not_shown() -> None:
    """A secret that stands where it should not is masked in the fault about it."""
    text = '[[target]]\nname = "a"\nkind = "asterisk-dialplan"\npath = "/x"\nreload = "telnet://me:secret@host"\n'
    found = faults(text)["5: target[0].reload"]
    assert "secret" not in found.why + found.what_to_do
    assert "***" in found.why


def test_key_of_a_multi_line_list() -> None:
    """A fault inside a list over several lines names the line where the list begins."""
    text = '[policy]\ntrusted_peers = [\n  "192.0.2.0/24",\n  "nonsense",\n]\n'
    assert list(faults(text)) == ["2: policy.trusted_peers[1]"]


def test_value_where_a_table_belongs() -> None:
    """A single value in a table's place is told with the header to write, not with names of the program's classes."""
    found = faults('database = "x"\ntarget = ["y"]\n[policy]\nauto_approve = true\n')
    assert {place: fault.what_to_do for place, fault in found.items()} == {
        "1: database": "write [database] and its keys below",
        "2: target[0]": "write [[target]] and its keys below",
        "4: policy.auto_approve": "write [policy.auto_approve] and its keys below",
    }
    assert {fault.why for fault in found.values()} == {"it is a table, not a single value"}
