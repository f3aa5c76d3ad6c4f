"""R6, R7: the index of branches never hides a request, however many answers have none."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.collect import branches, pair
from redirectd.collect.branches import Branches
from redirectd.dialects.framing import Stretch
from tests.collect.logs import MemoryLog, read, received, request, response, sent

NOISE = b"[Nov 22 16:26:03] VERBOSE[3191][C-00000001] pbx.c: Executing [s@macro-dial:1] NoOp\n"


def unpaired(number: int) -> bytes:
    """A 301 whose request is nowhere."""
    return received(response(call=f"lost-{number}", branch=f"z9hG4bKPjlost{number:06}"))


def test_a_far_request_is_found_behind_many_that_are_not_there() -> None:
    """R6: after a hundred looks back in vain, a request megabytes before its answer is still found, on any border."""
    asked = sent(request(call="far", branch="z9hG4bKPjfaraway"))
    answer = received(response("301 Moved Permanently", "<sip:new@gw.test>", call="far", branch="z9hG4bKPjfaraway"))
    for shift in (0, 256, 300, 700):
        lead = NOISE * 3050 + b"x" * shift + b"\n"  # the request stands across or beside a chunk's border
        log = lead + asked + NOISE * 30_000 + b"".join(map(unpaired, range(100))) + answer
        found = read(log)
        assert [one.old_uri for one in found.learnt] == ["sip:old@gw.test"]
        assert len(found.refused) == 100


def test_a_request_in_the_rotated_file_is_found() -> None:
    """R6: the same where the request stands in the file before."""
    older = sent(request(call="far", branch="z9hG4bKPjfaraway")) + NOISE * 10_000
    answer = received(response("301 Moved Permanently", "<sip:new@gw.test>", call="far", branch="z9hG4bKPjfaraway"))
    found = read(b"".join(map(unpaired, range(100))) + answer, older=older)
    assert len(found.learnt) == 1


@given(
    st.lists(
        st.sampled_from([b"z9hG4bKa", b"z9hG4bKab", b"z9hG4bK", b";", b" ", b"x", b"z9hG4bKz9hG4bKa\r\n"]), max_size=60
    ),
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_what_is_said_not_to_stand_does_not(parts: list[bytes], low: int, length: int) -> None:
    """R7: what no part of the stretch is said to hold begins nowhere in it, wherever chunks end."""
    data = b"".join(parts)
    high = min(low + length, len(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branches, "CHUNK", 32)
        patch.setattr(branches, "PATIENCE", 0)
        index = Branches()
        for needle in (b"z9hG4bKa", b"z9hG4bKab", b"z9hG4bKz9hG4bKa"):
            stands = any(
                data.startswith(needle, at)
                and data[at + len(needle) : at + len(needle) + 1] in {b"", b";", b" ", b"\r"}
                and not data[:at].endswith(b"z9hG4bK")
                for at in range(low, max(low, high))
            )
            if stands:
                assert list(index.chunks(MemoryLog(data), low, high, needle))


CALLS = (b"call-0000001", b"call-0000001@192.0.2.1", b"z9hG4bKcall-id", b"call-0000001-more")


@given(
    st.lists(st.tuples(st.sampled_from(CALLS), st.sampled_from(["{}", "Call-ID: {}", "i:{}", "CALL-ID :\r\n {}"]))),
    st.sampled_from(["\r\n", ".\n", "#015#012", "\\r\\n"]),
)
def test_the_index_of_a_page_has_what_a_search_finds(written: list[tuple[bytes, str]], end: str) -> None:
    """R6: each Call-ID and branch in a header of any envelope is found as well as by searching."""
    lines = [form.format(one.decode()) for one, form in written]
    page = Stretch((end + end.join(lines) + end).encode())
    index = Branches()
    for needle in CALLS:
        for _ in range(branches.PATIENCE + 1):
            found = index.within(page, needle, 0, len(page))
        assert found is not None
        headers = [line for line in lines if line.endswith(needle.decode()) and ":" in line]
        assert len(headers) <= len(found) <= page.count(needle)
        assert all(page.startswith(needle, at) for at in found)


def test_one_branch_in_many_requests_is_read_once() -> None:
    """R6, R25: answers that share a branch with hundreds of requests cost one reading of these, not one each."""
    asked = b"".join(sent(request(call=f"decoy-{number}", branch="z9hG4bKPjshared")) for number in range(200))
    answers = [received(response(call=f"lost-{number}", branch="z9hG4bKPjshared")) for number in range(100)]
    with pytest.MonkeyPatch.context() as patch:
        read_there = Mock(side_effect=pair._read_request)
        patch.setattr(pair, "_read_request", read_there)
        found = read(asked + b"".join(answers))
    assert len(found.refused) == 100
    assert read_there.call_count == 200
