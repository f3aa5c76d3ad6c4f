"""A 301 in a form that no dialect knows is kept and counted, never lost silently."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collect.logs import read

CORPUS = Path(__file__).parent.parent / "corpus"
ANSWER = (
    b"SIP/2.0 301 Moved Permanently\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKabcdefghijk\r\n"
    b"Call-ID: x@y\r\nCSeq: 1 INVITE\r\nContact: <sip:a@b.test>\r\nContent-Length: 0\r\n\r\n"
)


@pytest.mark.parametrize("lead", [b"", b"some tool <<<\n", b"some tool #012"])
def test_an_unknown_frame_around_a_301_is_quarantined_with_its_bytes(lead: bytes) -> None:
    """What begins a line with a 301's status line looks like one, whoever wrote it, also without a Call-ID."""
    batch = read(lead + ANSWER.replace(b"Call-ID: x@y\r\n", b"") + b">>>\n").batch
    assert [one.position for one in batch.quarantined] == [len(lead)]
    assert batch.quarantined[0].content.startswith(b"SIP/2.0 301 Moved Permanently")
    assert not batch.verdicts


@pytest.mark.parametrize("lead", [b"", b"some tool <<<\n"])
def test_a_whole_301_in_an_unknown_frame_is_plain_text(lead: bytes) -> None:
    """R7, R40: with Call-ID and CSeq it counts as an answer without its request, read as `sip-text`."""
    found = read(lead + ANSWER + b">>>\n")
    assert [rule for rule, _ in found.refused] == ["R7"]
    assert [one.answer.dialect for one in found.refusals] == ["sip-text"]
    assert found.unreadable == []


@pytest.mark.parametrize("text", [b"%% got SIP/2.0 301 back\n", b"x\nSIP/2.0 3012 Nothing\r\n\r\n"])
def test_text_that_only_speaks_of_a_301_is_none(text: bytes) -> None:
    """Neither a mention within a line nor a longer status is kept (R2)."""
    assert read(text).batch.quarantined == []


@pytest.mark.parametrize("cut", [4, 60, 159, 160, 162])
def test_an_answer_in_a_datagram_whose_beginning_is_gone_is_counted(cut: int) -> None:
    """R40: a HEP file that begins within a datagram has its answer without the frame: it is kept, and not believed."""
    data = (CORPUS / "asterisk/ast22-hep3.raw").read_bytes()
    begin = data.rindex(b"\nHEP3", 0, data.index(b"SIP/2.0 301")) - 8
    found = read(data[begin + cut :])
    whole = read(data[data.index(b"\nHEP3", begin + 9) - 8 :])
    status = data.index(b"SIP/2.0 301") - begin - cut
    assert [one.position for one in found.batch.quarantined] == [status]
    assert found.remaps == whole.remaps
    assert found.sightings == whole.sightings
