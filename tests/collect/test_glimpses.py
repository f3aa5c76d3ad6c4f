"""A 183 that is told at a glance from a terminal's output or a sipdump is what the ordinary reading finds there."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.dialects.asterisk_console import AsteriskConsole
from redirectd.dialects.frame import Direction, Frame
from redirectd.dialects.plain import plain_183
from redirectd.dialects.sipdump import Sipdump
from tests.collect.logs import request, response
from tests.collect.strategies import interleaved
from tests.collect.test_short_way import SDP, SPELLINGS, outcome, sizes
from tests.dialects.writers import CASES, NOISE, Writer, console, pjsip_block, sipdump

CONSOLE, SIPDUMP = AsteriskConsole(), Sipdump()
RULE = b"|" * 20 + b"\n"
PROMPT = b"\r\x1b[Kvm*CLI> \r\x1b[0K"
SIZE = re.compile(rb"\((\d+) bytes\)")
OTHERS = [writer for name, writer in CASES if name.startswith("asterisk")]


def answer(number: int, body: bytes = SDP) -> bytes:
    """A 183 of a call of its own."""
    return response("183 Session Progress", call=f"call-{number}", branch=f"z9hG4bK-{number}", body=body)


@st.composite
def blocks(draw: st.DrawFn, number: int) -> list[bytes]:
    """A 183 on a terminal: as it is, in another's body, spelled otherwise, miscounted, or written by another logger."""
    inner = console(answer(1000 + number)).log
    body = draw(st.sampled_from([b"", SDP, inner, inner.replace(b"\r\n", b"\n"), pjsip_block(inner), b"a\nb\r\n\n"]))
    message = answer(number, body)
    for plain, other in draw(st.lists(st.sampled_from(SPELLINGS), max_size=1)):
        message = message.replace(plain, other, 1)
    written = draw(st.sampled_from([console] * 4 + OTHERS))(message).log
    change = draw(st.sampled_from(["", "", "", "more", "less", "tcp", "sent", "prompt", "lead", "bare"]))
    if change in {"more", "less"}:
        by = draw(st.integers(1, 400)) * (1 if change == "more" else -1)
        written = SIZE.sub(lambda match: b"(%d bytes)" % max(0, int(match[1]) + by), written, count=1)
    changed = {
        "tcp": written.replace(b"from UDP:", b"from TCP:"),
        "sent": written.replace(b"Received", b"Transmitting", 1).replace(b"from UDP", b"to UDP", 1),
        "prompt": written.replace(PROMPT, b"", 1),
        "lead": written.replace(PROMPT, b"[Nov 22 16:41:12] ", 1),
        "bare": written.replace(b"\r\n", b"\n", draw(st.integers(1, 12))),
    }.get(change, written)
    asked = console(request(call=f"call-{number}", branch=f"z9hG4bK-{number}")).log
    return [asked] * draw(st.integers(0, 1)) + [changed] * draw(st.integers(1, 2))


@st.composite
def terminals(draw: st.DrawFn) -> bytes:
    """What a terminal showed, other programs' lines and other loggers' blocks among it."""
    calls = [draw(blocks(number)) for number in range(draw(st.integers(1, 5)))]
    line = NOISE["asterisk"]
    noise = draw(st.lists(st.sampled_from([line, line.replace(b"\n", b"\r\n"), b"Transmitting (x:\n"]), max_size=3))
    log = draw(interleaved([*calls, noise]))
    return log[draw(st.integers(0, 80)) :] if draw(st.booleans()) else log


@st.composite
def records(draw: st.DrawFn, number: int) -> list[bytes]:
    """A 183 in a sipdump: as it is, sent, without its end, with another's record in its body, or spelled otherwise."""
    inner = sipdump(answer(1000 + number)).log
    message = answer(number, draw(st.sampled_from([b"", SDP, inner, inner[:-40], RULE, RULE + inner, b"x" * 4000])))
    for plain, other in draw(st.lists(st.sampled_from(SPELLINGS), max_size=1)):
        message = message.replace(plain, other, 1)
    written = draw(st.sampled_from([sipdump] * 4 + [writer for _, writer in CASES]))(message).log
    changes = [(b"", b""), (b"tag: rcv", b"tag: snd"), (RULE, b""), (b"srcport: 5062\n", b""), (b"tag: rcv", b"tag: x")]
    asked = sipdump(request(call=f"call-{number}", branch=f"z9hG4bK-{number}")).log
    changed = written.replace(*draw(st.sampled_from(changes)), 1)
    return [asked] * draw(st.integers(0, 1)) + [changed] * draw(st.integers(1, 2))


@st.composite
def sipdumps(draw: st.DrawFn) -> bytes:
    """A sipdump that can begin within a record."""
    log = draw(interleaved([draw(records(number)) for number in range(draw(st.integers(1, 5)))]))
    return log[draw(st.integers(0, 300)) :] if draw(st.booleans()) else log


@given(terminals() | sipdumps())
@pytest.mark.parametrize("dialect", [CONSOLE, SIPDUMP], ids=lambda one: one.name)
def test_a_glimpse_is_what_the_record_holds(dialect: AsteriskConsole | Sipdump, log: bytes) -> None:
    """R3: where a 183 is told at a glance, the record read in full is that 183, received and whole."""
    for place in re.finditer(dialect.glimpsed, log):
        glimpse = dialect.glimpse(log, place.start())
        if glimpse is None:
            continue
        framed = dialect.frame(log, place.start(), final=False)
        assert isinstance(framed, Frame)
        assert (framed.direction, framed.cut) == (Direction.RECEIVED, False)
        plain = plain_183(framed.payload)
        assert plain is not None
        assert plain.identity == glimpse.identity
        assert framed.start <= glimpse.start < glimpse.message < glimpse.end <= framed.end


@given(terminals() | sipdumps(), sizes)
def test_counting_at_a_glance_comes_to_as_many(log: bytes, block: int) -> None:
    """R3: 183s are counted as the ordinary reading counts them, and all else is the same."""
    assert outcome(log, block, [], short=True, mode="count") == outcome(log, block, [], short=False, mode="count")


@pytest.mark.parametrize(("dialect", "write"), [(CONSOLE, console), (SIPDUMP, sipdump)], ids=["console", "sipdump"])
def test_a_plain_183_is_told_at_a_glance(dialect: AsteriskConsole | Sipdump, write: Writer) -> None:
    """R3: the usual record needs no reading; one within another's body is not taken for one."""
    line = NOISE["asterisk"] if dialect is CONSOLE else b""
    log = line + write(answer(1)).log + line + write(answer(2)).log + line
    told = [dialect.glimpse(log, place.start()) for place in re.finditer(dialect.glimpsed, log)]
    assert [one.identity.call_id for one in told if one] == [b"call-1", b"call-2"]
    within = line + write(answer(3, body=line + write(answer(4)).log.replace(b"\r\n", b"\n"))).log
    places = [place.start() for place in re.finditer(dialect.glimpsed, within)]
    assert [dialect.glimpse(within, at) is not None for at in places] == [dialect is CONSOLE, False]  # R40
