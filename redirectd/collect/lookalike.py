"""What looks like an answer (R40): a status line with Call-ID and CSeq near it, or a one-line record."""

from __future__ import annotations

import re

from redirectd.dialects.framing import Stretch, ahead

_NEAR = 4096
_CALL_ID = re.compile(rb"[\nn2\] ](?:[cC][aA][lL][lL]-[iI][dD]|i)[ \t]{0,8}:")
_CSEQ = re.compile(rb"[\nn2\] ][cC][sS][eE][qQ][ \t]{0,8}:")


def looks_like_answer(page: Stretch, at: int, end: int) -> bool:
    """Whether the place of a literal at `at`, within text that goes to `end`, looks like an answer's."""
    if not page.startswith((b"SIP/2.0 ", b"SIP\\/2.0 "), at):
        return page.startswith(b"REDIRECTD v=", at)
    stop = min(end, at + _NEAR)
    return ahead(page, _CALL_ID, at, stop) is not None and ahead(page, _CSEQ, at, stop) is not None
