"""R11: URIs that name one registered phone or one NAT binding for a while, and no permanent place."""

from __future__ import annotations

from urllib.parse import unquote

from redirectd.sip.uri import SipUri, param_name

_BINDING_PARAMS = (
    "ob",  # RFC 5626
    "gr",  # RFC 5627: a public GRUU, too, names one device and never the user
    "rinstance",
    "alias",  # Kamailio's nathelper
    "line",  # snom, and Kamailio's topoh
    "pn-provider",  # RFC 8599
    "pn-prid",
    "pn-param",
    "fs_nat",  # FreeSWITCH
    "fs_path",
    "thinfo",  # OpenSIPS's topology hiding
    "did",
)
"""Parameters that phones, registrars and proxies put into a registered contact or a mask of one."""

_FLEXISIP_PARAM = "ctrt"
"""How the name of Flexisip's parameter begins that routes to one contact (`CtRt...`)."""

_MASKED_USERS = {"atpsh-": "Kamailio's topos", "btpsh-": "Kamailio's topos", "T~&R_": "an AudioCodes SBC"}
"""How the user of a masked contact begins, and who masks so."""


def volatile(uri: SipUri) -> str | None:
    """Why a URI is volatile, or None."""
    for name in _BINDING_PARAMS:
        if uri.has_param(name):
            return f"its parameter '{name}' marks a registered phone's contact or a mask of it"
    if any(param_name(name).startswith(_FLEXISIP_PARAM) for name, _ in uri.params):
        return "its parameter 'CtRt...' routes to one contact of Flexisip's registrar"
    user = unquote(uri.user or "")
    for beginning, writer in _MASKED_USERS.items():
        if user.startswith(beginning):
            return f"its user part is a mask of {writer}"
    host = uri.host.rstrip(".").lower()
    if host == "invalid" or host.endswith(".invalid"):
        return "its host ends in .invalid: a WebSocket client's contact or a mask (RFC 2606, RFC 7118)"
    return None
