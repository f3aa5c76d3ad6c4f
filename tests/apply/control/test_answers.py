"""Bytes and texts of answers: binrpc, kamcmd and JSON-RPC, whole, cut and wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.apply.control import AnswerError, RetryLater, jsonrpc
from redirectd.apply.control.binrpc_codec import BinRpcError, read_body, read_head, read_tail, request
from redirectd.apply.control.kamcmd import read_text
from redirectd.errors import PeerError
from redirectd.plan.target import Command

# Recorded from Kamailio 5.6.3: htable.get of a key, and two destinations of one set.
HTABLE_GET = (
    b"\x03Uitem\x00\x03Uname\x00\x91\x08__gen__\x00evalue\x00Qtok1\x00eflags\x00\x10\x02uexpire\x00aNEVER\x00\x83\x83"
)
DISPATCHER = (
    b"\x03uNRSETS\x00\x10\x01\x95\x08RECORDS\x00\x03ESET\x00\x035ID\x00\x10\x01\x95\x08TARGETS\x00\x03UDEST\x00\x03EURI"
    b"\x00\x91\x13sip:127.0.0.5:5060\x00eFLAGS\x001AX\x00\x95\tPRIORITY\x00\x00\x83UDEST\x00\x03EURI\x00\x91\x13sip:127"
    b".0.0.6:5060\x00eFLAGS\x001AX\x00\x95\tPRIORITY\x00\x00\x83\x83\x83\x83\x83"
)


def test_recorded_answers_are_read() -> None:
    """Kamailio's own bytes give the values that JSON-RPC gives, repeated members as a list."""
    assert read_body(HTABLE_GET) == [{"item": {"name": "__gen__", "value": "tok1", "flags": 2, "expire": "NEVER"}}]
    dests = [{"DEST": {"URI": f"sip:127.0.0.{i}:5060", "FLAGS": "AX", "PRIORITY": 0}} for i in (5, 6)]
    assert read_body(DISPATCHER) == [{"NRSETS": 1, "RECORDS": {"SET": {"ID": 1, "TARGETS": dests}}}]
    assert read_body(b" \x01\xf4\x91\x17command nope not found\x00") == [500, "command nope not found"]
    assert read_body(b"") == []


@given(st.integers(0, len(DISPATCHER) - 1))
def test_a_cut_answer_is_an_error(length: int) -> None:
    """No prefix of an answer is taken for a whole one."""
    if length:
        with pytest.raises(BinRpcError):
            read_body(DISPATCHER[:length])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Hostile bytes end in values or BinRpcError, never in another exception."""
    try:
        read_body(body)
    except BinRpcError:
        return


@given(
    st.from_regex(r"[a-z.]{1,30}", fullmatch=True),
    st.lists(st.one_of(st.integers(0, 2**31 - 1), st.text(st.characters(min_codepoint=1), max_size=300)), max_size=4),
)
def test_a_request_is_read_back(method: str, args: list[str | int]) -> None:
    """A packet's head tells its own length, and its body gives method and arguments back, whatever their sizes."""
    packet = request(method, tuple(args), b"\x01\x02\x03\x04")
    head = read_head(packet[:2])
    length = read_tail(head, packet[2 : 2 + head.tail], b"\x01\x02\x03\x04")
    body = packet[2 + head.tail :]
    assert len(body) == length
    assert read_body(body) == [method, *args]
    with pytest.raises(BinRpcError):
        read_tail(head, packet[2 : 2 + head.tail], b"\x01\x02\x03\x05")


def test_kamcmds_layout_is_read() -> None:
    """Nested structures, repeated members and plain lines, all values as texts."""
    text = "{\n\tNRSETS: 1\n\tRECORDS: {\n\t\tSET: {\n\t\t\tID: 1\n\t\t}\n\t\tSET: {\n\t\t\tID: 2\n\t\t}\n\t}\n}\n"
    assert read_text(text) == {"NRSETS": "1", "RECORDS": [{"SET": {"ID": "1"}}, {"SET": {"ID": "2"}}]}
    assert read_text("Ok. Reloaded.\n") == "Ok. Reloaded."
    assert read_text("{\n\tname: a\n}\n{\n\tname: b\n}\n") == [{"name": "a"}, {"name": "b"}]
    assert read_text("{\n\turi: sip:a@b:5060\n}\n") == {"uri": "sip:a@b:5060"}
    for broken in ("{\n\ta: 1\n", "{\n\tno colon\n}\n"):
        with pytest.raises(ValueError, match="does not close"):
            read_text(broken)


def test_json_errors_are_named() -> None:
    """Errors of the server, an ongoing reload, another question's answer and no JSON are told apart."""
    ask = Command("dispatcher.reload")
    assert jsonrpc.decode("w", ask, 7, b'{"jsonrpc":"2.0","result":"Ok","id":7}') == "Ok"
    with pytest.raises(RetryLater):
        jsonrpc.decode("w", ask, 7, b'{"error":{"code":500,"message":"Ongoing reload"},"id":7}')
    with pytest.raises(AnswerError) as error:
        jsonrpc.decode("w", ask, 7, b'{"error":{"code":500,"message":"evil\\n\\u001b[2J"},"id":7}')
    assert "\x1b" not in str(error.value)
    for data in (b'{"result":1,"id":8}', b"[]", b"", b'{"result":', b'{"id":7}', b"\xff\xfe"):
        with pytest.raises(PeerError):
            jsonrpc.decode("w", ask, 7, data)
