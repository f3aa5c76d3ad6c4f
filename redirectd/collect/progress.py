"""R3: what one 183 Session Progress says; it is logged and does nothing else."""

from __future__ import annotations

from datetime import datetime

from redirectd.collect.answer import Answer
from redirectd.collect.batch import SessionProgress
from redirectd.dialects.frame import Heard
from redirectd.dialects.plain import Identity
from redirectd.sip.sdp import media_summary
from redirectd.sip.text import printable, to_bytes, to_text


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
    peer = str(answer.peer) if answer.peer else ""
    return _progress(answer.request_uri, answer.call_id, peer, answer.seen_at, body if is_sdp else b"", require)


def plain_progress(
    identity: Identity, heard: Heard, request_uri: str | None, seen_at: datetime | None
) -> SessionProgress:
    """The same of one that was read by a short way."""
    require = to_text(heard.require).lower() if heard.require else ""
    return _progress(request_uri, to_text(identity.call_id), heard.peer, seen_at, heard.sdp, require)


def _progress(
    request_uri: str | None, call_id: str, peer: str, seen_at: datetime | None, sdp: bytes, require: str
) -> SessionProgress:
    return SessionProgress(
        request_uri=printable(request_uri or "", 500),
        call_id=printable(call_id, 300),
        peer=peer,
        sdp=bool(sdp),
        media=tuple(media._asdict() for media in media_summary(sdp)) if sdp else (),
        reliable="100rel" in require and "100rel" in [token.strip() for token in require.split(",")],
        seen_at=seen_at,
    )
