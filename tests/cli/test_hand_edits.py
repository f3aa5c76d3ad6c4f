"""A file that somebody has edited is told, shown and left alone, whichever kind of target it is of."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from redirectd.targets import target_kinds
from tests.cli.conftest import Cli

DISPATCHER_BASE = "# the operator's own\n1 sip:127.0.0.1:5060 0 5 weight=50\n1 sip:127.0.0.2:5060\n"
AOR_BASE = "[trunk]\ntype=aor\ncontact=sip:127.0.0.1:5060\ncontact=sip:127.0.0.2:5060\n"
TEMPLATE = "{% for route in routes %}{{ route.old }} {{ route.new }}\n{% endfor %}"


@dataclass(frozen=True)
class Kind:
    """What a kind needs beside name and path: keys, and what its base holds; the moves that it carries."""

    base: str = ""
    keys: str = ""
    moves: tuple[tuple[str, str], ...] = (
        ("sip:101@127.0.0.1", "sip:201@127.0.0.2"),
        ("sip:102@127.0.0.1", "sip:202@127.0.0.2"),
    )
    newest: bytes = b"202"


GATEWAYS = (("sip:127.0.0.1:5060", "sip:127.0.0.3:5060"), ("sip:127.0.0.2:5060", "sip:127.0.0.4:5060"))
KINDS: dict[str, Kind] = {
    "kamailio-dispatcher": Kind(DISPATCHER_BASE, moves=GATEWAYS, newest=b"127.0.0.4"),
    "asterisk-pjsip-aor": Kind(AOR_BASE, moves=GATEWAYS, newest=b"127.0.0.4"),
    "template": Kind(TEMPLATE, "entry = '(?m)^(?P<old>\\S+) (?P<new>\\S+)$'\n"),
}


def test_every_kind_is_here() -> None:
    """Kinds that need something more are known to this file; the others need nothing."""
    assert set(KINDS) <= set(target_kinds.kinds())


@pytest.mark.parametrize("name", [kind for kind in target_kinds.kinds() if not target_kinds.needs_database(kind)])
def test_a_hand_edit_is_left_alone(cli: Cli, name: str) -> None:
    """It ends with 3 and the file stays, whatever is approved since; the plan shows it; --force writes over it."""
    kind = KINDS.get(name, Kind())
    if kind.base:
        (cli.folder / "base").write_text(kind.base)
    width = target_kinds.width_of(name)
    keys = kind.keys + ('base = "base"\n' if kind.base else "") + (f'width = "{width}"\n' if width else "")
    cli.configure(f'[[target]]\nname = "t"\nkind = "{name}"\npath = "generated"\nreload = "none"\n{keys}')
    first, second = kind.moves
    approve(cli, *first)
    cli("apply")
    generated = cli.folder / "generated"
    edited = generated.read_bytes() + b"; mine\n"
    generated.write_bytes(edited)

    approve(cli, *second)
    assert "; mine" in cli("plan").out
    refused = cli("apply", code=3)
    assert "generated" in refused.err
    assert "--force" in refused.err
    assert generated.read_bytes() == edited
    cli("apply", "--force")
    assert b"; mine" not in generated.read_bytes()
    assert kind.newest in generated.read_bytes()


def approve(cli: Cli, old: str, new: str) -> None:
    """Brings an approved move in."""
    moves = cli.folder / "moves.csv"
    moves.write_text(f"kind,old_uri,new_uri,state\n{'user' if '@' in old else 'gateway'},{old},{new},approved\n")
    cli("import", "--approve", moves)
