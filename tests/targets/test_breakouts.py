"""The breakout table of every kind of target, made from the registry, so that none is left out (R16, R24)."""

from __future__ import annotations

import pytest

from redirectd.plan.route import RouteKind
from redirectd.plan.target import TargetOptions
from redirectd.targets import target_kinds
from tests.peers.breakouts import breakouts, fates, list_fates

TEMPLATE = b'{% for route in routes %}"{{ route.old|json }}" "{{ route.new|json }}"\n{% endfor %}'
OLD = sorted({str(item.route.old) for item in breakouts("gateway") if item.route.old.host == "192.0.2.1"})
DISPATCHER = "".join(f"1 {uri}\n" for uri in OLD).encode()
AORS = "".join(f"[a{i}]\ntype = aor\ncontact = {uri}\n" for i, uri in enumerate(OLD)).encode()

NEEDED: dict[str, tuple[RouteKind, bytes | None, dict[str, object]]] = {
    "kamailio-dispatcher": ("gateway", DISPATCHER, {"base": "base"}),
    "asterisk-pjsip-aor": ("gateway", AORS, {"base": "base"}),
    "template": (
        "user",
        TEMPLATE,
        {"base": "base", "escape": "json", "entry": '^"(?P<old>[^"\\n]*)" "(?P<new>[^"\\n]*)"$'},
    ),
}
"""What a kind for gateways, or with a base, needs; any other is given users and its defaults."""

USERS: tuple[RouteKind, bytes | None, dict[str, object]] = ("user", None, {})


@pytest.mark.parametrize("kind", target_kinds.kinds())
def test_r16_every_breakout_is_refused_or_carried_as_meant(kind: str) -> None:
    """R16, R24: each payload in each place is refused by name, or the file says just what was approved."""
    moves, base, extra = NEEDED.get(kind, USERS)
    width = target_kinds.width_of(kind)
    target = target_kinds.build(kind, TargetOptions("t", extra=extra | ({"width": width} if width else {})))
    table = breakouts(moves)

    rendered = target.render([item.route for item in table], base)

    assert target.parse(rendered.content) == rendered.entries
    assert rendered.content.isascii()
    assert not set(rendered.content) & (set(range(32)) - {10}), "a control character"
    named = {refusal.id for refusal in rendered.refused} | {i for each in rendered.conflicts for i in each.ids}
    assert set(rendered.carried) | named >= {item.route.id for item in table}
    assert set(fates(table, [rendered]).values()) >= {"refused", "carried"}
    list_fates(kind, table, rendered)
