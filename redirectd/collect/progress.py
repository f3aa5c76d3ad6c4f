"""R3: what one 183 Session Progress tells; it is logged and does nothing else."""

from __future__ import annotations

from redirectd.collect.answer import Answer
from redirectd.collect.batch import SessionProgress
from redirectd.sip.sdp import media_summary
from redirectd.sip.text import printable, to_bytes


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
    return SessionProgress(
        request_uri=printable(answer.request_uri or "", 500),
        call_id=printable(answer.call_id, 300),
        peer=str(answer.peer) if answer.peer else "",
        sdp=is_sdp,
        media=tuple(media._asdict() for media in media_summary(body)) if is_sdp else (),
        reliable="100rel" in [token.strip() for token in require.split(",")],
        seen_at=answer.seen_at,
    )
