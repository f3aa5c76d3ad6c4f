"""Messages as logs hold them (R1, R2, R6, R10, R14, R25), after RFC 3261 7 and RFC 4475."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redirectd.sip.message import MAX_MESSAGE, CSeq, Message, MessageError, Request, Response, Via, parse_message
from redirectd.sip.uri import UriError, parse_uri

MOVED = (
    b"SIP/2.0 301 Moved Permanently\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1;received=192.0.2.9\r\n"
    b"Via: SIP/2.0/TCP host.example;branch=z9hG4bK-2, SIP/2.0/UDP [2001:db8::9]:5070;branch=z9hG4bK-3\r\n"
    b'From: "A;tag=no" <sip:a@h.example;tag=uri>;tag=from1\r\n'
    b"To: <sip:b@h.example>;tag=to1\r\n"
    b"Call-ID: 1-3122@192.0.2.1\r\n"
    b"CSeq: 7 INVITE\r\n"
    b"Contact: <sip:new@h.example>;q=0.5\r\n"
    b"Contact: <sip:other@h.example>\r\n"
    b"Content-Length: 4\r\n"
    b"\r\n"
    b"body"
)


def _response(raw: bytes) -> Response:
    message = parse_message(raw)
    assert isinstance(message, Response)
    return message


def _request(raw: bytes) -> Request:
    message = parse_message(raw)
    assert isinstance(message, Request)
    return message


def _facts(message: Message) -> tuple[object, ...]:
    names = [name for name in message.header_names if name != "content-length"]
    values = {name: message.headers(name) for name in names}
    return values, message.cseq, message.vias, message.to_tag, message.from_tag, message.call_id


def test_response() -> None:
    """R6: a response gives its status, transaction, dialog tags, Contacts and body."""
    message = _response(MOVED)
    assert (message.status, message.reason) == (301, "Moved Permanently")
    assert message.call_id == "1-3122@192.0.2.1"
    assert message.cseq == CSeq(7, "INVITE")
    params = (("branch", "z9hG4bK-1"), ("received", "192.0.2.9"))
    assert message.top_via == Via("UDP", "192.0.2.1:5060", "z9hG4bK-1", params)
    assert [(via.transport, via.sent_by, via.branch) for via in message.vias] == [
        ("UDP", "192.0.2.1:5060", "z9hG4bK-1"),
        ("TCP", "host.example", "z9hG4bK-2"),
        ("UDP", "[2001:db8::9]:5070", "z9hG4bK-3"),
    ]
    assert (message.from_tag, message.to_tag) == ("from1", "to1")
    assert message.headers("contact") == ["<sip:new@h.example>;q=0.5", "<sip:other@h.example>"]
    assert message.header("contact") == "<sip:new@h.example>;q=0.5"
    assert (message.content_length, message.body, message.truncated) == (4, b"body", False)
    assert message.headers("expires") == []
    assert message.header("expires") is None


def test_request() -> None:
    """R5, R10: a request gives its method, its Request-URI as written, and no To tag outside a dialog."""
    message = _request(b"INVITE sip:b@h.example;user=phone SIP/2.0\r\nTo: sip:b@h.example;x=1\r\n\r\n")
    assert (message.method, message.uri_text) == ("INVITE", "sip:b@h.example;user=phone")
    assert message.to_tag is None
    assert _request(b"INVITE sip:b@h.example SIP/2.0\nt: sip:b@h.example;Tag=x\n\n").to_tag == "x"


@pytest.mark.parametrize("end", [b"\n", b"\r\r\n"])
def test_other_line_ends(end: bytes) -> None:
    """R14: LF alone and CR CR LF separate lines as CR LF does."""
    head, _, body = MOVED.partition(b"\r\n\r\n")
    other = parse_message(head.replace(b"\r\n", end) + end + end + body)
    assert _facts(other) == _facts(parse_message(MOVED))
    assert other.body == b"body"


def test_mixed_line_ends_and_leading_blank_lines() -> None:
    """R14: line ends of all kinds in one message, and keep-alive line ends before it, change nothing."""
    ends = iter([b"\n", b"\r\n", b"\r\r\n"] * 4)
    mixed = re.sub(rb"\r\n(?!\r)(?!body)", lambda _: next(ends), MOVED)
    assert mixed != MOVED
    assert _facts(parse_message(b"\r\n\r\n\n" + mixed)) == _facts(parse_message(MOVED))


def test_r14_compact_names_case_and_blanks() -> None:
    """R14: compact names, names in any case and blanks before the colon are the same headers."""
    compact = MOVED
    for long, short in [
        (b"Via:", b"v :"),
        (b"From:", b"F:"),
        (b"To:", b"t\t:"),
        (b"Call-ID:", b"i:"),
        (b"CSeq:", b"cSEQ  :  "),
        (b"Contact:", b"M:"),
        (b"Content-Length:", b"l:"),
    ]:
        assert long in compact
        compact = compact.replace(long, short)
    assert _facts(parse_message(compact)) == _facts(parse_message(MOVED))
    assert parse_message(compact).content_length == 4


def test_r14_folded_headers() -> None:
    """R14: a folded header is one value, each fold one space; the fold may hold nothing but blanks."""
    raw = (
        b"SIP/2.0 301 Moved\r\n"
        b'Contact: "Folded"  \r\n <sip:new17@h.example>\r\n\t;q=0.5\r\n'
        b"Via:\r\n SIP/2.0/UDP 192.0.2.1;branch=\r\n  z9hG4bK-1\r\n"
        b"CSeq: 9\r\n  INVITE\r\n \r\n"
        b"To: x\r\n\r\n"
    )
    message = parse_message(raw)
    assert message.headers("contact") == ['"Folded" <sip:new17@h.example> ;q=0.5']
    assert message.top_via is not None
    assert message.top_via.branch == "z9hG4bK-1"
    assert message.cseq == CSeq(9, "INVITE")
    assert message.header("to") == "x"


def test_rfc4475_wsinv() -> None:
    """R14, RFC 4475 3.1.1.1: whitespace wherever the grammar allows it."""
    raw = (
        b"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n"
        b"TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n"
        b'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n'
        b"Call-ID: wsinv.ndaksdj@192.0.2.1\r\nContent-Length   : 0\r\ncseq: 0009\r\n  INVITE\r\n"
        b"Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n"
        b"s :\r\nNewFangledHeader:   newfangled value\r\n continued newfangled value\r\n"
        b"UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n"
        b"v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
        b" SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n"
        b'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n'
        b"  secondparam ; q = 0.33\r\n\r\n"
    )
    message = _request(raw)
    assert message.to_tag == "1918181833n"
    assert message.from_tag == "98asjd8"
    assert message.cseq == CSeq(9, "INVITE")
    assert [(via.transport, via.sent_by, via.branch) for via in message.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert message.header("newfangledheader") == "newfangled value continued newfangled value"
    assert message.header("subject") == ""


def test_rfc4475_odd_method_and_uri() -> None:
    """RFC 4475 3.1.1.2: unusual but valid characters in the method and the Request-URI."""
    method = "!interesting-Method0123456789_*+`.%indeed'~"
    message = _request(
        f"{method} sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com SIP/2.0\n\n".encode()
    )
    assert message.method == method
    assert str(parse_uri(message.uri_text)) == message.uri_text


@pytest.mark.parametrize(
    "uri_text", ["<sip:user@example.com>", "sip:user@example.com; lr", 'sip:"quoted"@example.com', "sip:a|b@h"]
)
def test_rfc4475_bad_request_uri_is_kept(uri_text: str) -> None:
    """RFC 4475 3.1.2.7 and on: a request with a bad Request-URI is read, and the URI is the fault."""
    message = _request(f"INVITE {uri_text} SIP/2.0\r\nCall-ID: x\r\n\r\n".encode())
    assert message.uri_text == uri_text
    assert message.call_id == "x"
    with pytest.raises(UriError):
        parse_uri(message.uri_text)


@pytest.mark.parametrize(
    "first",
    [
        "",
        " ",
        "SIP/2.0",
        "SIP/2.0 ",
        "SIP/2.0 4294967301 better not break the receiver",
        "SIP/2.0 30 Moved",
        "SIP/2.0 3011 Moved",
        "SIP/2.0 3x1 Moved",
        "SIP/2.0 +31 Moved",
        "SIP/2.0 \u0663\u0660\u0661 Moved",
        "SIP/2.0 301Moved",
        "SIP/2.0  301 Moved",
        "SIP/3.0 301 Moved",
        " SIP/2.0 301 Moved",
        "INVITE sip:a@h.example SIP/7.0",
        "INVITE sip:a@h.example",
        "INVITE SIP/2.0",
        "INVITE  SIP/2.0",
        "IN<VITE sip:a@h.example SIP/2.0",
        "INVITE " + "x" * 10000 + " SIP/2.0",
        "HTTP/1.1 301 Moved Permanently",
        "\x1b[31m",
    ],
)
def test_r2_not_a_message(first: str) -> None:
    """R2: a first line that is not a status line of three digits and no request line is a MessageError."""
    with pytest.raises(MessageError) as caught:
        parse_message(f"{first}\r\nCall-ID: x\r\n\r\n".encode())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"SIP/2.0 301 Redirect request to Home Server", 301, "Redirect request to Home Server"),
        (b"SIP/2.0 302 Moved Permanently", 302, "Moved Permanently"),
        (b"SIP/2.0 301 ", 301, ""),
        (b"SIP/2.0 301", 301, ""),
        (b"sip/2.0 301 x", 301, "x"),
        (b"SIP/2.0 301 \xe9\x1b[31m 302", 301, "\udce9\x1b[31m 302"),
        (b"SIP/2.0 183 Session Progress", 183, "Session Progress"),
    ],
)
def test_r2_the_code_decides(line: bytes, status: int, reason: str) -> None:
    """R2, R25: the three digits are the status; the phrase may be anything, and is kept."""
    message = _response(line + b"\r\nCall-ID: x\r\n\r\n")
    assert (message.status, message.reason) == (status, reason)
    assert message.call_id == "x"


def test_r25_bytes_that_are_not_utf8() -> None:
    """R25: a Latin-1 display name stops nothing and comes back as its bytes."""
    message = parse_message(b'SIP/2.0 301 x\r\nContact: "Ren\xe9" <sip:a@h.example>\r\nCSeq: 1 INVITE\r\n\r\n')
    assert message.header("contact") == '"Ren\udce9" <sip:a@h.example>'
    assert message.cseq == CSeq(1, "INVITE")


def test_only_lf_separates_lines() -> None:
    """A vertical tab, NEL, or line separator within a value cannot start a header of its own."""
    raw = "SIP/2.0 301 x\r\nSubject: a\x0bTo: x\x85To: y\u2028To: z\x0cTo: w\rTo: v\r\nCSeq: 1 INVITE\r\n\r\n"
    message = parse_message(raw.encode())
    assert message.header("to") is None
    assert message.cseq == CSeq(1, "INVITE")


def test_cut_in_a_header() -> None:
    """A message cut in the middle of a header is read up to there, and says that it was cut."""
    cut = parse_message(MOVED[: MOVED.index(b"other@")])
    assert cut.truncated
    assert cut.cseq == CSeq(7, "INVITE")
    assert cut.headers("contact")[0] == "<sip:new@h.example>;q=0.5"
    assert cut.body == b""


def test_cut_anywhere() -> None:
    """Wherever a message is cut behind its first line, it is read, and only the whole one counts as whole."""
    for length in range(MOVED.index(b"\r\n") + 2, len(MOVED)):
        assert parse_message(MOVED[:length]).truncated, length
    assert not parse_message(MOVED).truncated


def test_final_lf_stripped() -> None:
    """rsyslog strips the last LF of a dump: a message without a body is not cut for that."""
    whole = b"SIP/2.0 301 x\r\nCall-ID: x\r\nContent-Length: 0\r\n\r"
    assert not parse_message(whole).truncated
    assert parse_message(whole).headers("call-id") == ["x"]
    assert parse_message(whole[:-1]).truncated


def test_body_length() -> None:
    """The body ends at Content-Length; a log that turned CR LF to LF does not make it look cut."""
    assert parse_message(MOVED + b"\r\n<--- next").body == b"body"
    lf = b"SIP/2.0 183 x\nContent-Length: 10\n\nv=0\ns=-\n"
    assert parse_message(lf).body == b"v=0\ns=-\n"
    assert not parse_message(lf).truncated
    assert parse_message(lf[:-4]).truncated
    assert parse_message(b"SIP/2.0 183 x\r\nContent-Length: many\r\n\r\nrest").body == b"rest"


@pytest.mark.parametrize(
    "value", ["", "INVITE", "1", "-1 INVITE", "4294967296 INVITE", "36893488147419103232 REGISTER", "1 IN VITE", "x y"]
)
def test_r6_unreadable_cseq(value: str) -> None:
    """R6, RFC 4475 3.1.2.4: a CSeq that is none is None, not a wrong transaction."""
    assert parse_message(f"SIP/2.0 301 x\r\nCSeq: {value}\r\n\r\n".encode()).cseq is None


@pytest.mark.parametrize("value", ["", ",", "SIP/2.0/UDP", "SIP/1.0/UDP h", "HTTP/2.0/UDP h", "SIP/2.0", ";branch=x"])
def test_r6_unreadable_via(value: str) -> None:
    """R6: a Via that is none is None, not a wrong branch."""
    message = parse_message(f"SIP/2.0 301 x\r\nVia: {value}\r\n\r\n".encode())
    assert message.top_via is None
    assert message.vias == []


def test_r6_quoted_comma_in_via() -> None:
    """R6: a comma within a quoted Via parameter does not end the Via before its branch."""
    message = parse_message(b'SIP/2.0 301 x\r\nVia: SIP/2.0/UDP h;x="a,b;branch=no";branch=yes, SIP/2.0/UDP i\r\n\r\n')
    assert [via.branch for via in message.vias] == ["yes", None]
    assert message.top_via == message.vias[0]


def test_lines_that_are_no_header() -> None:
    """A line without a colon is passed over, and its neighbours stay."""
    message = parse_message(b"SIP/2.0 301 x\r\nnonsense\r\n: empty\r\nCall-ID: x:y\r\n\r\n")
    assert message.call_id == "x:y"


def test_message_size_is_bounded() -> None:
    """More than the bound is refused before anything of it is read."""
    with pytest.raises(MessageError):
        parse_message(MOVED + bytes(MAX_MESSAGE))


_PIECES = [b"SIP/2.0 301 x", b"INVITE sip:a@b SIP/2.0", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"Via", b"v", b"CSeq"]
_PIECES += [
    b"1 INVITE",
    b"SIP/2.0/UDP h;branch=x",
    b'"',
    b",",
    b"<",
    b">",
    b";",
    b"\xff",
    b"\x00",
    b"To",
    b";tag=",
    b"l",
]


@given(st.one_of(st.binary(), st.lists(st.sampled_from(_PIECES), max_size=30).map(b"".join)))
@example(MOVED)
def test_any_bytes_never_raise_anything_else(raw: bytes) -> None:
    """R25: any bytes are a message or a MessageError, and everything asked of a message has an answer."""
    for data in (raw, b"SIP/2.0 301 x\r\n" + raw, b"INVITE sip:a@b SIP/2.0\n" + raw):
        try:
            message = parse_message(data)
        except MessageError:
            continue
        repr(message).encode()
        facts = _facts(message), message.top_via, message.content_length, message.body, message.truncated
        assert facts
        vias = message.vias
        assert message.top_via is None or message.top_via == vias[0]


def test_r6_real_messages(corpus: Path) -> None:
    """R6: each message in a real Asterisk log, framed by its byte count, is whole and names its transaction."""
    log = (corpus / "asterisk" / "ast22-pjsip.full.log").read_bytes()
    blocks = re.finditer(rb"<--- (?:Received|Transmitting) SIP [^(]*\((\d+) bytes\)[^\n]*--->\n", log)
    messages = [parse_message(log[block.end() : block.end() + int(block[1])]) for block in blocks]
    assert len(messages) == log.count(b" bytes) ")
    assert sum(isinstance(message, Response) and message.status == 301 for message in messages) == log.count(
        b"SIP/2.0 301 "
    )
    for message in messages:
        assert not message.truncated
        assert message.call_id
        assert message.cseq
        assert message.top_via
        assert message.top_via.branch
