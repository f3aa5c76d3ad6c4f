"""A 301 in a script author's own words: counted by its Call-ID, and nothing else."""

from __future__ import annotations

import pytest

from redirectd.dialects.frame import Incomplete, Record, Unreadable
from redirectd.dialects.kamailio_own_text import KamailioOwnText, worth_searching
from redirectd.dialects.registry import by_name, detect

HEAD = b"Nov 22 16:37:35 vm kamailio[14390]: NOTICE: <script>: "
DIALECT = KamailioOwnText()


def frame(line: bytes, mark: bytes = b"301 ") -> object:
    return DIALECT.frame(line, line.find(mark), final=True)


@pytest.mark.parametrize(
    ("line", "call_id", "method", "peer"),
    [
        (
            HEAD + b"reply 301 Moved Permanently from 192.0.2.1:5060 contact=<sip:a@b> ci=c1@h\n",
            "c1@h",
            "",
            "192.0.2.1:5060",
        ),
        (
            HEAD + b"failure_route: INVITE sip:a@b -> sip:a@c failed 301 Moved contact=<null> ci=c2\n",
            "c2",
            "INVITE",
            "",
        ),
        (
            b" 2(5106) NOTICE: <script>: NAMED rs=301 m=REGISTER ct=<sip:a@b> si=192.0.2.1 sp=5060 ci=reg1\n",
            "reg1",
            "REGISTER",
            "192.0.2.1:5060",
        ),
        (
            b"\x1b[0;39;49m\x1b[0;32;49m 1(7) NOTICE: {1 1 INVITE c3@h} <script>: reply 301 Moved ci=c3@h\n",
            "c3@h",
            "",
            "",
        ),
        (b'{"@timestamp":"2026-11-22T16:37:35Z", "message":" NOTICE: <script>: reply 301 M ci=c4"}\n', "c4", "", ""),
        (b'{"pri":"NOTICE","subsys":"xlog","native":{"function":""},"msg":"reply 301 M ci=c5"}\n', "c5", "", ""),
    ],
)
def test_a_telling_has_its_call_and_never_a_uri(line: bytes, call_id: str, method: str, peer: str) -> None:
    """R7: the Call-ID counts the call; no URI and no Contact is taken from such a line, and it is never enough."""
    record = frame(line)
    assert isinstance(record, Record)
    assert (record.call_id, record.method, str(record.peer or "")) == (call_id, method, peer)
    assert (record.enough, record.request_uri, record.contacts, record.status) == (False, None, (), 301)


@pytest.mark.parametrize(
    "line",
    [
        HEAD + b"reply 302 Moved contact=<sip:x> rs=301 ci=forged ci=real\n",
        HEAD + b'reply 200 OK contact="reply 301 x" ci=real\n',
        HEAD + b"reply 404 reply 301 from 192.0.2.1:5060 ci=real\n",
        b"Nov 22 16:37:35 vm asterisk[1]: VERBOSE[1]: Contact: <sip:a> NOTICE: <script>: rs=301 ci=x\n",
        b"Contact: <sip:a@b> rs=301 ci=x\n",
        b"Subject: NOTICE: <script>: reply 301 x ci=x\n",
        b'{"message":"<--- Contact: NOTICE: <script>: \\"reply 301 x ci=x"}\n',
        b'{"subsys":"core","native":{"function":"f"},"msg":"reply 301 M ci=c5"}\n',
        HEAD + b"reply 301 Moved from 192.0.2.1:5060\n",
        HEAD + b"reply 301 ci=a #012SIP/2.0 301 Moved#015#012Call-ID: a#015#012#015#012\n",
        HEAD + b"REDIRECTD v=1 ev=301 m=INVITE ci=a rs=301 end=1\n",
    ],
)
def test_what_a_peer_sent_can_forge_none(line: bytes) -> None:
    """R2: only a log head at the line's start and the author's first status count; Contacts and reasons do not."""
    assert frame(line, b"301 ") is None


def test_two_call_ids_are_not_guessed() -> None:
    """R7: where a Contact brings a Call-ID of its own, the line is kept as unreadable, and nothing is counted."""
    line = HEAD + b"reply 301 Moved contact=<sip:a> ci=forged ci=real\n"
    assert isinstance(frame(line), Unreadable)


@pytest.mark.parametrize(
    "line",
    [
        HEAD + b"reply 301 Moved contact=<sip:a> ci=1-14",
        b'{"message":" NOTICE: <script>: reply 301 M ci=c4',
    ],
)
def test_half_a_call_id_names_no_call(line: bytes) -> None:
    """R8: a line that is cut within its Call-ID is kept as unreadable: half of one would count a call anew."""
    assert isinstance(frame(line), Unreadable)


def test_a_line_still_being_written_waits() -> None:
    """The rest of a line can bring its Call-ID."""
    line = HEAD + b"reply 301 Moved contact=<sip:a"
    assert isinstance(DIALECT.frame(line, line.find(b"301 "), final=False), Incomplete)


def test_long_logs_without_such_lines_are_not_searched_for_them() -> None:
    """A long head without an author's own status leaves the dialect out; a short one and a forced one do not."""
    dull = HEAD + b"REDIRECTD v=1 ev=301\n"
    long = dull * (70_000 // len(dull))
    assert worth_searching(dull)
    assert not worth_searching(long)
    assert worth_searching(long + HEAD + b"x rs=200 ci=1\n")
    assert DIALECT.name not in {one.name for one in detect(long)}
    assert by_name("kamailio-text").name == DIALECT.name
