"""One OPTIONS to an address (RFC 3261 section 11): whether anybody answers there."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from dataclasses import replace

from redirectd.sip.uri import SipUri
from redirectd.targets.sockets import transport_of

PATIENCE = 2.0
"""Seconds that an answer is waited for; over UDP the request is repeated meanwhile."""

_FIRST_REPEAT = 0.5
_BLOCK = 4096


def answers_options(uri: SipUri, patience: float = PATIENCE) -> bool:
    """Send an OPTIONS to the host of a URI and say whether any SIP answer came, whatever its code."""
    transport = transport_of(uri)
    port = uri.port or (5061 if transport == "tls" else 5060)
    end = time.monotonic() + patience
    try:
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        family, _, _, _, address = socket.getaddrinfo(uri.host.strip("[]"), port, type=kind)[0]
        with socket.socket(family, kind) as plain:
            plain.settimeout(patience)
            plain.connect(address)
            sock = _over_tls(plain, uri.host) if transport == "tls" else plain
            return _asked(sock, _request(uri, transport, sock.getsockname()), end, repeat=transport == "udp")
    except OSError:
        return False


def _over_tls(plain: socket.socket, host: str) -> socket.socket:
    """Begin TLS with anybody: who answers is not asked here, and nothing secret is sent."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=host.strip("[]"))


def _asked(sock: socket.socket, request: bytes, end: float, *, repeat: bool) -> bool:
    sock.sendall(request)
    pause = _FIRST_REPEAT
    while (left := end - time.monotonic()) > 0:
        sock.settimeout(min(pause, left) if repeat else left)
        try:
            return sock.recv(_BLOCK).startswith(b"SIP/2.0 ")
        except TimeoutError:
            if repeat and end > time.monotonic():
                sock.sendall(request)
            pause *= 2
    return False


def _request(uri: SipUri, transport: str, own: tuple[object, ...]) -> bytes:
    host = f"[{own[0]}]" if ":" in str(own[0]) else str(own[0])
    params = tuple(item for item in uri.params if item[0].lower() == "transport")
    to = replace(uri, user=None, password=None, params=params, headers=None)
    lines = [
        f"OPTIONS {to} SIP/2.0",
        f"Via: SIP/2.0/{transport.upper()} {host}:{own[1]};branch=z9hG4bK{secrets.token_hex(8)};rport",
        "Max-Forwards: 70",
        f"From: <sip:redirectd@{host}>;tag={secrets.token_hex(4)}",
        f"To: <{to}>",
        f"Call-ID: {secrets.token_hex(16)}@{host}",
        "CSeq: 1 OPTIONS",
        f"Contact: <sip:redirectd@{host}:{own[1]}>",
        "Content-Length: 0",
    ]
    return ("\r\n".join([*lines, "", ""])).encode("ascii")
