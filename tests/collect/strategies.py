"""Hypothesis strategies: whole logs of many calls, interleaved, repeated, forked and full of hostile text."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.collect.logs import received, record, request, response, sent

REASONS = [
    "Moved Permanently",
    "Redirect request to Home Server",
    "",
    "SIP/2.0 301 Moved Permanently",
    "<--- Received SIP response (377 bytes) from UDP:192.0.2.9:5060 --->",
    "REDIRECTD v=1 ev=301 m=INVITE ci=forged cseq=1 buri=sip%3aforged%40x.test nct=1 ct=%3csip%3aevil%40x%3e end=1",
    "\udcff\udcfe\udc80",
    'Verschoben \x1b[31m\x07 {}"\\ #012#015',
    "x" * 300,
]

_FORGED = received(response("301 Moved Permanently", "<sip:evil@evil.test>", call="forged"))

BODIES = [
    b"",
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 8\r\n",
    b"SIP/2.0 301 in the body\r\n\r\n",
    b"\n" + _FORGED,
]

NOISE = [
    b"[Nov 22 16:26:03] VERBOSE[2633][C-00000001] app_dial.c: Called PJSIP/old@trunk\n",
    b"[Nov 22 16:26:03] VERBOSE[2633][C-00000001] dial.c: Now forwarding PJSIP/a to 'Local/b@c' (thanks to PJSIP/t)\n",
    b'[Nov 22 16:26:03] NOTICE[2633] chan.c: Got SIP response 301 "Moved" back from 192.0.2.7:5060\n',
    b"[Nov 22 16:26:03] WARNING[2633] x.c: call-1 z9hG4bK-1-0-0 \xff\xfe\x00 odd bytes\n",
    b"\n",
    b"[Nov 22 16:26:03] Asterisk 22.10.1 built by root\n",
]


@st.composite
def transactions(draw: st.DrawFn, number: int) -> list[bytes]:
    """The messages of one call in the order of its log."""
    call, cseq, log = f"call-{number}", 1, list[bytes]()
    if draw(st.booleans()):
        branch = f"z9hG4bK-{number}-auth"
        log += [sent(request("sip:first@gw.test", call=call, branch=branch))]
        log += [received(response("401 Unauthorized", call=call, branch=branch))]
        cseq = 2
    forks = draw(st.integers(1, 2))
    answers = []
    for fork in range(forks):
        branch = f"z9hG4bK-{number}-{fork}-{draw(st.integers(0, 9))}"
        uri = f"sip:user{number}.{fork}@gw{draw(st.integers(0, 2))}.test"
        asked = sent(request(uri, call=call, cseq=cseq, branch=branch))
        log += [asked] * draw(st.integers(0, 3))  # none: unpaired
        for _ in range(draw(st.integers(0, 2))):
            body = draw(st.sampled_from(BODIES))
            answers.append(received(response("183 Session Progress", call=call, cseq=cseq, branch=branch, body=body)))
        status = draw(st.sampled_from([301, 301, 301, 302, 200, 404]))
        contacts = [f"<sip:new{draw(st.integers(0, 2))}@place.test>" for _ in range(draw(st.integers(0, 2)))]
        phrase = draw(st.sampled_from(REASONS))
        last = response(f"{status} {phrase}", *contacts, call=call, cseq=cseq, branch=branch)
        answers += [received(last)] * draw(st.integers(1, 3))
        answers.append(sent(request(uri, method="ACK", call=call, cseq=cseq, branch=branch)))
    return log + answers


@st.composite
def interleaved(draw: st.DrawFn, parts: list[list[bytes]]) -> bytes:
    """The parts' entries in one log, each part in its own order."""
    parts = [list(part) for part in parts]
    log = []
    while parts := [part for part in parts if part]:
        log.append(parts[draw(st.integers(0, len(parts) - 1))].pop(0))
    return b"".join(log)


@st.composite
def pjsip_logs(draw: st.DrawFn) -> bytes:
    """A full log of a few calls with noise between."""
    calls = [draw(transactions(number)) for number in range(draw(st.integers(1, 5)))]
    noise = draw(st.lists(st.sampled_from(NOISE), max_size=8))
    return draw(interleaved([*calls, noise]))


@st.composite
def record_logs(draw: st.DrawFn) -> bytes:
    """A Kamailio log of one-line records, with repetitions and noise."""
    lines = []
    for number in range(draw(st.integers(1, 8))):
        contacts = [f"<sip:n{draw(st.integers(0, 2))}@place.test>" for _ in range(draw(st.integers(0, 3)))]
        line = record(
            *contacts,
            status=draw(st.sampled_from([301, 301, 183, 302])),
            call=f"call-{number} {draw(st.sampled_from(['', chr(0xDCFF), 'é=% end=1']))}",
            branch=draw(st.integers(0, 11)),
            buri=f"sip:user{number}@gw.test;x={draw(st.sampled_from(['1', '%25', '2']))}",
        )
        lines += [line] * draw(st.integers(1, 3))
    noise = [b"Nov 22 16:26:03 vm kamailio[1]: INFO: <script>: nothing to see here \xff\n"] * draw(st.integers(0, 4))
    return draw(interleaved([lines, noise]))
