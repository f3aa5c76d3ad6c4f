"""R3: what one 183 Session Progress tells; it is logged and does nothing else."""

from __future__ import annotations

import re
from datetime import datetime

from redirectd.collect.answer import Answer
from redirectd.collect.batch import SessionProgress
from redirectd.dialects.frame import Peer
from redirectd.dialects.plain import Plain
from redirectd.sip.sdp import media_summary
from redirectd.sip.text import printable, to_bytes, to_text

_FEATURES = re.compile(rb"\n(?:(?i:(content-type|c)|(require)|(content-length|l)))[ \t]*+:[ \t]*+([^\n]*+)")
_LENGTH = re.compile(rb"[0-9]{1,10}")


def session_progress(answer: Answer) -> SessionProgress:
    """The record of a 183, from a full message or from the one-line record (`sdp` and `rq` in it)."""
    response = answer.response
    if response is not None:
        is_sdp = "sdp" in (response.header("content-type") or "").lower() and bool(response.body)
        body = response.body
        require = ",".join(response.headers("require")).lower()
    else:
        body = to_bytes(answer.extra.get("sdp", ""))
        is_sdp = bool(body)
        require = answer.extra.get("rq", "").lower()
    return _progress(answer.request_uri, answer.call_id, answer.peer, answer.seen_at, body if is_sdp else b"", require)


def plain_progress(
    message: bytes, plain: Plain, request_uri: str | None, peer: Peer | None, seen_at: datetime | None
) -> SessionProgress:
    """The same from a plain message."""
    kind: bytes | None = None
    length: bytes | None = None
    require: list[bytes] = []
    for is_kind, is_require, _, value in _FEATURES.findall(message, 0, plain.body):
        if is_require:
            require.append(value)
        elif is_kind:
            kind = value if kind is None else kind
        elif length is None:
            length = value.strip(b" \t\r")
    body = b""
    if kind is not None and b"sdp" in kind.lower():
        end = plain.body + int(length) if length and _LENGTH.fullmatch(length) else None
        body = message[plain.body : end]
    features = to_text(b",".join(require)).lower() if require else ""
    return _progress(request_uri, to_text(plain.identity.call_id), peer, seen_at, body, features)


def _progress(
    request_uri: str | None, call_id: str, peer: Peer | None, seen_at: datetime | None, sdp: bytes, require: str
) -> SessionProgress:
    return SessionProgress(
        request_uri=printable(request_uri or "", 500),
        call_id=printable(call_id, 300),
        peer=str(peer) if peer else "",
        sdp=bool(sdp),
        media=tuple(media._asdict() for media in media_summary(sdp)) if sdp else (),
        reliable="100rel" in [token.strip() for token in require.split(",")],
        seen_at=seen_at,
    )
