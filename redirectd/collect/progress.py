"""R3: what one 183 Session Progress tells; it is logged and does nothing else."""

from __future__ import annotations

from redirectd.collect.answer import Answer
from redirectd.collect.batch import SessionProgress
from redirectd.sip.sdp import media_summary
from redirectd.sip.text import printable


def session_progress(answer: Answer) -> SessionProgress:
    """The record of a 183. A one-line record tells neither SDP nor 100rel; a full message does."""
    response = answer.response
    body = response.body if response is not None else b""
    kind = (response.header("content-type") or "") if response is not None else ""
    is_sdp = "sdp" in kind.lower() and bool(body)
    require = ",".join(response.headers("require")).lower() if response is not None else ""
    return SessionProgress(
        request_uri=printable(answer.request_uri or "", 500),
        call_id=printable(answer.call_id, 300),
        peer=str(answer.peer) if answer.peer else "",
        sdp=is_sdp,
        media=tuple(media._asdict() for media in media_summary(body)) if is_sdp else (),
        reliable="100rel" in [token.strip() for token in require.split(",")],
        seen_at=answer.seen_at,
    )
