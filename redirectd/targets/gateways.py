"""Gateway moves in a file of the operator: which addresses move, and the file with those alone replaced.

When is an address the gateway that moved? By scheme, host, port and transport, with the defaults of RFC 3263
section 4 and no others: without a transport it is UDP (TLS for sips) if the host is an address or a port is
named, and an address without port has 5060 (5061 for TLS). A host *name* without a port goes through SRV, so
``sip:gw.example`` and ``sip:gw.example:5060`` are two gateways. Users and other parameters do not count, and
stay as the operator has them; but where there is a ``maddr``, that is where requests go, and the host says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from redirectd.plan.route import Route
from redirectd.plan.target import CannotCarryError, Refusal, Rendered, TargetAnswer, token_of
from redirectd.sip.uri import SipUri, canonical_host, ip_address, param_name, parse_uri
from redirectd.targets.project import Projection, project
from redirectd.targets.uritext import KAMAILIO, checked, write_uri


@dataclass(frozen=True, slots=True)
class GatewaySpan:
    """A gateway's URI in a file, at `content[start:end]` of line `line`, which can grow by `room` bytes."""

    line: int
    uri: SipUri
    start: int
    end: int
    room: int


def gateway_of(uri: SipUri) -> str:
    """Name the gateway that a URI leads to; equal for two URIs if, and only if, RFC 3263 makes them one."""
    numeric = ip_address(uri.host) is not None
    transport = uri.transport
    if transport is None and (numeric or uri.port is not None):
        transport = "tls" if uri.scheme == "sips" else "udp"
    port = uri.port
    if port is None and numeric:
        port = 5061 if transport in {"tls", "wss"} or uri.scheme == "sips" else 5060
    return f"{uri.scheme}:{canonical_host(uri.host)}:{port or 'SRV'};transport={transport or 'NAPTR'}"


def project_gateways(routes: Sequence[Route]) -> Projection:
    """Give the new address of each gateway, without `incoming`, since nobody asks for a gateway but us."""
    return project(routes, "gateway", "request-uri", lambda uri: (gateway_of(checked(uri)),), _address)


def _address(new: SipUri) -> str:
    write_uri(new, KAMAILIO)  # what no file can carry is refused, though only the address is taken
    transport = [item for item in new.params if param_name(item[0]) == "transport"]
    return write_uri(SipUri(new.scheme, None, None, new.host, new.port, tuple(transport)), KAMAILIO)


def rewrite(
    base: bytes, places: Iterable[GatewaySpan], moves: Mapping[str, str], *, escape_semicolons: bool = False
) -> tuple[bytes, dict[str, str]]:
    """Give the base with its gateways moved, and the gateways that could not be, with the reason."""
    unmoved = dict.fromkeys(moves, "no destination in the base list is this gateway")
    edits: list[tuple[GatewaySpan, str, bytes]] = []
    for place in places:
        gateway = gateway_of(place.uri)
        if gateway in unmoved and place.uri.has_param("maddr"):
            unmoved[gateway] = f"line {place.line} of the base list sends it to another place, its maddr"
        elif gateway in moves and not place.uri.has_param("maddr"):
            text = _moved(place.uri, moves[gateway])
            edits.append((place, gateway, text.replace(b";", b"\\;") if escape_semicolons else text))
            unmoved.pop(gateway, None)
    for place, gateway, text in edits:
        if len(text) - (place.end - place.start) > place.room:
            unmoved[gateway] = f"line {place.line} of the base list would be longer than the server reads"
    parts: list[bytes] = []
    at = 0
    for place, gateway, text in edits:
        if gateway not in unmoved:
            parts += [base[at : place.start], text]
            at = place.end
    return b"".join([*parts, base[at:]]), unmoved


def rendered_over(
    content: bytes, entries: Mapping[str, str], found: Projection, routes: Sequence[Route], unmoved: Mapping[str, str]
) -> Rendered:
    """Give the file `content` with these entries; routes of gateways that could not be moved are refused by name."""
    refused = [
        Refusal(route.id, unmoved[gateway])
        for route in routes
        if route.kind == "gateway" and (gateway := gateway_of(route.old)) in unmoved
    ]
    refused = [*found.refused, *refused]
    left_out = {each.id for each in refused}
    carried = [number for number in found.carried if number not in left_out]
    return Rendered(content, entries, tuple(refused), found.conflicts, token_of(entries), carried)


def gateway_answers(rendered: Rendered, routes: Sequence[Route], texts: Sequence[str]) -> Sequence[TargetAnswer]:
    """Say where the server sends what it sent to the gateways `texts`; of a URI with a user, that it knows none."""
    moves = project_gateways(routes).entries
    return [_answer(rendered, routes, moves, text) for text in texts]


def _answer(rendered: Rendered, routes: Sequence[Route], moves: Mapping[str, str], text: str) -> TargetAnswer:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    if uri.user is not None:
        return TargetAnswer(None, None, "it moves gateways, the addresses of a list, and not users")
    owners = {each.id: each for each in routes if each.kind == "gateway" and _same_gateway(each.old, uri)}
    for refusal in rendered.refused:
        if refusal.id in owners:
            return TargetAnswer(None, None, f"remap {refusal.id} cannot be written here: {refusal.reason}")
    result = moves.get(gateway_of(uri))
    if result is None:
        reasons = (conflict.reason for conflict in rendered.conflicts if set(conflict.ids) & set(owners))
        return TargetAnswer(None, None, next(reasons, None))
    return TargetAnswer(result, next((number for number, each in owners.items() if _address(each.new) == result), None))


def _same_gateway(old: SipUri, uri: SipUri) -> bool:
    try:
        return gateway_of(checked(old)) == gateway_of(uri)
    except CannotCarryError:
        return False


def also_moved(old: SipUri) -> str:
    """Name what a move of the gateway `old` moves besides that very spelling."""
    port = "with its default port named or not" if gateway_of(old) != str(old) else "in any spelling"
    return f"every user's calls to {canonical_host(old.host)}, {port}"


def _moved(uri: SipUri, address: str) -> bytes:
    new = parse_uri(address)
    assert isinstance(new, SipUri)  # it was written by _address
    params = (*new.params, *uri.without({"transport"}).params)
    moved = replace(uri, scheme=new.scheme, host=new.host, port=new.port, params=params)
    return str(moved).encode("ascii")
