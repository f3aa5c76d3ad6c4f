"""What routing does with one URI, hop by hop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from redirectd.plan.effective_table import effective, matching_key
from redirectd.plan.route import Approved, EffectiveTable, RouteKind
from redirectd.plan.target import TargetAnswer
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri

_KINDS: tuple[RouteKind, ...] = ("user", "gateway")


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer for `uri`: `result` is None where nothing applies, and `reason` says why if remaps exist."""

    uri: SipUri
    result: SipUri | None
    hops: tuple[Approved, ...] = ()
    reason: str | None = None
    targets: tuple[tuple[str, str, TargetAnswer], ...] = ()
    """Name and width of each configured target, and what its server does with the URI."""


def lookup(approved: Iterable[Approved], uri: SipUri) -> Lookup:
    """Say what the routing built from `approved` does with `uri`.

    A user's remap is looked for before a gateway's; a gateway's only where the URI has no user.
    Where a conflict, a cycle or the depth keeps a URI out of the routing, its hops are given all the same.
    """
    remaps = sorted(approved, key=lambda each: each.id)
    table = effective(remaps)
    by_id = {remap.id: remap for remap in remaps}
    for kind in _KINDS:
        if kind == "gateway" and uri.user is not None:
            continue
        key = matching_key(kind, uri)
        for route in table.routes:
            if route.kind == kind and matching_key(kind, route.old) == key:
                return Lookup(uri, route.new, tuple(by_id[hop] for hop in route.ids))
        found = [each for each in remaps if each.kind == kind and matching_key(kind, each.old) == key]
        if found:
            return Lookup(uri, None, tuple(found), _why_not(table, found))
    return Lookup(uri, None)


def _why_not(table: EffectiveTable, found: list[Approved]) -> str | None:
    ids = {remap.id for remap in found}
    return next((conflict.reason for conflict in table.conflicts if ids & set(conflict.ids)), None)


def lookup_json(answer: Lookup) -> dict[str, object]:
    """Give the document of ``redirectd lookup --json``."""
    return {
        "uri": printable(str(answer.uri)),
        "result": None if answer.result is None else str(answer.result),
        "hops": [
            {"id": hop.id, "old_uri": str(hop.old), "new_uri": str(hop.new), "state": "approved"} for hop in answer.hops
        ],
        "reason": answer.reason,
        "targets": [
            {
                "name": name,
                "width": width or None,
                "result": each.result,
                "id": each.id,
                "why": None if each.why is None else printable(each.why),
            }
            for name, width, each in answer.targets
        ],
    }
