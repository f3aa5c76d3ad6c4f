"""How long a caller waited for an answer: from the request's time to the answer's, where the log has both."""

from __future__ import annotations

import pytest

from tests.collect.logs import read, received, record, request, response, sent

NEW = "<sip:new@place.test>"


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("1795364763.003456", 120),
        ("1795364763.123456", 0),
        ("1795364764.000000", None),
        ("1795364463.123456", None),
        ("<null>", None),
        ("", None),
        ("9" * 40, None),
        ("soon", None),
    ],
)
def test_a_record_with_the_time_of_its_request(asked: str, waited: int | None) -> None:
    """Milliseconds from `rt` to `ts`; None where it is not told, no time, after the answer, or beyond Timer C."""
    [learnt] = read(record(NEW, end=f" rt={asked} end=1")).learnt
    assert learnt.answer.waited_ms == waited
    assert learnt.answer.extra == {}


def test_messages_with_dates() -> None:
    """From the date of the request in the log to that of its answer."""
    log = sent(request(), stamp="2026-11-22 16:26:03.250") + received(
        response("301 Moved", NEW), stamp="2026-11-22 16:26:03.700"
    )
    [learnt] = read(log).learnt
    assert learnt.answer.waited_ms == 450
