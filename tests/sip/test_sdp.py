"""What SDP says about early media (R3)."""

from hypothesis import given
from hypothesis import strategies as st

from redirectd.sip.sdp import MAX_CODECS, MAX_MEDIA, Media, media_summary


def _sdp(*lines: str, end: str = "\r\n") -> bytes:
    return "".join(line + end for line in ("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "t=0 0", *lines)).encode()


def test_r3_media_lines() -> None:
    """R3: kind, port, direction and codecs of each media line; static payloads need no rtpmap."""
    body = _sdp(
        "m=audio 37000 RTP/AVP 8 0 18 96 101",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "a=recvonly",
        "m=video 0 RTP/AVP 97",
        "a=rtpmap:97 H264/90000",
    )
    expected = (
        Media("audio", 37000, "recvonly", ("PCMA", "PCMU", "G729", "opus", "telephone-event")),
        Media("video", 0, "sendrecv", ("H264",)),
    )
    assert media_summary(body) == expected
    assert media_summary(body.replace(b"\r\n", b"\n")) == expected


def test_r3_session_direction_is_the_default() -> None:
    """R3: a direction of the session holds for each media line that has none of its own."""
    body = _sdp("a=inactive", "m=audio 4000 RTP/AVP 0", "m=video 4002/2 RTP/AVP 34", "a=sendonly")
    assert media_summary(body) == (
        Media("audio", 4000, "inactive", ("PCMU",)),
        Media("video", 4002, "sendonly", ("H263",)),
    )


def test_r3_rtpmap_beats_the_static_name() -> None:
    """R3: an rtpmap names its payload even where a static name exists; unknown dynamic ones have no name."""
    body = _sdp("m=audio 4000 RTP/AVP 0 9 120", "a=rtpmap:9 G722/8000", "a=rtpmap:0 L8/8000", "a=rtpmap:55 no/1")
    assert media_summary(body) == (Media("audio", 4000, "sendrecv", ("L8", "G722")),)


def test_r3_broken_media_line_takes_nothing_with_it() -> None:
    """R3: a line that is not a media line is not reported, nor do its attributes go to its neighbour."""
    body = _sdp("m=audio 4000 RTP/AVP 0", "m=video 99999 RTP/AVP 34", "a=inactive", "m=\x1b 1 RTP/AVP 0", "m=")
    assert media_summary(body) == (Media("audio", 4000, "sendrecv", ("PCMU",)),)


def test_no_sdp() -> None:
    """A body that is not an SDP, or none, has no media."""
    assert media_summary(b"") == ()
    assert media_summary(b"<html>") == ()


def test_summary_is_bounded() -> None:
    """A hostile body cannot make the record large."""
    formats = " ".join(str(number) for number in range(96, 256))
    maps = [f"a=rtpmap:{number} c{number}/8000" for number in range(96, 256)]
    assert len(media_summary(_sdp(f"m=audio 1 RTP/AVP {formats}", *maps))[0].codecs) == MAX_CODECS
    assert len(media_summary(_sdp(*["m=audio 1 RTP/AVP 0"] * 500))) == MAX_MEDIA


@given(
    st.lists(st.sampled_from([b"m=", b"a=", b"rtpmap:", b"audio ", b"1 ", b"\n", b"\r", b"\xff", b"RTP/AVP ", b"0 "]))
)
def test_any_body_never_raises(pieces: list[bytes]) -> None:
    """R3: whatever the body holds, the summary is printable and does not raise."""
    for media in media_summary(b"".join(pieces)):
        assert media.kind.isprintable()
        assert all(codec.isprintable() for codec in media.codecs)
