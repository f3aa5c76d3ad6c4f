"""R11: URIs that name one registered phone or one NAT binding for a while, and no permanent place."""

from __future__ import annotations

from redirectd.sip.uri import SipUri

_BINDING_PARAMS = ("ob", "rinstance", "alias", "line")
"""Parameters that phones and registrars put into a registered contact (RFC 5626, Kamailio's nathelper, topoh)."""

_TOPOS_USERS = ("atpsh-", "btpsh-")
"""How Kamailio's topos begins the user of a contact it masks."""


def volatile(uri: SipUri) -> str | None:
    """Why a URI is volatile, or None."""
    for name in _BINDING_PARAMS:
        if uri.has_param(name):
            return f"its parameter '{name}' marks a registered phone's contact or a mask of it"
    if uri.has_param("gr") and not uri.param("gr"):
        return "it is a temporary GRUU (RFC 5627)"
    if uri.user is not None and uri.user.startswith(_TOPOS_USERS):
        return "its user part is a mask of Kamailio's topos"
    host = uri.host.rstrip(".").lower()
    if host == "invalid" or host.endswith(".invalid"):
        return "its host ends in .invalid: a WebSocket client's contact or a mask (RFC 2606, RFC 7118)"
    return None
