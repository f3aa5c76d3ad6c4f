"""The registry: kinds, their keys, and every fault of a configuration at once."""

from __future__ import annotations

import pytest

from redirectd.errors import ConfigError
from redirectd.plan.target import TargetOptions
from redirectd.targets import target_kinds


@pytest.mark.parametrize("kind", target_kinds.kinds())
def test_every_kind_is_built_from_its_defaults(kind: str) -> None:
    """Each kind says what it is, and explains each key of its own."""
    target = target_kinds.build(kind, TargetOptions("t", extra=NEEDED.get(kind, {})))
    assert target.kind == kind
    assert all(meaning for meaning in target_kinds.accepted_options(kind).values())
    assert isinstance(target_kinds.needs_base(kind), bool)


NEEDED: dict[str, dict[str, object]] = {
    "kamailio-dispatcher": {"base": "/etc/kamailio/base.list"},
    "asterisk-pjsip-aor": {"base": "/etc/asterisk/base.conf"},
    "template": {"base": "/etc/redirectd/t.j2", "entry": "(?P<old>.*) (?P<new>.*)"},
}


def test_an_unknown_kind_names_the_known_ones() -> None:
    """The mend lists all kinds."""
    with pytest.raises(ConfigError) as error:
        target_kinds.build("opensips", TargetOptions("t"))
    assert "kamailio-htable" in error.value.what_to_do


def test_all_faults_come_at_once() -> None:
    """A wrong match, an unknown key and a key of the wrong type are three faults of one error, each with its place."""
    options = TargetOptions("trunk", match="to", extra={"prefxi": "x", "hosts": "192.0.2.1"})
    with pytest.raises(ConfigError) as error:
        target_kinds.build("asterisk-dialplan", options)
    assert [fault.where.rpartition(", ")[2] for fault in error.value.faults] == ["match", "prefxi", "hosts"]
    assert all(fault.where.startswith("[[target]] trunk") and fault.what_to_do for fault in error.value.faults)


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        ("asterisk-dialplan", {"prefix": "a b"}),
        ("asterisk-dialplan", {"prefix": "x" * 41}),
        ("asterisk-dialplan", {"hosts": ["192.0.2.1:99999"]}),
        ("asterisk-dialplan", {"hosts": ["user@host"]}),
        ("asterisk-odbc", {"function": "redirectd"}),
        ("asterisk-odbc", {"function": "A,B"}),
        ("asterisk-odbc", {"hosts": ["user@host"]}),
        ("kamailio-htable", {"table": "a b"}),
        ("kamailio-dialplan", {"dpid": 0}),
        ("kamailio-dialplan", {"dpid": True}),
        ("kamailio-dispatcher", {}),
        ("template", {"entry": "(?P<old>.)(?P<new>.)"}),
        ("template", {"base": "t"}),
        ("template", {"base": "t", "entry": "("}),
        ("template", {"base": "t", "entry": "(?P<old>.)"}),
        ("template", {"base": "t", "entry": "(?P<old>.)(?P<new>.)", "escape": "rot13"}),
    ],
)
def test_a_value_that_a_kind_cannot_use_is_told(kind: str, extra: dict[str, object]) -> None:
    """A key's value that would end up broken in a file or command is a ConfigError."""
    with pytest.raises(ConfigError):
        target_kinds.build(kind, TargetOptions("t", extra=extra))


def test_a_dispatcher_list_has_no_incoming_match() -> None:
    """Gateways are matched by their own address; `incoming` is a fault there, not ignored."""
    with pytest.raises(ConfigError, match="incoming"):
        target_kinds.build("kamailio-dispatcher", TargetOptions("t", match="incoming", extra={"base": "b"}))
